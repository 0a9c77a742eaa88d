"""Cache of what is downloaded or made once."""

import os
from collections.abc import Callable
from pathlib import Path

from tombola.foundations.errors import TombolaError
from tombola.foundations.exclusive_folders import write_once


def cache() -> Path:
    """Folder of the cache: `$TOMBOLA_CACHE`, else `$XDG_CACHE_HOME/tombola`, else `~/.cache/tombola`."""
    if chosen := os.environ.get("TOMBOLA_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tombola"


def cached(name: str, write: Callable[[Path], None], what: str) -> Path:
    """A folder of the cache, written on first use; several processes may ask at once.

    Args:
        name: of the folder.
        write: makes it, see [`write_once`][tombola.foundations.exclusive_folders.write_once].
        what: it is, in errors.

    Raises:
        TombolaError: the cache cannot be written.
    """
    folder = cache() / name
    try:
        return write_once(folder, write)
    except OSError as error:
        raise TombolaError(
            f"cannot write {what} to the cache {folder.parent}: {error.strerror or error}; free some space or set "
            "TOMBOLA_CACHE to another folder"
        ) from error
