from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from builders.fake_study import HOSTILE, fake_study
from tombola.analysis.retention_profile import AbilityCurve, Fall, RetentionProfile
from tombola.foundations.errors import TombolaError
from tombola.report import number_format
from tombola.report.study_data import read_study
from tombola.report.summary import read_rows, summarise
from tombola.report.terminal import abilities_table, results_table


def shown(folder: Path, width: int = 80) -> list[str]:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(results_table(folder))
    return capture.get().splitlines()


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_a_line_for_every_model_with_its_numbers(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    fake_study(tmp_path, seeds=seeds)
    lines = shown(tmp_path)
    for summary in summarise(read_rows(tmp_path)):
        parts = [
            number_format.score(summary.score),
            summary.spread.replace(" to ", "–"),
            number_format.share(summary.mean("sparsity")),
        ]
        assert any(all(part in line for part in parts) for line in lines), summary
    assert ("over seeds" if len(seeds) > 1 else "95 % interval over examples") in lines[0]
    assert "accuracy" in lines[0]


def test_it_fits_into_a_terminal(tmp_path: Path) -> None:
    fake_study(tmp_path, layers=12)
    lines = shown(tmp_path)
    assert "…" not in "".join(lines)
    assert all(len(line.rstrip()) <= 80 for line in lines)


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_neurons_fit_too(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    fake_study(tmp_path, layers=12, seeds=seeds, methods=("heads+mlps", "heads+neurons", "weights"))
    lines = shown(tmp_path)
    assert "…" not in "".join(lines)
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert "neurons" in lines[1]
    assert sum(line.startswith("heads+neurons") for line in lines) == 1
    # Two whole MLPs of 1,536 neurons are gone.
    assert any("15,360" in line for line in lines if line.startswith("good"))


def test_neurons_are_not_shown_where_none_are_pruned(tmp_path: Path) -> None:
    assert "neurons" not in "\n".join(shown(fake_study(tmp_path)))


def test_rows_do_as_well_as_a_folder(tmp_path: Path) -> None:
    fake_study(tmp_path)
    assert results_table(read_rows(tmp_path)).row_count == results_table(tmp_path).row_count


def test_brackets_are_not_markup(tmp_path: Path) -> None:
    fake_study(tmp_path, hostile=True)
    assert f"accuracy{HOSTILE}" in "\n".join(shown(tmp_path, width=160))


def test_a_study_is_needed(tmp_path: Path) -> None:
    with pytest.raises(TombolaError, match="holds no study"):
        results_table(tmp_path)


def test_channels_fit_without_the_seconds(tmp_path: Path) -> None:
    fake_study(tmp_path, methods=("weights",))
    rows = [replace(row, channels=32, mlps=0, bytes=180_000, seconds=2_345.0) for row in read_rows(tmp_path)]
    console = Console(width=80)
    with console.capture() as capture:
        console.print(results_table(rows))
    said = capture.get()
    assert "…" not in said
    assert "channels" in said
    assert "0.180" in said
    assert "2,345" not in said


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(TombolaError, match=r"nowhere does not exist; give the folder of a study"):
        results_table(tmp_path / "nowhere")


def test_raw_scores_of_abilities_have_their_unit(tmp_path: Path) -> None:
    fake_study(tmp_path, methods=("weights",))
    nothing, fall = (), Fall(0.3, 0.25, 0.4)
    curves = (
        AbilityCurve("grammar", "Grammar", "accuracy", 0.5, 80, True, 1.0, 0.9, 1.0, nothing, nothing, fall),
        AbilityCurve(
            "text", "Language modelling", "bits per byte", 4, 9, True, 0.231, 0.2, 0.3, nothing, nothing, fall
        ),
    )
    path = tmp_path / "rotten-tomatoes/seed-0/analysis/weights/retention.json"
    RetentionProfile("weights", 0.9, 0.3, curves).write(path)
    table = abilities_table(read_study(tmp_path))
    assert table is not None
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table)
    lines = [line.split() for line in capture.get().splitlines()]
    assert ["full,", "accuracy", "1.000", "0.231", "bits/byte"] in lines
    assert ["weights", "30", "(25–40)", "30", "(25–40)"] in lines
