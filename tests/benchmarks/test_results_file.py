"""A benchmark's file of lines: whole after every line, gone on with, and refused where its settings were others."""

import re
from pathlib import Path

import pytest

from results_file import ResultsFile
from tombola.foundations.atomic_files import read_lines
from tombola.foundations.errors import TombolaError


def test_a_run_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    first = ResultsFile(path, {"epochs": 4}, ("seed", "ranking"))
    first.add(seed=0, ranking="random", score=1.5)
    again = ResultsFile(path, {"epochs": 4}, ("seed", "ranking"))
    assert again.has(0, "random")
    assert not again.has(1, "random")
    again.add(seed=1, ranking="random", score=1.25)
    settings, *lines = read_lines(path)
    assert settings["epochs"] == 4
    assert {*settings["versions"]} == {"tombola", "torch"}
    assert {*settings["machine"]} == {"processor", "cores", "memory_gib", "threads"}
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\d", line["date"]) for line in lines)
    assert [line["score"] for line in lines] == [1.5, 1.25]
    assert [one.name for one in tmp_path.iterdir()] == ["lines.jsonl"]


def test_lines_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    ResultsFile(path, {"epochs": 4}, ("seed",)).add(seed=0)
    with pytest.raises(TombolaError, match=r"other settings .* name another file"):
        ResultsFile(path, {"epochs": 16}, ("seed",))


def test_without_a_file_lines_are_kept_in_memory() -> None:
    results = ResultsFile(None, {}, ("seed",))
    results.add(seed=0)
    assert results.has(0)
