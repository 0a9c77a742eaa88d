"""A folder that lives as long as the tests do: what takes long is made there once for all of their processes."""

import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

SHARED_FOLDER = "TOMBOLA_TESTS_FOLDER"
"""Environment variable with the folder of `home`, set where the tests begin."""


def home() -> Path:
    """Folder that lives as long as the tests do, and that their processes share."""
    return Path(os.environ[SHARED_FOLDER])


def once(name: str, make: Callable[[Path], object]) -> Path:
    """A folder of `home`, made by the first process of the tests that asks for it; nobody else writes there."""
    folder = home() / name
    with FileLock(home() / f".{name}.lock"):
        if not folder.exists():
            draft = home() / f".{name}.draft"
            make(draft)
            draft.rename(folder)
    return folder
