"""Files that are whole or absent, and errors that say which file."""

import errno
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tombola.foundations.atomic_files import (
    clear_drafts,
    publish,
    read_json,
    read_lines,
    write_bytes,
    write_json,
    write_lines,
    write_text,
)
from tombola.foundations.errors import TombolaError


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def refuse(code: int) -> Callable[..., NoReturn]:
    def refused(*_: object, **__: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return refused


def test_a_folder_appears_whole_when_the_block_ends(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with publish(folder) as draft:
        (draft / "one").write_text("1")
        assert not folder.exists()
        assert draft.parent == folder.parent
    assert names(tmp_path) == ["a", "a/b", "a/b/one"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, TombolaError])
def test_a_block_that_fails_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error), publish(tmp_path / "a") as draft:  # noqa: PT012  # all of it is the block
        (draft / "deep").mkdir()
        (draft / "deep" / "one").write_text("1")
        raise error
    assert names(tmp_path) == []


def test_a_folder_that_is_taken_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "one").write_text("1")
    (tmp_path / "file").write_text("")
    for name in ("full", "file"):
        with pytest.raises(TombolaError, match="exists already"), publish(tmp_path / name):
            pytest.fail("the block ran")
    assert names(tmp_path) == ["file", "full", "full/one"]


def test_an_empty_folder_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with publish(tmp_path / "empty") as draft:
        (draft / "one").write_text("1")
    assert names(tmp_path) == ["empty", "empty/one"]


def test_a_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_bytes(path, b"long content")
    with path.open("rb") as reader:
        write_bytes(path, b"short")
        # One who reads meanwhile has the old file, whole.
        assert reader.read() == b"long content"
    assert path.read_bytes() == b"short"
    write_text(path, "ö")
    assert path.read_bytes() == "ö".encode()
    assert names(tmp_path) == ["deep", "deep/file"]


@pytest.mark.parametrize("where", ["fsync", "open"])
def test_a_full_disk_is_one_clear_line_and_keeps_the_old_file(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"old": 1})
    if where == "fsync":
        monkeypatch.setattr(os, "fsync", refuse(errno.ENOSPC))
    else:
        monkeypatch.setattr(Path, "open", refuse(errno.ENOSPC))
    with pytest.raises(TombolaError, match=r"file\.json.*no space") as caught:
        write_json(path, {"new": 2})
    monkeypatch.undo()
    assert "\n" not in str(caught.value)
    assert json.loads(path.read_text()) == {"old": 1}
    assert names(tmp_path) == ["file.json"]


def test_a_full_disk_while_publishing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", refuse(errno.ENOSPC))
    with pytest.raises(TombolaError, match="no space"), publish(tmp_path / "a") as draft:
        write_text(draft / "one", "1")
    # And where the block writes by other means.
    with pytest.raises(TombolaError, match="no space"), publish(tmp_path / "a"):
        refuse(errno.ENOSPC)()
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "says"), [(errno.EACCES, "permission"), (errno.EROFS, "read-only"), (errno.EDQUOT, "quota")]
)
def test_other_refusals_of_the_system_have_their_line(
    code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "open", refuse(code))
    with pytest.raises(TombolaError, match=says):
        write_text(tmp_path / "file", "")


def test_a_defect_is_not_taken_for_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", refuse(errno.EBADF))
    with pytest.raises(OSError, match="Bad file descriptor"):
        write_text(tmp_path / "file", "")


@pytest.mark.parametrize("below", ["file/one", "file/deep/one"])
def test_a_path_through_a_file_is_one_clear_line(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TombolaError, match="is a file"):
        write_text(tmp_path / below, "")
    with pytest.raises(TombolaError, match="is a file"), publish(tmp_path / below):
        pytest.fail("the block ran")
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_hold_is_refused_and_nothing_written(value: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"score": value})
    with pytest.raises(ValueError, match="JSON"):
        write_lines(tmp_path / "a.jsonl", [{"score": 1.0}, {"score": value}])
    assert names(tmp_path) == []


def test_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    value = {"a": [1, None, 0.1], "b": {"ö": True}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    # A line separator inside of a text does not end a line.
    rows: list[dict[str, Any]] = [value, {"text": "one\u2028two\x85three\nfour"}, {}]
    write_lines(tmp_path / "a.jsonl", rows)
    assert read_lines(tmp_path / "a.jsonl") == rows
    write_lines(tmp_path / "none.jsonl", [])
    assert read_lines(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("content", [b"{", b"", b"[1]", b'"a"', b"\xff"])
def test_damaged_json_names_its_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(TombolaError, match=r"a\.json") as caught:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["{", "[1]", "", "nonsense"])
def test_a_damaged_line_names_its_file_and_number(line: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"a": 1}}\n{{"a": 2}}\n{line}\n{{"a": 4}}\n')
    with pytest.raises(TombolaError, match=r"a\.jsonl, line 3") as caught:
        read_lines(tmp_path / "a.jsonl")
    assert "\n" not in str(caught.value)


def test_lines_that_are_no_text_name_their_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n\xff\n')
    with pytest.raises(TombolaError, match=r"a\.jsonl"):
        read_lines(tmp_path / "a.jsonl")


@pytest.mark.parametrize("read", [read_json, read_lines])
def test_a_missing_file_is_named(read: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(TombolaError, match=r"nowhere does not exist"):
        read(tmp_path / "nowhere")


def test_drafts_are_swept_and_nothing_else(tmp_path: Path) -> None:
    with publish(tmp_path / "kept" / "a") as draft:
        write_text(draft / "one", "1")
    # As a killed process leaves them, one in another.
    generator = publish(tmp_path / "kept" / "b")
    outer = generator.__enter__()
    inner = publish(outer / "c")
    write_text(inner.__enter__() / "two", "2")
    (tmp_path / "kept" / ".draft-file.json-12345678").write_text("{")
    (tmp_path / "kept" / ".hidden").write_text("")
    clear_drafts(tmp_path)
    assert names(tmp_path) == ["kept", "kept/.hidden", "kept/a", "kept/a/one"]
    clear_drafts(tmp_path / "nowhere")
