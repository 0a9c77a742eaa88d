"""JSON-lines file of a benchmark, written anew after each line, so that a run that was killed goes on where it was."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tombola.foundations.atomic_files import read_lines, write_lines
from tombola.foundations.errors import TombolaError


class ResultsFile:
    """Lines in the order in which they were measured, after one of the settings that all of them share.

    Args:
        path: the file; None keeps the lines in memory only.
        settings: what every line depends on.
        key: fields that tell one line from another.

    Raises:
        TombolaError: the file holds lines of other settings.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any], key: tuple[str, ...]) -> None:
        self._path, self._key = path, key
        self._settings = {**settings, "versions": {name: version(name) for name in ("tombola", "torch")}}
        self.lines: list[dict[str, Any]] = []
        if path is not None and path.exists():
            head, *self.lines = read_lines(path)
            if head != self._settings:
                raise TombolaError(f"{path} was measured with other settings; name another file")

    def has(self, *values: Any) -> bool:
        """True if there is a line with these values of the key."""
        return any(tuple(line[name] for name in self._key) == values for line in self.lines)

    def add(self, **line: Any) -> None:
        """Take one more line, and write all."""
        self.lines.append(line)
        if self._path is not None:
            write_lines(self._path, [self._settings, *self.lines])
