import json
import statistics
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from builders.fake_study import fake_study
from builders.result_rows import line
from tombola.analysis.agreement.survival import Density, mean_densities, site_survival
from tombola.architectures.anatomy import Places
from tombola.foundations.errors import TombolaError
from tombola.foundations.plurals import plural
from tombola.pruning.search.records import SearchPass
from tombola.report import number_format
from tombola.report.study_data import read_study
from tombola.report.summary import read_row, read_rows, summarise
from tombola.report.trajectory import left, phase, removed
from tombola.study.results import Row
from tombola.tickets.kinds import TicketKind
from tombola.tickets.ticket import Ticket


def rows(*lines: dict[str, object]) -> list[Row]:
    return [read_row(one, "here") for one in lines]


def test_a_row_is_read_whole() -> None:
    (row,) = rows(line())
    assert asdict(row) == line()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": "0.8"}, r"here: 'score' should be a number, but found '0.8'"),
        ({"score": True}, r"'score' should be a number"),
        ({"n": 1.5}, r"'n' should be a whole number"),
        ({"ticket": "lucky"}, r"unknown ticket 'lucky'; known: full, guessing, good"),
        ({"more": {"f1": None}}, r"here, more: 'f1' should be a number"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(TombolaError, match=message):
        rows(line(**changes))


def test_a_missing_field_is_named() -> None:
    incomplete = line()
    del incomplete["metric"]
    with pytest.raises(TombolaError, match="here: 'metric' is missing"):
        rows(incomplete)


def test_one_seed_keeps_its_interval() -> None:
    (summary,) = summarise(rows(line()))
    assert (summary.score, summary.std, summary.low, summary.high) == (0.8, None, 0.7, 0.9)
    assert summary.spread == "0.700 to 0.900"


def test_several_seeds_give_mean_and_sample_deviation() -> None:
    scores = [0.8, 0.9, 0.7]
    (summary,) = summarise(rows(*(line(seed=seed, score=score, heads=seed) for seed, score in enumerate(scores))))
    assert summary.score == pytest.approx(0.8)
    assert summary.std == pytest.approx(statistics.stdev(scores)) == pytest.approx(0.1)
    assert summary.low == pytest.approx(0.7)
    assert summary.high == pytest.approx(0.9)
    assert summary.mean("heads") == 1
    assert summary.spread == "± 0.100"


def test_the_last_row_of_a_seed_counts() -> None:
    (summary,) = summarise(rows(line(score=0.1), line(score=0.2)))
    assert summary.score == 0.2


def test_summaries_come_in_their_order() -> None:
    found = summarise(
        rows(
            line(method="weights", ticket="bad"),
            line(ticket="bad"),
            line(ticket="good", stage="retrained"),
            line(ticket="good", stage="pruned"),
            line(method="heads+neurons"),
            line(method="neurons"),
            line(ticket="guessing", method="none", stage="none"),
            line(ticket="full", method="none", stage="none"),
        )
    )
    assert [(one.method, one.ticket, one.stage) for one in found] == [
        ("none", "full", "none"),
        ("none", "guessing", "none"),
        ("heads+mlps", "good", "pruned"),
        ("heads+mlps", "good", "retrained"),
        ("heads+mlps", "bad", "pruned"),
        ("heads+neurons", "good", "pruned"),
        ("neurons", "good", "pruned"),
        ("weights", "bad", "pruned"),
    ]


def test_the_majority_is_no_network() -> None:
    (summary,) = summarise(rows(line(ticket="guessing", method="none", stage="none")))
    assert summary.mean("heads") is None
    assert summary.score == 0.8


def test_overlap_is_symmetric() -> None:
    low, high, point = (
        summarise(rows(one))[0]
        for one in (
            line(score=0.5, score_low=0.4, score_high=0.6),
            line(score=0.8, score_low=0.59, score_high=0.9),
            line(score=0.95, score_low=0.95, score_high=0.95),
        )
    )
    assert low.overlaps(high)
    assert high.overlaps(low)
    assert not low.overlaps(point)
    assert point.overlaps(point)


def test_rows_of_a_folder(tmp_path: Path) -> None:
    fake_study(tmp_path, seeds=(0, 1))
    found = read_rows(tmp_path)
    written = [json.loads(text)["score"] for text in (tmp_path / "results.jsonl").open()]
    assert [row.score for row in found] == written


def test_a_trajectory_knows_its_ticket_and_what_was_taken_back(tmp_path: Path) -> None:
    (search,) = read_study(fake_study(tmp_path)).searches("heads+mlps")
    assert search.full.sparsity == 0
    assert search.good.holds
    assert [step.phase for step in search.passes if not step.holds] == ["joint", "heads", "mlps"]
    assert search.before(3) is search.passes[2]
    assert search.before(7) is search.passes[5] is search.good
    found = removed(search.passes[1], Places())
    assert found.startswith("heads ")
    assert found.count("; MLP ") == 1
    assert removed(search.full, Places()) == "nothing"


def test_no_trajectory_yet(tmp_path: Path) -> None:
    folder = fake_study(tmp_path)
    for path in folder.rglob("search.jsonl"):
        path.unlink()
    assert read_study(folder).trajectories == ()


def step(phase: str, **removed: object) -> SearchPass:
    return SearchPass(1, phase, removed, 40, 5, 1, 1000, 0.5, 0.8, True, 1.0)


def test_what_was_removed_is_named_or_counted() -> None:
    stacks = Places(("encoder 0", "decoder 0"), ("encoder 0", "decoder 0", "decoder 0 cross"))
    heads = [[2, 3], [0, 1]]
    assert removed(step("joint", heads=heads, mlps=[1]), stacks) == (
        "heads decoder 0 cross.3, encoder 0.1; MLP decoder 0"
    )
    assert removed(step("joint", heads=heads, mlps=[1]), Places()) == "heads 2.3, 0.1; MLP 1"
    blocks = [[0, number] for number in range(112)]
    assert removed(step("joint", heads=[[2, 3]], neurons=blocks), Places()) == "head 2.3; 112 blocks of neurons"
    assert removed(step("neurons", neurons=blocks[:1]), Places()) == "1 block of neurons"
    assert removed(step("joint", heads=[[0, number] for number in range(10)]), Places()).endswith("0.7 and 2 more")


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("heads+mlps", ["heads and MLPs together", "heads alone", "MLPs alone"]),
        ("heads+neurons", ["heads and neurons together", "heads alone", "neurons alone"]),
        ("mlps", ["MLPs", "MLPs, refining"]),
        ("neurons", ["neurons", "neurons, refining"]),
    ],
)
def test_phases_in_words(method: TicketKind, words: list[str]) -> None:
    phases = ("joint", *method.split("+"))
    assert [phase(method, step(name)) for name in phases] == words
    assert phase(method, step("full")) == "the full model"


def test_what_is_left_tells_of_neurons_where_they_are_pruned() -> None:
    assert left("heads+mlps", step("joint")) == "40 heads, 5 MLPs, 1,000 weights"
    assert left("heads+neurons", step("joint")) == "40 heads, 5 MLPs, 1 neuron, 1,000 weights"


def test_survival_of_heads_and_mlps() -> None:
    def ticket(heads: list[list[int]], mlps: list[int]) -> Ticket:
        masks = {"heads": torch.tensor(heads).bool(), "mlps": torch.tensor(mlps).bool()}
        return Ticket("heads+mlps", "bert-2x2-0", masks)

    found = site_survival([ticket([[1, 1], [0, 0]], [1, 0]), ticket([[1, 0], [1, 0]], [1, 1])])
    assert found is not None
    assert (found.kind, found.seeds) == ("heads+mlps", 2)
    heads, mlps = found.sites["heads"], found.sites["mlps"]
    assert heads.rows == ((1.0, 0.5), (0.5, 0.0))
    assert mlps.rows == ((1.0,), (0.5,))
    assert (heads.everywhere, mlps.everywhere) == (1, 1)
    assert (heads.mean, mlps.mean) == (2, 1.5)
    assert heads.expected_by_chance == pytest.approx(4 * 0.5 * 0.5)
    assert mlps.expected_by_chance == pytest.approx(2 * 0.5 * 1.0)
    assert heads.overlap == pytest.approx(1 / 3)
    assert mlps.overlap == pytest.approx(1 / 2)
    assert site_survival([]) is None


def test_survival_of_blocks_of_neurons() -> None:
    masks = torch.tensor([[[1, 1, 0], [0, 0, 0]], [[1, 0, 0], [1, 0, 0]], [[1, 1, 1], [0, 0, 0]]]).bool()
    found = site_survival([Ticket("neurons", "bert-2x2-0", {"neurons": mask}) for mask in masks])
    assert found is not None
    assert found.sites.keys() == {"neurons"}
    neurons = found.sites["neurons"]
    assert neurons.rows == ((1.0, 2 / 3, 1 / 3), (1 / 3, 0.0, 0.0))
    assert (neurons.total, neurons.everywhere) == (6, 1)
    assert neurons.expected_by_chance == pytest.approx(6 * (2 / 6) * (2 / 6) * (3 / 6))
    assert neurons.overlap == pytest.approx((1 / 3 + 2 / 3 + 1 / 4) / 3)


def test_densities_are_averaged_over_seeds() -> None:
    one = [Density("query", 0, 0.2), Density("key", 1, 0.4)]
    other = [Density("query", 0, 0.4), Density("key", 1, 0.4)]
    query, key = mean_densities([one, other])
    assert (query.role, query.layer, key) == ("query", 0, Density("key", 1, 0.4, 0.0))
    assert query.share == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("value", "text"), [(0.84249, "0.842"), (-0.0001, "0.000"), (-0.5, "−0.500"), (None, "–"), (1234.56, "1,234.6")]
)
def test_scores_are_written_alike(value: float | None, text: str) -> None:
    assert number_format.score(value) == text


def test_other_figures() -> None:
    assert [number_format.count(5), number_format.count(41.5), number_format.count(1234567)] == [
        "5",
        "41.5",
        "1,234,567",
    ]
    assert [number_format.share(0.478), number_format.megabytes(90_855_944), number_format.seconds(5.25)] == [
        "47.8 %",
        "90.9",
        "5.2",
    ]
    assert [number_format.short_count(4608), number_format.short_count(5074846), number_format.short_count(85e6)] == [
        "4,608",
        "5.07 M",
        "85.0 M",
    ]
    assert [plural(1, "head"), plural(2, "search", "searches")] == ["1 head", "2 searches"]
