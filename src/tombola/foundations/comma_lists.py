"""Lists as comma text, as in flags and in YAML: `weights,wanda`, `0.2,0.5`, `0,2-4`, and `none` for the empty one."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_LONGEST = 100_000
"""Numbers of a range, at most."""


def comma_list(text: str, part_of: Callable[[str], T]) -> tuple[T, ...]:
    """Parts of a comma text, each read by `part_of`, whose ValueError passes on; none of `none`."""
    return () if text.strip() == "none" else tuple(part_of(part.strip()) for part in text.split(","))


def list_of(value_type: type) -> Callable[[str], tuple[Any, ...]]:
    """Reader of a comma text whose parts are of a type; of int also `0-4`, both ends included."""
    return whole_numbers if value_type is int else lambda text: comma_list(text, value_type)


def whole_numbers(text: str) -> tuple[int, ...]:
    """Whole numbers of a comma text, in which `0-4` stands for 0,1,2,3,4; a ValueError where it is none."""
    return tuple(number for part in comma_list(text, _range) for number in part)


def _range(text: str) -> range:
    if (found := re.fullmatch(r"([0-9]+)\s*-\s*([0-9]+)", text)) is None:
        return range(int(text), int(text) + 1)
    numbers = range(int(found[1]), int(found[2]) + 1)
    if not 0 < len(numbers) <= _LONGEST:
        raise ValueError(f"{text} is no range of whole numbers, such as 0-4")
    return numbers
