from pathlib import Path

import pytest
from rich.console import Console

from builders.fake_study import HOSTILE, fake_study
from tombola.foundations.errors import TombolaError
from tombola.report import number_format
from tombola.report.summary import read_rows, summarise
from tombola.report.terminal import results_table


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
