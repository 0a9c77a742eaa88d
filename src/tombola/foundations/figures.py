"""Numbers of three figures at least, so that small sizes do not vanish in large units."""

import math


def decimals(value: float, most: int = 9) -> int:
    """Decimals with which a number has three figures: 0 for 0 and from 100 on, 2 for 5.3, 4 for 0.0292."""
    return min(most, max(0, 2 - math.floor(math.log10(abs(value))))) if value else 0


def figures(value: float, least: int = 0) -> str:
    """A number with three figures or more, below 1, and otherwise with so many decimals: `0.0292`, `5.3`, `1,024`."""
    return f"{value:,.{decimals(value) if abs(value) < 1 else least}f}"
