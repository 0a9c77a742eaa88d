"""The picture of the rooms and the list of what each holds, from the source and its imports."""

import html
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping

import grimp

from generated_pages.api_reference import HIDDEN_ROOMS, page_of
from generated_pages.sources import ROOMS, Package, packages

PICTURE = "*`make docs` draws here which room imports which.*"
CONTENTS = "*`make docs` lists here every module with its purpose.*"

_ROW, _TOP, _WALL, _BOX = 46, 120, 10, 530
_CELL, _MATRIX = 28, 565
_WIDTH = _MATRIX + _CELL * len(ROOMS) + 10
_HEIGHT = _TOP + _ROW * len(ROOMS) + 10


def fill(markdown: str) -> str:
    """The page with the picture and the list in place of the sentences that promise them; its table of rooms goes."""
    without = re.sub(r"<!-- table: rooms -->.*?<!-- end -->", "", markdown, flags=re.DOTALL)
    return without.replace(PICTURE, picture()).replace(CONTENTS, contents())


def imports() -> Mapping[tuple[str, str], int]:
    """Number of imports that lead from a room's modules to those of another."""
    graph = grimp.build_graph("tombola", cache_dir=None)
    found: Counter[tuple[str, str]] = Counter()
    for module in graph.modules:
        for target in graph.find_modules_directly_imported_by(module):
            rooms = [name.split(".")[1] for name in (module, target) if "." in name]
            if len(rooms) == 2 and rooms[0] != rooms[1] and rooms[0] in ROOMS:
                found[rooms[0], rooms[1]] += 1
    return found


def picture() -> str:
    """An SVG: the rooms as the floors of a house, the foundations at the bottom, and beside each what it imports."""
    lines = [
        f'<div class="rooms"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="rooms-title">',
        '<title id="rooms-title">The rooms in the order of imports, and which imports which</title>',
        f'<path class="roof" d="M {_WALL - 8} {_TOP - 4} L {_WALL + _BOX / 2} 34 L {_WALL + _BOX + 8} {_TOP - 4} Z"/>',
        f'<text class="name" x="{_WALL + _BOX / 2}" y="{_TOP - 26}" text-anchor="middle">tombola</text>',
        *_floors(),
        *_matrix(),
        "</svg></div>",
    ]
    return "\n".join(lines)


def _floors() -> Iterator[str]:
    """A box for each room, with its purpose and size."""
    held = _by_room()
    for number, room in enumerate(reversed(ROOMS)):
        top = _TOP + _ROW * number
        modules = [module for package in held[room] for module in package.modules]
        size = f"{len(modules)} files, {sum(module.lines for module in modules):,} lines"
        yield f'<a href="#{room}"><rect class="floor" x="{_WALL}" y="{top}" width="{_BOX}" height="{_ROW - 4}" rx="3"/>'
        yield f'<text class="name" x="{_WALL + 12}" y="{top + 18}">{room}</text>'
        yield f'<text class="size" x="{_WALL + 12}" y="{top + 34}">{size}</text>'
        for line, text in enumerate(textwrap.wrap(held[room][0].summary, 62)[:2]):
            yield f'<text class="what" x="{_WALL + 150}" y="{top + 18 + 15 * line}">{html.escape(text)}</text>'
        yield "</a>"


def _matrix() -> Iterator[str]:
    """A dot in a room's row for every room that it imports, the larger the more imports."""
    known = imports()
    for column, name in enumerate(ROOMS):
        x = _MATRIX + _CELL * (column + 0.5)
        yield f'<text class="column" transform="translate({x + 4} {_TOP - 8}) rotate(-55)">{name}</text>'
        for number, room in enumerate(reversed(ROOMS)):
            y = _TOP + _ROW * (number + 0.5) - 2
            count = known.get((room, name), 0)
            if room == name:
                yield f'<rect class="self" x="{x - 4}" y="{y - 4}" width="8" height="8"/>'
            elif count:
                upward = ROOMS.index(name) > ROOMS.index(room)
                what = "imports, against the order," if upward else "imports"
                kind, radius = "upward" if upward else "import", 3 + 1.6 * count**0.5
                yield (
                    f'<circle class="{kind}" cx="{x}" cy="{y}" r="{radius:.1f}">'
                    f"<title>{room} {what} {name}: {count} {'line' if count == 1 else 'lines'}</title></circle>"
                )
            else:
                yield f'<circle class="none" cx="{x}" cy="{y}" r="1"/>'


def contents() -> str:
    """List of the rooms: what each is for, what it imports, and its modules with the first line of their docstrings."""
    known = imports()
    lines: list[str] = []
    for room, inside in _by_room().items():
        below = [f"[{name}](#{name})" for name in ROOMS if known.get((room, name))]
        lines += ["", f"### {room} {{ #{room} }}", "", inside[0].summary, ""]
        lines += [f"Imports {', '.join(below)}." if below else "Imports no other room.", ""]
        lines += ["| module | |", "| --- | --- |"]
        for package in inside:
            if package is not inside[0]:
                lines.append(f"| **`{package.path}/`** | *{_cell(package.summary)}* |")
            for module in package.modules:
                name = module.name.split(".", maxsplit=2)[2].replace(".", "/")
                link = f"`{name}`" if room in HIDDEN_ROOMS else f"[`{name}`]({page_of(package)}#{module.name})"
                lines.append(f"| {link} | {_cell(module.summary)} |")
    return "\n".join(lines)


def _by_room() -> dict[str, list[Package]]:
    found: dict[str, list[Package]] = {room: [] for room in ROOMS}
    for package in packages():
        found[package.room].append(package)
    return found


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
