"""Numbers of three figures at least, so that small sizes do not vanish in large units."""

import math


def decimals(value: float, most: int = 9) -> int:
    """Decimals with which a number has three figures: 0 for 0 and from 100 on, 2 for 5.3, 4 for 0.0292."""
    return min(most, max(0, 2 - math.floor(math.log10(abs(value))))) if value else 0


def figures(value: float, least: int = 0) -> str:
    """A number with three figures or more, below 1, and otherwise with so many decimals: `0.0292`, `5.3`, `1,024`."""
    return f"{value:,.{decimals(value) if abs(value) < 1 else least}f}"


def count(value: float) -> str:
    """A count; a mean keeps one decimal unless it is whole."""
    return f"{value:,.0f}" if value == round(value) or value >= 1000 else f"{value:,.1f}"


def short_count(value: float) -> str:
    """A count in three figures or so: `5.12 M`, `85.1 M`, `4,608`."""
    if value < 1e5:
        return count(value)
    return f"{value / 1e6:.2f} M" if value < 1e7 else f"{value / 1e6:,.1f} M"
