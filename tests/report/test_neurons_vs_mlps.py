"""What neurons buy: no more is said than the seeds show."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from builders.fake_study import fake_study
from tombola.foundations.atomic_files import read_lines, write_lines
from tombola.report.sections.neurons_vs_mlps import about_pair, method_pairs, pair_table
from tombola.report.study_data import StudyData, read_study
from tombola.tickets.kinds import TicketKind

BOTH: tuple[TicketKind, ...] = ("heads+mlps", "heads+neurons")


def study(
    folder: Path, fewer: Sequence[float], scores: tuple[float, float] = (0.84, 0.84), finished: bool = True
) -> StudyData:
    """A study whose tickets of neurons have `fewer` weights, seed by seed, and whose retrained tickets score so."""
    seeds = range(len(fewer))
    fake_study(folder, seeds=seeds, methods=BOTH, finer=[1 - share for share in fewer], finished=finished)
    rows = read_lines(folder / "results.jsonl")
    for row in rows:
        if row["ticket"] == "good" and row["stage"] == "retrained":
            score = scores[BOTH.index(row["method"])] + 0.001 * row["seed"]
            row |= {"score": score, "score_low": score - 0.01, "score_high": score + 0.01}
    write_lines(folder / "results.jsonl", rows)
    return read_study(folder)


def said(record: StudyData) -> str:
    (one,) = method_pairs(record)
    return about_pair(one, record.task.higher_is_better)


def cells(record: StudyData) -> dict[str, list[str]]:
    (one,) = method_pairs(record)
    table = pair_table(one, "accuracy")
    lines = [tuple(column.name for column in table.columns), *table.rows()]
    return {name: [text.replace("\u00a0", " ") for text in texts] for name, *texts in lines}


def test_smaller_at_the_same_score(tmp_path: Path) -> None:
    text = said(study(tmp_path, [0.2, 0.25, 0.15]))
    assert "leaves 20.0 % fewer prunable weights on average (5.35 M, not 6.68 M; ± 5.0 % over 3 seeds)" in text
    assert "and fewer in every seed." in text
    assert "does not tell the scores apart. So it buys size at no loss that this study could see." in text
    assert "With one seed" not in text


def test_smaller_but_worse(tmp_path: Path) -> None:
    text = said(study(tmp_path, [0.2, 0.25, 0.15], (0.84, 0.80)))
    assert "scores 0.801 ± 0.001 against 0.841 ± 0.001" in text
    assert text.endswith("do not overlap, and the finer ticket is worse. Smaller but worse is no plain gain.")


def test_worse_is_higher_where_lower_is_better(tmp_path: Path) -> None:
    (one,) = method_pairs(study(tmp_path, [0.2, 0.25], (0.84, 0.80)))
    assert "the finer ticket is better." in about_pair(one, higher_is_better=False)


@pytest.mark.parametrize(
    ("fewer", "words"),
    [
        ([0.2, -0.1, 0.1], "fewer in 2 of 3 seeds: no difference in size is clear."),
        ([0.3, 0.001, 0.001], "by less than the deviation: no difference in size is clear."),
        ([-0.2, -0.25], "more prunable weights on average"),
        ([-0.2, -0.25], "and more in every seed: the finer site buys no smaller ticket."),
    ],
)
def test_what_is_not_clearly_smaller_is_not_called_so(tmp_path: Path, fewer: list[float], words: str) -> None:
    text = said(study(tmp_path, fewer))
    assert words in text
    assert "buys size" not in text


@pytest.mark.parametrize(("fewer", "gain"), [(0.2, True), (-0.2, False), (0.0, False)])
def test_one_seed_says_so(tmp_path: Path, fewer: float, gain: bool) -> None:
    text = said(study(tmp_path, [fewer]))
    assert text.endswith("With one seed, chance in search and training is not measured.")
    assert ("buys no smaller ticket" in text) == (not gain)
    assert ("buys size at no loss" in text) == gain


def test_the_table_has_both_and_their_difference(tmp_path: Path) -> None:
    found = cells(study(tmp_path, [0.2, 0.25, 0.15], (0.84, 0.80)))
    assert found["good ticket"] == ["Heads and MLPs", "Heads and neurons", "difference, ± std over seeds"]
    assert found["prunable weights"] == ["6.68 M ± 0", "5.35 M ± 0.33 M", "−1.34 M ± 0.33 M"]
    assert found["accuracy, retrained"] == ["0.841 ± 0.001", "0.801 ± 0.001", "−0.040 ± 0.000"]
    assert found["heads"] == ["40 ± 0", "40 ± 0", "0 ± 0"]
    assert found.keys() >= {"parameters of the model", "neurons", "accuracy, pruned", "seconds of the search"}


def test_one_seed_has_the_intervals_of_its_examples(tmp_path: Path) -> None:
    found = cells(study(tmp_path, [0.2], (0.84, 0.80)))
    assert found["accuracy, retrained"] == ["0.840 (0.830 to 0.850)", "0.800 (0.790 to 0.810)", "−0.040"]


def test_only_seeds_that_have_both_are_compared(tmp_path: Path) -> None:
    study(tmp_path, [0.2, 0.25, 0.15])
    rows = read_lines(tmp_path / "results.jsonl")
    write_lines(tmp_path / "results.jsonl", [r for r in rows if (r["seed"], r["method"]) != (1, "heads+neurons")])
    (one,) = method_pairs(read_study(tmp_path))
    assert one.seeds == (0, 2)
    assert [row.seed for row in one.pruned[1].rows] == [0, 2]
    assert one.search_seconds is not None
    assert [len(seconds) for seconds in one.search_seconds] == [2, 2]


def test_nothing_is_said_of_one_pruning(tmp_path: Path) -> None:
    assert method_pairs(read_study(fake_study(tmp_path, methods=("heads+mlps", "weights")))) == []


def test_a_study_at_work(tmp_path: Path) -> None:
    record = study(tmp_path, [0.2], finished=False)
    assert said(record).endswith("The two are not retrained yet.")
    assert "accuracy, retrained" not in cells(record)


def test_neurons_against_mlps_without_heads(tmp_path: Path) -> None:
    (one,) = method_pairs(read_study(fake_study(tmp_path, methods=("mlps", "neurons", "heads+neurons"))))
    assert (one.coarse, one.fine) == ("mlps", "neurons")


def test_a_very_small_ticket_does_not_rule_the_mean(tmp_path: Path) -> None:
    study(tmp_path, [0.0, 0.0])
    rows = read_lines(tmp_path / "results.jsonl")
    weights = {("heads+mlps", 0): 1000, ("heads+mlps", 1): 9000, ("heads+neurons", 0): 4000, ("heads+neurons", 1): 4000}
    for row in rows:
        row["weights"] = weights.get((row["method"], row["seed"]), row["weights"])
    write_lines(tmp_path / "results.jsonl", rows)
    text = said(read_study(tmp_path))
    # In the first seed it is four times as large, and yet smaller on average.
    assert "leaves 20.0 % fewer prunable weights on average (4,000, not 5,000; ± 113.1 % over 2 seeds)" in text
    assert "fewer in 1 of 2 seeds: no difference in size is clear." in text
