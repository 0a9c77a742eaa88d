"""Numbers that a person types."""

import math

from tombola.foundations.errors import TombolaError


def number(what: str, text: str) -> float:
    """A number as a person types it, with a point or a comma.

    Raises:
        TombolaError: it is none.
    """
    try:
        found = float(text.strip().replace(",", "."))
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise TombolaError(f"{what} is a number, not {text.strip()[:40]!r}")
    return found


def whole(what: str, text: str) -> int:
    """A whole number as a person types it.

    Raises:
        TombolaError: it is none.
    """
    found = number(what, text)
    if found != int(found):
        raise TombolaError(f"{what} is a whole number, not {text.strip()[:40]}")
    return int(found)
