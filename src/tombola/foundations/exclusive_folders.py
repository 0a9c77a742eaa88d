"""Folders that several processes may want at once: one of them writes, and they appear whole or not at all."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tombola.foundations.atomic_files import disk_errors, publish, sweep_drafts_of
from tombola.foundations.errors import TombolaError


def write_once(folder: Path, write: Callable[[Path], None]) -> Path:
    """The folder, written on first use; others that want it wait.

    Args:
        folder: that of a cache, say.
        write: makes a folder, a draft, at the path that it is given; beside it is room for what it needs meanwhile.

    Raises:
        OSError: it cannot be written.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder)
    try:
        # Beside the final folder, so that publishing is a rename within one file system.
        with lock, tempfile.TemporaryDirectory(dir=folder.parent, prefix=".draft-") as temporary:
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
        sweep_drafts_of(folder)
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
        TombolaError: another process is at work on it, or the disk is full.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise TombolaError(f"another process is at work on {folder}; wait for it, or stop it") from None
    try:
        yield
    finally:
        lock.release()


def _lock(folder: Path) -> FileLock:
    return FileLock(folder.with_name(f".{folder.name}.lock"))
