"""Folders whose every free text carries a mark: words that the files have of a list stay, as other ones are refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builders.fake_study import ROLES
from tombola.analysis.attention.attention_maps import WEIGHTINGS
from tombola.analysis.attention.pattern_classes import CLASSES
from tombola.foundations.slug import slug
from tombola.study.config import ANALYSES, setting_groups
from tombola.study.folder_layout import STAGES
from tombola.tickets.kinds import SUPER_TICKETS, TICKET_KINDS, TICKETS
from tombola.tickets.pruning_methods import METHODS

LISTED = {
    *(*TICKETS, *SUPER_TICKETS, *STAGES, *METHODS, *TICKET_KINDS, *ROLES, *CLASSES, *WEIGHTINGS, *ANALYSES),
    # Settings of a few values.
    *(value for _, parts in setting_groups().values() for one in parts for value in one.choices),
    *("none", "full", "guessing", "seeds", "bootstrap", "joint", "magnitude", "random", "mlps", "heads"),
}
_CODED = ("raw", "norm")
"""Keys of classes as one letter each."""


def planted(value: Any, mark: str, names: set[str], key: str = "") -> Any:
    """A JSON value with a mark after every text that is in no list, and after every key that is one of the names."""
    if isinstance(value, str):
        return value if value in LISTED or key in _CODED else value + mark
    if isinstance(value, list):
        return [planted(one, mark, names, key) for one in value]
    if isinstance(value, dict):
        return {name + mark if name in names else name: planted(one, mark, names, name) for name, one in value.items()}
    return value


def plant(folder: Path, mark: str, *names: str) -> int:
    """Plant a mark into all JSON files below a folder, and keys and folders of some names; number of marks."""
    count = 0
    for path in _files(folder):
        lines = [line for line in path.read_text().splitlines() if path.suffix == ".jsonl"] or [path.read_text()]
        written = [json.dumps(planted(json.loads(line), mark, {*names})) for line in lines]
        path.write_text("".join(f"{line}\n" for line in written))
        count += sum(line.count(json.dumps(mark)[1:-1]) for line in written)
    for name in names:
        if (folder / name).is_dir():
            (folder / name).rename(folder / slug(name + mark))
    return count


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.rglob("*.json*")) if path.suffix in (".json", ".jsonl"))
