"""Data files that visitors drop on a page: kept aside until a study begins that takes them, and gone with the app."""

import contextlib
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from tombola.foundations.errors import TombolaError
from tombola.foundations.plurals import plural
from tombola.foundations.slug import slug
from tombola.tasks.data.files import SUFFIXES, is_rows, records

LARGEST = 2**28
"""Bytes of a file that a page takes; a larger one is named by its path."""
_KEPT = 8
"""Files that are kept aside; the oldest go first."""


class GivenData:
    """Data files that were given to the app, each under a key that nobody guesses."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="tombola-data-")
        self._files: dict[str, Path] = {}

    async def receive(self, name: str, chunks: AsyncIterator[bytes]) -> str:
        """Keep a file aside; its key.

        Raises:
            TombolaError: its name says that it holds no rows, or it is too large.
        """
        if not is_rows(Path(name)):
            raise TombolaError(f"{name or 'this'} is no data file; give one that ends with {', '.join(SUFFIXES)}")
        end = next(suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.lower().endswith(suffix))
        key, size = secrets.token_urlsafe(9), 0
        path = Path(self._home.name) / key / f"{slug(Path(name).name[: -len(end)], 'data')[:60]}{end}"
        path.parent.mkdir()
        try:
            with path.open("wb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > LARGEST:
                        raise TombolaError(f"{name} is larger than {LARGEST // 2**20} MiB; type its path as the task")
                    file.write(chunk)
        except BaseException:
            shutil.rmtree(path.parent)
            raise
        self._files[key] = path
        while len(self._files) > _KEPT:
            self.drop(next(iter(self._files)))
        return key

    def path(self, key: str) -> Path:
        """The file under a key.

        Raises:
            TombolaError: there is none any more.
        """
        if key not in self._files:
            raise TombolaError("the data file is not here any more; choose it again")
        return self._files[key]

    def summary(self, key: str) -> str:
        """Name and number of rows of a file, after the library's readers have read all of it.

        Raises:
            TombolaError: they cannot, and why.
        """
        path = self.path(key)
        try:
            rows = sum(1 for _ in records(path))
        except TombolaError as error:
            raise TombolaError(str(error).replace(f"{path.parent}/", "")) from None
        return f"{path.name}: {plural(rows, 'row')}"

    def drop(self, key: str) -> None:
        """Let go of a file."""
        with contextlib.suppress(OSError):
            shutil.rmtree(self._files.pop(key).parent)
