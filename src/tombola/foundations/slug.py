"""Slugs: names of files and folders for texts that anybody wrote."""

import itertools
import re
from collections.abc import Container, Iterable

_LONGEST = 80
"""Bytes: several may stand in one name, whose limit is 255."""
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that are devices on Windows, whatever follows a dot."""


def slug(text: str, instead: str = "unnamed") -> str:
    """Name of a file or folder for a text: its letters, digits, dots and underscores, and hyphens between them.

    It begins with no dot, is at most 80 bytes long, and leads to no other folder; a slug is its own slug.

    Args:
        text: any.
        instead: name where nothing of the text is left.
    """
    plain = "".join(letter if letter.isalnum() or letter in "._" else "-" for letter in text).strip("-.")
    short = plain.encode()[:_LONGEST].decode(errors="ignore").rstrip("-.")
    return (f"_{short}" if _DEVICES.fullmatch(short) else short) or instead


def slugs(texts: Iterable[str]) -> dict[str, str]:
    """Slugs of several texts, by text: all different, also where letters are not told apart by case."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for text in texts:
        found[text] = unused(slug(text), taken)
        taken.add(found[text].lower())
    return found


def unused(name: str, taken: Container[str]) -> str:
    """The name, with a number after it where its lower case is taken."""
    numbered = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(one for one in numbered if one.lower() not in taken)
