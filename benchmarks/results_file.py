"""JSON-lines file of a benchmark, written anew after each line, so that a run that was killed goes on where it was.

Every benchmark writes the same form: first a line of what all others share (settings, versions, the machine by its
processor, cores, threads and memory, no name and no path), then a line for each thing that was measured, with its date.
Times are `seconds` of each repeat, under a name, and `ratio` the quotient of two of them, see `turns`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tombola.foundations.atomic_files import read_lines, write_lines
from tombola.foundations.errors import TombolaError
from tombola.study.study_facts import machine_facts


class ResultsFile:
    """Lines in the order in which they were measured, after one of the settings that all of them share.

    Args:
        path: the file; None keeps the lines in memory only.
        settings: what every line depends on.
        key: fields that tell one line from another.
        packages: further packages that the results depend on.

    Raises:
        TombolaError: the file holds lines of other settings, versions or another machine.
    """

    def __init__(
        self, path: Path | None, settings: Mapping[str, Any], key: tuple[str, ...], packages: tuple[str, ...] = ()
    ) -> None:
        self._path, self._key = path, key
        versions = {name: version(name) for name in ("tombola", "torch", *packages)}
        facts = machine_facts(torch.device("cpu"), 1)
        machine = {name: facts[name] for name in ("processor", "cores", "memory_gib")}
        self._head = {**settings, "versions": versions, "machine": {**machine, "threads": torch.get_num_threads()}}
        self.lines: list[dict[str, Any]] = []
        if path is not None and path.exists():
            head, *self.lines = read_lines(path)
            if head != self._head:
                raise TombolaError(
                    f"{path} was measured with other settings or versions, or on another machine; name another file"
                )

    def has(self, *values: Any) -> bool:
        """True if there is a line with these values of the key."""
        return any(tuple(line[name] for name in self._key) == values for line in self.lines)

    def add(self, **line: Any) -> None:
        """Take one more line, which is dated, and write all."""
        self.lines.append({**line, "date": datetime.now(UTC).date().isoformat()})
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_lines(self._path, [self._head, *self.lines])
