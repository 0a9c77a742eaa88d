"""Records of which each is of the right type, and that no study wrote: one line that says which, and no page."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from builders.fake_study import fake_study
from tombola.foundations.errors import TombolaError
from tombola.pruning.search.records import read_passes
from tombola.report.build import page_of
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.result_tables import results
from tombola.report.summary import read_rows

SEARCH = "rotten-tomatoes/seed-0/heads+mlps/search.jsonl"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_study(tmp_path_factory.mktemp("sound") / "study", seeds=(0, 1), layers=2, heads=4)


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "study")


def forge(path: Path, line: int, **values: Any) -> None:
    lines = path.read_text().splitlines()
    lines[line] = json.dumps({**json.loads(lines[line]), **values})
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"n": 0}, "'n' should be 1 or more, but found 0"),
        ({"n": -5}, "'n' should be 1 or more"),
        ({"heads": -1}, "'heads' should be 0 or more"),
        ({"sparsity": 3.0}, "'sparsity' should be at most 1"),
        ({"seconds": -0.5}, "'seconds' should be 0 or more"),
        ({"score": 7.0}, "the score is 7, and accuracy lies from 0 to 1"),
        ({"score_high": 1.5}, "the score_high is 1.5"),
        ({"score_low": 0.9, "score_high": 0.1}, "ends at 0.1, before it begins"),
        ({"task": "cola"}, "the task is 'cola', and 'rotten-tomatoes' before"),
        ({"metric": "f1"}, "the metric is 'f1', and 'accuracy' before"),
    ],
)
def test_rows_are_within_their_bounds_and_of_one_study(folder: Path, values: dict[str, Any], said: str) -> None:
    forge(folder / "results.jsonl", 3, **values)
    with pytest.raises(TombolaError, match=f"results.jsonl, line 4.*{said}"):
        read_rows(folder)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"removed": {"heads": [1, 2]}}, "should be a list"),
        ({"removed": {"heads": [[1, 2, 3]]}}, "line 3.*removed.*heads"),
        ({"removed": {"heads": [[-1, 2]]}}, "should be 0 or more"),
        ({"removed": {"weights": [[0]]}}, "'weights' should be a whole number"),
        ({"removed": {"mlps": [[0, 1]]}}, "should be a whole number"),
        ({"importance": {"heads": 5}}, "'heads' should be a list"),
        ({"importance": {"mlps": [[1.0]]}}, "should be a number"),
        ({"sparsity": -0.5}, "'sparsity' should be 0 or more"),
        ({"iteration": 7}, "does not count its iterations from 0"),
    ],
)
def test_lines_of_a_search_are_those_of_one(folder: Path, values: dict[str, Any], said: str) -> None:
    forge(folder / SEARCH, 2, **values)
    with pytest.raises(TombolaError, match=said):
        read_passes(folder / SEARCH)


def swap(folder: Path) -> None:
    """Importance of a seed with a head more than that of the other."""
    importance = json.loads((folder / SEARCH).read_text().splitlines()[0])["importance"]
    importance["heads"][0].append(0.5)
    forge(folder / SEARCH, 0, importance=importance)


@pytest.mark.slow
def test_what_does_not_fit_together_is_one_line(folder: Path) -> None:
    swap(folder)
    with pytest.raises(TombolaError, match=r"the records in .*study do not fit together") as caught:
        page_of(folder, FigureRegistry())
    assert str(caught.value).isprintable()


def test_a_study_that_does_not_fit_costs_a_table_no_more_than_its_rows(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "other")
    forge(folder / "results.jsonl", 0, n=0)
    with pytest.warns(UserWarning, match="study left out"):
        found = results(tmp_path)
    assert {*found["study"]} == {"other"}
