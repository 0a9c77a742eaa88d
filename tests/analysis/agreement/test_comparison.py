"""A whole comparison: what is gathered, what it says of two tasks, and what it leaves on disk."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from builders.agreement import agreement_of
from builders.ticket_trees import tree
from tombola.analysis.agreement.coefficients import EMPTY, ONE_TICKET, STATISTICS
from tombola.analysis.agreement.comparison import LAYERS_OF_ONE, ONE_TASK, Comparison, compare, save_comparison
from tombola.analysis.agreement.overlap import ONE_OF_A_TASK
from tombola.analysis.agreement.survival import site_survival
from tombola.foundations.errors import TombolaError
from tombola.tickets.find_tickets import NO_TASK, find_tickets
from tombola.tickets.import_masks import import_masks
from tombola.tickets.kinds import TicketKind
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.filterwarnings("error")


def ticket(folder: Path, kind: TicketKind = "heads+mlps", architecture: str = "toy", **facts: Any) -> Ticket:
    """A random ticket, saved."""
    shapes = {"heads": (3, 4), "mlps": (3,), "neurons": (3, 6), "0.query": (8, 8), "0.mlp_in": (16, 8)}
    names = ["0.query", "0.mlp_in"] if kind == "weights" else kind.split("+")
    generator = torch.Generator().manual_seed(sum(map(ord, str(folder.relative_to(folder.parents[3])))))
    masks = {name: torch.rand(shapes[name], generator=generator) < 0.6 for name in names}
    made = Ticket(kind, architecture, masks, facts)
    made.save(folder)
    return made


def studies(home: Path, tasks: Sequence[str] = ("a", "b"), seeds: int = 3, **kind: Any) -> dict[str, list[Ticket]]:
    """Good and random tickets of several tasks, as studies lay them out."""
    made: dict[str, list[Ticket]] = {task: [] for task in tasks}
    for task in tasks:
        for seed in range(seeds):
            place = home / f"study-{task}" / task / f"seed-{seed}" / kind.get("kind", "heads+mlps")
            made[task].append(ticket(place / "good", task=task, seed=seed, **kind))
            ticket(place / "random", task=task, seed=seed, **kind)
    return made


class TestGather:
    def test_tickets_are_found_once_and_grouped_by_provenance(self, tmp_path: Path) -> None:
        studies(tmp_path / "runs", seeds=11)
        studies(tmp_path / "runs", kind="weights")
        ticket(tmp_path / "deep" / "er" / "mine")
        (tmp_path / "runs" / ".draft-x" / "good").mkdir(parents=True)
        (tmp_path / "runs" / ".draft-x" / "good" / "ticket.json").write_text("{")
        found = find_tickets(
            [tmp_path / "runs", tmp_path / "runs" / ".." / "runs" / "study-a", tmp_path / "deep" / "er" / "mine"]
        )
        assert list(found) == ["heads+mlps", "weights"]
        assert {task: len(several) for task, several in found["heads+mlps"].items()} == {"a": 11, "b": 11, NO_TASK: 1}
        assert [one.seed for one in found["heads+mlps"]["a"]] == [str(seed) for seed in range(11)]
        assert {one.folder.name for one in found["heads+mlps"]["b"]} == {"good"}
        assert [one.seed for one in found["heads+mlps"][NO_TASK]] == ["–"]
        random = find_tickets([tmp_path / "runs"], "random")["weights"]["a"]
        assert {one.folder.name for one in random} == {"random"}

    def test_the_folders_of_a_ticket_that_steps_took_over_count_once(self, tmp_path: Path) -> None:
        for name in ("found", "other"):
            ticket(tmp_path / name / "a" / "good", task="a", seed=0)
        for name in ("again", "scored"):
            shutil.copytree(tmp_path / "found", tmp_path / name)
        found = find_tickets([tmp_path / name for name in ("found", "again", "scored", "other")])["heads+mlps"]["a"]
        assert [place.folder.parts[-3] for place in found] == ["found", "other"]

    def test_bad_places_are_one_line(self, tmp_path: Path) -> None:
        studies(tmp_path / "runs")
        (tmp_path / "file").write_text("")
        (tmp_path / "empty").mkdir()
        for place, name, said in [
            ("nowhere", "good", "nowhere does not exist"),
            ("file", "good", "file is a file"),
            ("empty", "good", r"no ticket in a folder good/ anywhere under .*empty; is it"),
            ("runs", "bad", r"bad/ anywhere under .*runs; there are others, take them with --ticket: good, random"),
        ]:
            with pytest.raises(TombolaError, match=said) as caught:
                find_tickets([tmp_path / place], name)
            assert "\n" not in str(caught.value)

    def test_architectures_do_not_mix(self, tmp_path: Path) -> None:
        ticket(tmp_path / "x" / "y" / "one", architecture="bert-3x4-1")
        ticket(tmp_path / "x" / "y" / "two", architecture="bert-3x4-2")
        with pytest.raises(TombolaError, match=r"different architectures.*one is for bert-3x4-1.*two for bert-3x4-2"):
            find_tickets([tmp_path / "x" / "y" / "one", tmp_path / "x" / "y" / "two"])

    @pytest.mark.parametrize(
        "content",
        [
            "{",
            "[]",
            "{}",
            '{"kind": "heads"}',
            '{"format": 1, "kind": "heads", "provenance": []}',
            '{"format": 9, "kind": "heads", "provenance": {}, "shapes": {"heads": [1]}}',
        ],
    )
    def test_a_damaged_ticket_is_one_line(self, content: str, tmp_path: Path) -> None:
        studies(tmp_path)
        path = tmp_path / "study-a" / "a" / "seed-0" / "heads+mlps" / "good" / "ticket.json"
        path.write_text(content)
        with pytest.raises(TombolaError) as caught:
            compare([tmp_path])
        assert "\n" not in str(caught.value)
        assert str(path.parent) in str(caught.value)

    def test_blocks_of_other_sizes_do_not_mix(self, tmp_path: Path) -> None:
        ticket(tmp_path / "x" / "y" / "one", "neurons")
        mask = {"neurons": torch.ones(3, 12).bool()}
        Ticket("neurons", "toy", mask).save(tmp_path / "x" / "y" / "two")
        with pytest.raises(TombolaError, match="same blocks of neurons") as caught:
            compare([tmp_path / "x" / "y" / "one", tmp_path / "x" / "y" / "two"])
        assert "\n" not in str(caught.value)


def flat(tickets: Sequence[Ticket], kind: str) -> Any:
    return np.stack([one.masks[kind].flatten().numpy() for one in tickets])


def test_what_a_comparison_says_of_every_task(tmp_path: Path) -> None:
    made = studies(tmp_path)
    comparison = compare([tmp_path], draws=200)
    comparison.write(tmp_path / "comparison.json")
    assert Comparison.read(tmp_path / "comparison.json") == comparison
    found = json.loads((tmp_path / "comparison.json").read_text())
    of_kind = found["kinds"]["heads+mlps"]
    assert of_kind["architecture"] == "toy"
    assert list(of_kind["tasks"]) == ["a", "b"]
    for task, tickets in made.items():
        assert [place["seed"] for place in of_kind["tasks"][task]["tickets"]] == ["0", "1", "2"]
        one = of_kind["tasks"][task]["agreement"]
        for kind in ("heads", "mlps"):
            masks = flat(tickets, kind)
            expected = agreement_of(masks)
            for name in ("n", "mean_survivors", *STATISTICS):
                assert one[kind][name] == getattr(expected, name)
            always = masks.all(axis=0).reshape(len(tickets[0].masks[kind]), -1)
            assert one[kind]["super_survivor_sites"] == np.argwhere(always).tolist()
            survival = masks.mean(axis=0).reshape(always.shape)
            assert np.allclose(one[kind]["survival"], survival)
            assert np.allclose(one[kind]["survival_deviation"], np.sqrt(survival * (1 - survival)))
            for name in STATISTICS:
                chance = one[kind]["null_distribution"]["random"][name]
                if one[kind][name] is not None:
                    assert chance["low"] <= chance["high"]
                    assert 0 <= chance["below"] <= 1
        assert one["mlps"]["null_distribution"]["layer-matched"] is None
        assert one["mlps"]["undefined"]["layer-matched"] == LAYERS_OF_ONE
        assert one["heads"]["null_distribution"]["layer-matched"]["jaccard"]["draws"] == 200
    together = flat([*made["a"], *made["b"]], "heads")
    pairs = np.array([[a, b] for a in range(3) for b in range(3, 6)])
    between = of_kind["between_tasks"]["heads"]
    for name in ("n", "pairs", *STATISTICS):
        assert between[name] == getattr(agreement_of(together, pairs), name)


def test_the_matrix_of_tasks(tmp_path: Path) -> None:
    made = studies(tmp_path, tasks=("a", "b", "c"))
    comparison = compare([tmp_path], draws=3000)
    matrix = comparison.entry()["kinds"]["heads+mlps"]["overlap"]["heads"]
    assert matrix["tasks"] == ("a", "b", "c")
    for row, (one, first) in enumerate(made.items()):
        for column, (other, second) in enumerate(made.items()):
            pairs = [
                ((x & y).counts()["heads"], (x | y).counts()["heads"], x, y)
                for i, x in enumerate(first)
                for j, y in enumerate(second)
                if one != other or i < j
            ]
            assert matrix["shared"][row][column] == pytest.approx(np.mean([both for both, *_ in pairs]))
            assert matrix["jaccard"][row][column] == pytest.approx(np.mean([both / any_ for both, any_, *_ in pairs]))
            # Two random tickets share as many as their sizes' product makes of the 12 heads, on average.
            expected = np.mean([int(x.heads.sum()) * int(y.heads.sum()) / 12 for *_, x, y in pairs])
            assert matrix["null_distribution"]["random"]["shared"][row][column]["mean"] == pytest.approx(
                expected, abs=0.06
            )
            by_layer = np.mean([float((x.heads.sum(1) * y.heads.sum(1)).sum()) / 4 for *_, x, y in pairs])
            layer_matched = matrix["null_distribution"]["layer-matched"]["shared"][row][column]["mean"]
            assert layer_matched == pytest.approx(by_layer, abs=0.06)
    assert matrix["undefined"] == ()


def test_the_same_command_gives_the_same_numbers_and_another_seed_others(tmp_path: Path) -> None:
    studies(tmp_path)
    one, again, other = (compare([tmp_path], draws=50, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one.kinds != other.kinds


def test_neurons_and_weights(tmp_path: Path) -> None:
    neurons = studies(tmp_path, kind="heads+neurons")
    weights = studies(tmp_path, kind="weights")
    found = compare([tmp_path], draws=100).entry()["kinds"]
    assert list(found) == ["heads+neurons", "weights"]
    expected = agreement_of(flat(neurons["a"], "neurons"))
    one = found["heads+neurons"]["tasks"]["a"]["agreement"]["neurons"]
    assert [one[name] for name in STATISTICS] == [getattr(expected, name) for name in STATISTICS]
    assert one["null_distribution"]["layer-matched"]["jaccard"]["draws"] == 100
    both = np.concatenate([flat(weights["a"], name) for name in ("0.query", "0.mlp_in")], axis=1)
    of_weights = found["weights"]["tasks"]["a"]
    for name in STATISTICS:
        assert of_weights["agreement"]["weights"][name] == pytest.approx(getattr(agreement_of(both), name), abs=1e-12)
    assert [(one["role"], one["layer"]) for one in of_weights["matrices"]] == [("query", 0), ("mlp_in", 0)]
    assert of_weights["matrices"][0]["share"] == pytest.approx(flat(weights["a"], "0.query").mean())
    assert found["weights"]["overlap"]["weights"]["jaccard"][0][0] == pytest.approx(agreement_of(both).jaccard)
    assert found["weights"]["between_tasks"]["weights"]["pairs"] == 9


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_masks_of_one_value_are_undefined_with_a_reason(share: float, tmp_path: Path) -> None:
    tree(tmp_path / "in", {"a": ["0", "1"], "b": ["0", "1"]}, share=share)
    import_masks(tmp_path / "in", tmp_path / "out")
    found = compare([tmp_path / "out"], draws=20).entry()
    json.dumps(found, allow_nan=False)
    of_kind = found["kinds"]["heads+mlps"]
    for kind in ("heads", "mlps"):
        for one in (of_kind["tasks"]["a"]["agreement"][kind], of_kind["between_tasks"][kind]):
            for name in ("fleiss_kappa", "krippendorff_alpha", "cochran_q_p", "pairs_not_rejected"):
                assert one[name] is None
                assert one["undefined"][name]
            assert one["jaccard"] == (1.0 if share else None)
            assert one["super_survivors"] == share * one["sites"]
        undefined = () if share else tuple({"tasks": (*two,), "reason": EMPTY} for two in ("aa", "ab", "bb"))
        assert of_kind["overlap"][kind]["undefined"] == undefined


UNEQUAL = (2, 4, 4, 4, 4, 2, 2)
"""Heads of a U-net's attentions."""


def test_rows_of_unequal_length_have_no_sites_but_their_own(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    chosen = torch.rand(40, sum(UNEQUAL), generator=generator) < 0.5
    for seed, sites in enumerate(chosen):
        masks = torch.nn.utils.rnn.pad_sequence(list(sites.split(UNEQUAL)), batch_first=True)
        Ticket("heads", "unet", {"heads": masks}, {"task": "a", "seed": seed}, {"heads": UNEQUAL}).save(
            tmp_path / "unequal" / f"seed-{seed}" / "good"
        )
        Ticket("heads", "flat", {"heads": sites[None]}, {"task": "a", "seed": seed}).save(
            tmp_path / "flat" / f"seed-{seed}" / "good"
        )
    found, oracle = (
        compare([tmp_path / name], draws=200).kinds["heads"].tasks["a"].agreement["heads"]
        for name in ("unequal", "flat")
    )
    for statistic in STATISTICS:
        assert getattr(found, statistic) == getattr(oracle, statistic)
    # Independent tickets agree as chance has it.
    assert found.fleiss_kappa == pytest.approx(0, abs=0.03)
    random = found.null_distributions("fleiss_kappa")
    assert all(abs(null.mean) < 0.01 for null in random.values())
    assert found.survival is not None
    assert [len(row) for row in found.survival] == list(UNEQUAL)
    assert [share for row in found.survival for share in row] == chosen.double().mean(0).tolist()


def test_survival_counts_no_padding() -> None:
    first, second = (
        Ticket("heads", "unet", {"heads": torch.tensor(mask, dtype=torch.bool)}, {}, {"heads": (1, 3)})
        for mask in ([[1, 0, 0], [1, 1, 0]], [[1, 0, 0], [1, 0, 1]])
    )
    survival = site_survival([first, second])
    assert survival is not None
    heads = survival.sites["heads"]
    assert heads.rows == ((1.0,), (1.0, 0.5, 0.5))
    assert (heads.total, heads.mean, heads.everywhere) == (4, 3.0, 2)
    assert heads.overlap == pytest.approx(2 / 4)
    assert heads.expected_by_chance == pytest.approx(4 * (3 / 4) ** 2)


def test_single_tickets_and_single_tasks_are_undefined_with_a_reason(tmp_path: Path) -> None:
    studies(tmp_path, tasks=("a",), seeds=1)
    found = compare([tmp_path], draws=20).entry()["kinds"]["heads+mlps"]
    one = found["tasks"]["a"]["agreement"]["heads"]
    assert (one["n"], one["deviation"], one["pairs"]) == (1, None, 0)
    assert {name: one["undefined"].get(name) for name in STATISTICS[1:]} == dict.fromkeys(STATISTICS[1:], ONE_TICKET)
    assert all(one[name] is None for name in STATISTICS[1:])
    assert found["between_tasks"] is None
    assert found["undefined"] == {"between_tasks": ONE_TASK}
    assert found["overlap"]["heads"]["jaccard"] == ((None,),)
    assert found["overlap"]["heads"]["undefined"] == ({"tasks": ("a", "a"), "reason": ONE_OF_A_TASK},)


@pytest.mark.parametrize(("options", "said"), [({"draws": 0}, "0 draws"), ({"seed": -1}, "not -1")])
def test_draws_and_their_seed_are_checked(options: dict[str, int], said: str, tmp_path: Path) -> None:
    with pytest.raises(TombolaError, match=said):
        compare([tmp_path], **options)  # type: ignore[arg-type]


def test_super_survivors_are_written_as_tickets(tmp_path: Path) -> None:
    made = studies(tmp_path / "runs")
    studies(tmp_path / "runs", kind="weights")
    comparison = compare([tmp_path / "runs"], draws=20)
    save_comparison(comparison, tmp_path / "out")
    assert Comparison.read(tmp_path / "out" / "comparison.json") == comparison
    for task, (first, second, third) in made.items():
        home = tmp_path / "out" / "heads+mlps" / task
        always = Ticket.load(home / "super-survivors")
        assert always == first & second & third
        for name in ("random", "layer-matched", "bad"):
            control = Ticket.load(home / name)
            assert control.counts() == always.counts()
            assert control.provenance["task"] == task
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["comparison.json", "heads+mlps"]
    with pytest.raises(TombolaError, match="exists"):
        save_comparison(comparison, tmp_path / "out")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda entry: entry["kinds"].clear(), "it compares no tickets"),
        (lambda entry: entry["kinds"]["heads+mlps"]["tasks"].clear(), r"kinds, heads\+mlps, tasks: there are none"),
        (
            lambda entry: _rename(entry["kinds"]["heads+mlps"]["tasks"]["a"]["agreement"], "heads", "eads"),
            r"tasks, a, agreement must have \['heads', 'mlps'\], not \['eads', 'mlps'\]",
        ),
        (
            lambda entry: entry["kinds"]["heads+mlps"]["overlap"]["heads"]["jaccard"].pop(),
            "overlap, heads: a matrix of 2 tasks must have 2 rows of 2",
        ),
        (
            lambda entry: entry["kinds"]["heads+mlps"]["tasks"]["b"]["agreement"]["mlps"]["survival"][0].append(1.0),
            "tasks, b, agreement, mlps: the rows of 'survival' are those of no model",
        ),
        (
            lambda entry: entry["kinds"]["heads+mlps"]["overlap"]["mlps"]["null_distribution"].pop("random"),
            "overlap, mlps: 'null_distribution' must have",
        ),
    ],
)
def test_a_file_whose_parts_do_not_fit_is_refused(tmp_path: Path, damage: Any, said: str) -> None:
    studies(tmp_path / "studies", seeds=2)
    path = tmp_path / "comparison.json"
    compare([tmp_path / "studies"], draws=5).write(path)
    assert Comparison.read(path)
    entry = json.loads(path.read_text())
    damage(entry)
    path.write_text(json.dumps(entry))
    with pytest.raises(TombolaError, match=said):
        Comparison.read(path)


def _rename(entry: dict[str, Any], old: str, new: str) -> None:
    entry[new] = entry.pop(old)
