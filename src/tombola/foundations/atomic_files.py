"""Files and folders that are whole or absent: each is a temporary neighbour first, and one process writes it."""

import contextlib
import errno
import glob
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from tombola.foundations.errors import BusyError, DiskError, TombolaError
from tombola.foundations.parsing import MEND, json_text, json_value, read_text

_DRAFT = ".draft-"


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write `path` into one clear line."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = error.errno if isinstance(error, OSError) else _rust_errno(error)
        reasons = {
            errno.ENOSPC: "no space left on the disk; free some and start again, finished steps are kept",
            errno.EDQUOT: "the disk quota is used up; free some space and start again, finished steps are kept",
            errno.EFBIG: "the file would exceed the largest size allowed here (ulimit -f)",
            errno.EROFS: "the file system is read-only; choose another folder (--out), or a copy of this one",
            errno.EACCES: "permission denied; choose another folder (--out), or a copy of this one",
            errno.EPERM: "permission denied; choose another folder (--out), or a copy of this one",
            errno.ENOTDIR: "a part of the path is a file, not a folder; choose another folder with --out",
            errno.EEXIST: "a part of the path is a file, not a folder; choose another folder with --out",
            errno.EISDIR: "it is a folder; choose another name with --out",
            errno.ENAMETOOLONG: "the name is too long; choose a shorter one with --out",
            errno.ENOTEMPTY: "another process wrote it in the meantime; start again, finished steps are kept",
        }
        if number not in reasons:
            raise
        raise DiskError(f"cannot write {path}: {reasons[number]}") from error


def _rust_errno(error: SafetensorError) -> int | None:
    """The operating system's number, which safetensors' writer, in Rust, has in the text of its error only."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return None if found is None else int(found[1])


def _beside(path: Path) -> Path:
    return path.with_name(f"{_DRAFT}{path.name}-{uuid.uuid4().hex[:8]}")


@contextlib.contextmanager
def file_draft(path: Path) -> Iterator[Path]:
    """Yield the name of a draft that becomes `path` when the block, which writes it, ends, and vanishes when it fails.

    Raises:
        TombolaError: it cannot be written.
    """
    draft = _beside(path)
    try:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield draft
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
            draft.replace(path)
    finally:
        # Where the draft could not even be made, its removal must not hide why.
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: readers see the old content or the new, never a part."""
    with file_draft(path) as draft:
        draft.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write an indented JSON file atomically; a ValueError for NaN and infinity, as JSON has none."""
    write_text(path, json_text(value, indent=2) + "\n")


def write_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write a JSON-lines file atomically."""
    write_text(path, "".join(json_text(row) + "\n" for row in rows))


def read_json(path: Path, mend: str = MEND, *, bounded: bool = True) -> dict[str, Any]:
    """Read a JSON object; `mend` and `bounded` as of [`json_value`][tombola.foundations.parsing.json_value].

    Raises:
        TombolaError: the file is missing or is not a JSON object.
    """
    return _object(read_text(path, mend), str(path), mend, bounded=bounded)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines file of objects.

    Raises:
        TombolaError: the file is missing or a line is not a JSON object.
    """
    # Not splitlines: a text may hold what else Unicode calls the end of a line.
    lines = read_text(path).removesuffix("\n").split("\n")
    return [_object(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1) if lines != [""]]


def _object(text: str, where: str, mend: str = MEND, *, bounded: bool = True) -> dict[str, Any]:
    value = json_value(text, where, mend, bounded=bounded)
    if not isinstance(value, dict):
        raise TombolaError(f"{where} is no JSON object; {mend}")
    return value


def check_new(folder: Path) -> None:
    """Raise a TombolaError where something is in a folder's place already, unless that is an empty folder."""
    with disk_errors(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise TombolaError(f"{folder} exists already; delete it or choose another folder")


@contextlib.contextmanager
def publish(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a draft folder that becomes `folder` when the block ends, and vanishes when it fails.

    Args:
        folder: new or empty; with `replace`, one that is there and gives way.
        replace: see there.

    Raises:
        TombolaError: `folder` exists, is not empty and is not to be replaced, or cannot be written.
    """
    with disk_errors(folder):
        if not replace:
            check_new(folder)
        draft = _beside(folder)
        made = [parent for parent in draft.parents if not parent.exists()]
        try:
            draft.mkdir(parents=True)
            yield draft
            old = folder.with_name(f".old-{folder.name}")
            if replace:
                # Killed between the two renames, the old folder is still there under its other name.
                folder.rename(old)
            draft.rename(folder)
            if replace:
                shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            for parent in made:
                # Parents that were made for a folder that failed are empty; others refuse to go.
                with contextlib.suppress(OSError):
                    parent.rmdir()


def clear_drafts(folder: Path) -> None:
    """Delete what killed processes left half-written anywhere under `folder`."""
    for draft in list(folder.rglob(f"{_DRAFT}*")):
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)


def write_once(folder: Path, write: Callable[[Path], None]) -> Path:
    """The folder, written on first use: `write` makes it at the path that it is given; others that want it wait.

    Beside that path is room for what it needs meanwhile.

    Raises:
        OSError: it cannot be written.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder)
    try:
        # Beside the final folder, so that publishing is a rename within one file system.
        with lock, contextlib.ExitStack() as stack:
            prefix = f"{_DRAFT}{folder.name}-"
            # Whoever has the lock is alone: what is there was left by a process that was killed.
            for left in folder.parent.glob(f"{glob.escape(prefix)}{'?' * 8}"):
                shutil.rmtree(left, ignore_errors=True)
            for left in folder.parent.glob(f"{_DRAFT}{'?' * 8}"):
                # Of earlier versions, which did not say of what.
                if _old(left):
                    shutil.rmtree(left, ignore_errors=True)
            room = tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix)
            temporary = stack.enter_context(room)
            if not folder.is_dir():
                draft = Path(temporary) / "folder"
                write(draft)
                try:
                    draft.rename(folder)
                except OSError:
                    # Another process was first, on a file system without locks.
                    if not folder.is_dir():
                        raise
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
    return folder


def _old(folder: Path) -> bool:
    """True if nobody wrote into a folder for an hour."""
    with contextlib.suppress(OSError):
        return folder.stat().st_mtime < time.time() - 3600
    return False


@contextlib.contextmanager
def temporary_folder(prefix: str, home: Path | None = None) -> Iterator[Path]:
    """Yield a folder that vanishes when the block ends; those of this prefix that killed processes left vanish first.

    Args:
        prefix: of the folder's name.
        home: folder that it is in; by default the system's for temporary files.
    """
    for left in Path(home or tempfile.gettempdir()).glob(f"{glob.escape(prefix)}*"):
        # Whoever works in it holds its lock; another user's cannot be opened.
        if (left / ".lock").exists() or _old(left):
            with contextlib.suppress(Timeout, OSError), FileLock(left / ".lock", timeout=0):
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=prefix) as made, FileLock(Path(made) / ".lock"):
        yield Path(made)


@contextlib.contextmanager
def publish_alone(folder: Path) -> Iterator[Path]:
    """`publish`, while no other process writes this folder; what a killed one left of it is deleted.

    Raises:
        TombolaError: as `publish`, or another process is at work on it.
    """
    lock = _lock(folder)
    made = [parent for parent in folder.parents if not parent.exists()]
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise TombolaError(f"another process is writing {folder}; wait for it or choose another folder") from None
    try:
        # Nothing of a neighbour whose name begins like its own.
        for left in folder.parent.glob(f"{_DRAFT}{glob.escape(folder.name)}-{'[0-9a-f]' * 8}"):
            shutil.rmtree(left, ignore_errors=True)
        with publish(folder) as draft:
            yield draft
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
        for parent in made:
            # Those that were made for a folder that failed are empty; others refuse to go.
            with contextlib.suppress(OSError):
                parent.rmdir()


@contextlib.contextmanager
def work_alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, made where it is missing, that fills up step by step.

    Raises:
        BusyError: another process is at work on it.
        TombolaError: the disk is full.
    """
    try:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            held = FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise BusyError(f"another process is at work on {folder}; wait for it, or stop it") from None
    with held:
        yield


def _lock(folder: Path) -> FileLock:
    return FileLock(folder.with_name(f".{folder.name}.lock"))
