"""Tables of benchmarks come from their files, with the machine in words; without a file they are left out."""

import json
from pathlib import Path

import pytest

import benchmark_tables
import page

HEAD = {
    "sentences": 200,
    "repeats": 3,
    "versions": {"tombola": "0.1.0", "torch": "2.13.0"},
    "machine": {"processor": "Some Processor", "cores": 2, "memory_gib": 23.5, "threads": 2},
}
SEARCH = {
    "sentences": 200,
    "iterations": 8,
    "seconds": {"ours, fp32": [1.0, 1.1, 1.2], "the paper's way, fp32": [12.0, 13.0, 14.0]},
    "ratio": {"ours, fp32": [11.8, 11.7, 12.0]},
    "date": "2026-11-29",
}
MARKS = "Before.\n\n<!-- table: search -->\n{}<!-- end -->\n\nAfter.\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(benchmark_tables, "HERE", tmp_path)
    monkeypatch.setattr(benchmark_tables, "lines", lambda name: read(tmp_path / name))
    (tmp_path / benchmark_tables.FOLDER).mkdir()
    return tmp_path / benchmark_tables.FOLDER


def read(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_table_that_was_not_measured_is_left_out(folder: Path) -> None:
    assert [*folder.iterdir()] == []
    assert page.filled(MARKS.format("| a | table |\n")) == MARKS.format("")
    assert all([*table()] == [] for table in benchmark_tables.TABLES.values())


def test_a_table_says_on_what_it_was_measured(folder: Path) -> None:
    (folder / "search.jsonl").write_text("\n".join(map(json.dumps, (HEAD, SEARCH))), encoding="utf-8")
    made = page.filled(MARKS.format(""))
    assert "| ours, fp32 | 1.10 [1.00, 1.20] | 11.8 [11.7, 12.0] |" in made
    said = " ".join(made.split())
    assert "least and the most of 3 turns (Some Processor, threads: 2; torch 2.13.0; 2026-11-29)." in said


@pytest.mark.parametrize(
    "path", sorted((page.DOCS / "findings" / "benchmarks").glob("*.jsonl")), ids=lambda path: path.stem
)
def test_files_say_what_was_measured_and_nothing_of_where(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    head, *lines = map(json.loads, text.splitlines())
    assert {"tombola", "torch"} <= head["versions"].keys()
    assert lines
    assert all("machine" in head and "date" in line for line in lines if "seconds" in line)
    assert not [one for one in ("/home/", "/root", "/tmp", "/work", "\\\\") if one in text]
