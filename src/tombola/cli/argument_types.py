"""Lists as values of flags: `0,1,2`, `heads+mlps,weights`."""

import argparse
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_COUNTS = "whole numbers from 1, such as 1,32"


def seeds(text: str) -> tuple[int, ...]:
    """Whole numbers, separated by commas.

    Raises:
        argparse.ArgumentTypeError: a part is none.
    """
    return _parts(text, int, "whole numbers such as 0,1,2")


def counts(text: str) -> tuple[int, ...]:
    """Whole numbers from 1, separated by commas.

    Raises:
        argparse.ArgumentTypeError: a part is none.
    """
    found = _parts(text, int, _COUNTS)
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of {_COUNTS}")
    return found


def names(text: str) -> tuple[str, ...]:
    """Names, separated by commas."""
    return tuple(part.strip() for part in text.split(","))


def numbers(text: str) -> tuple[float, ...]:
    """Numbers, separated by commas.

    Raises:
        argparse.ArgumentTypeError: a part is none.
    """
    return _parts(text, float, "numbers such as 0.2,0.5")


def listed(kind: type) -> Callable[[str], tuple[Any, ...]]:
    """The reader of a list whose parts are of this kind; `none` for the empty one."""
    read = {float: numbers, int: counts}.get(kind, names)
    return lambda text: () if text == "none" else read(text)


def _parts(text: str, kind: Callable[[str], T], what: str) -> tuple[T, ...]:
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of {what}") from None
