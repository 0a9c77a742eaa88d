"""A mark in every text of somebody else's folder stays text: on pages in a real browser, and in exported files."""

import json
import shutil
from pathlib import Path

import pytest

from builders import browser, small_study
from builders.browser import CODE
from builders.planted_text import plant
from builders.report_exports import check
from tombola.analysis.transfer import Transfer, TransferCell
from tombola.foundations.atomic_files import write_json
from tombola.report import build

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A study with every analysis, a comparison and a transfer, with the mark in all their texts."""
    done, home = small_study.analysed(), tmp_path_factory.mktemp("planted")
    shutil.copytree(done.folder, home / "study", ignore=shutil.ignore_patterns("retrained", "shrunk", "full", "*.html"))
    assert plant(home / "study", CODE, "moods") > 200
    (comparison,) = (home / "study").rglob("comparison.json")
    (home / "comparison").mkdir()
    found = json.loads(comparison.read_text())
    (home / "comparison" / "comparison.json").write_text(json.dumps({**found, "seed": 0}))
    tasks, metric = ("sst2", f"cola{CODE}"), f"accuracy{CODE}"
    cells = tuple(
        TransferCell(
            "weights", source, target, 2, 0.8, 0.01, 0.82, 0.02, 0.7, 0.03, 0.9, 0.5, 0.6,
            0.1, 0.05, 0.15, -0.02, -0.04, 0.01, -0.25,
        )
        for source, target in (tasks, tasks[::-1])
    )  # fmt: skip
    transfer = Transfer(f"minilm{CODE}", tasks, (0, 1), dict.fromkeys(tasks, metric), cells)
    write_json(home / "transfer" / "transfer.json", transfer.entry())
    return {name: home / name for name in ("study", "comparison", "transfer")}


@pytest.mark.parametrize(("what", "charts"), [("study", 20), ("comparison", 2), ("transfer", 1)])
def test_no_text_becomes_markup_or_code_in_a_browser(
    folders: dict[str, Path], tmp_path: Path, what: str, charts: int
) -> None:
    assert browser.check_planted(build(folders[what]), tmp_path / "profile") >= charts


@pytest.mark.parametrize(
    ("what", "tables"),
    [
        ("study", ["results", "results-by-seed", "agreement-seeds", "attention"]),
        ("comparison", ["agreement-seeds"]),
        ("transfer", ["transfer-weights"]),
    ],
)
def test_no_text_becomes_a_command_or_a_formula_in_files(
    folders: dict[str, Path], tmp_path: Path, what: str, tables: list[str]
) -> None:
    assert check(folders[what], tmp_path / "out") == tables
    for path in (tmp_path / "out").rglob("*"):
        # Pixels have no text that anybody reads.
        if path.suffix in (".png", ".pdf"):
            continue
        assert path.is_dir() or path.suffix in (".csv", ".tex") or "<b class" not in path.read_text().replace("\\<", "")
