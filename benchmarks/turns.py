"""Times of tools that take turns, so that whatever else the machine does hits all alike, and their ratios."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence


def in_turns(tools: Mapping[str, Callable[[], object]], repeats: int, *, warm: bool = True) -> dict[str, list[float]]:
    """Seconds of each tool in each of the repeats; with `warm`, after a round that does not count."""
    found: dict[str, list[float]] = {name: [] for name in tools}
    for turn in range(repeats + warm):
        for name, tool in tools.items():
            started = time.perf_counter()
            tool()
            if turn >= warm:
                found[name].append(time.perf_counter() - started)
    return found


def ratio(slow: Sequence[float], fast: Sequence[float]) -> list[float]:
    """Quotients of two tools' numbers turn by turn: their median, the least and the most."""
    found = [one / other for one, other in zip(slow, fast, strict=True)]
    return [statistics.median(found), min(found), max(found)]
