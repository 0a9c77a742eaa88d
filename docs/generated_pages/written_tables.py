"""Tables that stand in pages as text, for readers of the repository: written from the code, checked by a test.

`python docs/generated_pages/written_tables.py` writes them anew.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from generated_pages.sources import ROOT, packages
from tombola.tickets.pruning_methods import METHODS, PruningMethod

PAGES = ("glossary.md", "house.md")
"""Pages in `docs/` that have such a table."""


def filled(page: str) -> str:
    """The page with every table between `<!-- table: NAME -->` and `<!-- end -->` written anew."""
    return re.sub(
        r"(<!-- table: (\w+) -->\n\n).*?(\n\n<!-- end -->)",
        lambda found: found[1] + "\n".join(_TABLES[found[2]]()) + found[3],
        page,
        flags=re.DOTALL,
    )


def _methods() -> Iterator[str]:
    """Table of the pruning methods."""
    yield from ("| method | kind of its tickets | removes | by |", "| --- | --- | --- | --- |")
    for one in METHODS.values():
        yield f"| `{one.name}` | `{one.kind}` | {one.words} | {_criterion(one)} |"


def _criterion(one: PruningMethod) -> str:
    if not one.criterion:
        return "importance, `--importance`"
    over = {"matrix": ", each matrix alike", "row": ", each row alike"}.get(one.scope or "", "")
    return one.criterion + (f", {one.pattern}" if one.pattern else over)


def _rooms() -> Iterator[str]:
    """Table of the rooms, the highest first, as in a house."""
    yield from ("| room | |", "| --- | --- |")
    rooms = {one.room: one for one in reversed([*packages()]) if one.path == one.room}
    for name, package in rooms.items():
        yield f"| [`{name}/`](../src/tombola/{name}) | {package.summary} |"


_TABLES = {"methods": _methods, "rooms": _rooms}

if __name__ == "__main__":
    for name in PAGES:
        path = ROOT / "docs" / name
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
