"""Format of numbers: the same number looks the same in the page, its charts and the terminal."""

import functools
from collections.abc import Callable

from tombola.foundations import figures

MISSING = "–"


def _or_missing(written: Callable[[float], str]) -> Callable[[float | None], str]:
    """Format with a dash for what is missing."""
    return functools.wraps(written)(lambda value: MISSING if value is None else written(value))


@_or_missing
def score(value: float) -> str:
    """Three decimals for scores of the order of 1, fewer for large ones such as perplexities."""
    # Adding 0 turns the -0.0 that rounding leaves into 0.0.
    return minus(f"{round(value, 3) + 0:.3f}" if abs(value) < 10 else f"{value:,.1f}")


@_or_missing
def share(value: float) -> str:
    """A share of 1 as a percentage."""
    return f"{100 * value:.1f} %"


count = _or_missing(figures.count)
"""A count; a mean over seeds keeps one decimal unless it is whole."""
short_count = _or_missing(figures.short_count)
"""A count in three figures or so: `5.12 M`, `85.1 M`, `4,608`."""


@_or_missing
def megabytes(size: float) -> str:
    """Bytes as MB (10^6), of which a small network has less than one."""
    return figures.figures(size / 1e6) if size < 1e6 else f"{size / 1e6:.1f}" if size < 1e8 else f"{size / 1e6:,.0f}"


@_or_missing
def seconds(value: float) -> str:
    """Seconds, with a decimal for short ones."""
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def interval(low: float, high: float, written: Callable[[float], str] = score) -> str:
    """`0.826 to 0.858`."""
    return f"{written(low)} to {written(high)}"


def spread(mean: float, std: float, written: Callable[[float], str] = score) -> str:
    """`0.842 ± 0.004`."""
    return f"{written(mean)} ± {written(std)}"


def difference(value: float, other: float, places: int = 3, *, higher_is_better: bool = True) -> str:
    """`0.012 better than`, `0.012 worse than` or `level with`."""
    apart = round(value - other, places)
    if not apart:
        return "level with"
    return f"{abs(apart):.{places}f} {'better' if (apart > 0) == higher_is_better else 'worse'} than"


def minus(text: str) -> str:
    """Text with a minus sign for each hyphen."""
    return text.replace("-", "−")
