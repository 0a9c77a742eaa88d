"""Docstrings as the reference reads them: entries for several names at once become one entry a name."""

import re
from typing import Any

import griffe

_SECTION = re.compile(r"^(Args|Attributes):$")
_ENTRY = re.compile(r"^(?P<indent> *)(?P<names>\w+(?:(?:, | \.\.\. )\w+)+): (?P<text>.*)$")


class OneNameAnEntry(griffe.Extension):
    """Splits `low, high: the interval` under `Args:` and `Attributes:`, which Google's style does not know."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute before it is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = split_entries(obj.docstring.value, list(obj.members))


def split_entries(text: str, members: list[str]) -> str:
    """The docstring with one entry a name; `first ... last` stands for the class's members from one to the other."""
    lines: list[str] = []
    waiting: list[str] = []
    inside = False
    depth = 0
    for line in text.splitlines():
        deeper = line.startswith(" " * (depth + 1))
        if waiting and not deeper:
            lines += waiting
            waiting = []
        if _SECTION.match(line):
            inside = True
        elif inside and line and not line.startswith(" "):
            inside = False
        entry = _ENTRY.match(line) if inside else None
        if entry is None:
            lines.append(line)
            continue
        first, *others = _names(entry["names"], members)
        depth = len(entry["indent"])
        lines.append(f"{entry['indent']}{first}: {entry['text']}")
        waiting = [f"{entry['indent']}{name}: see `{first}`." for name in others]
    return "\n".join(lines + waiting)


def _names(text: str, members: list[str]) -> list[str]:
    found: list[str] = []
    for part in text.split(", "):
        first, *rest = part.split(" ... ")
        if rest and first in members and rest[0] in members:
            found += members[members.index(first) : members.index(rest[0]) + 1]
        else:
            found += [first, *rest]
    return found
