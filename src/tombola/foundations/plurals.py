"""Counts in words: 1 head, 2 heads."""


def plural(number: float, one: str, many: str | None = None) -> str:
    """`1 head`, `2,048 heads`; a mean keeps one decimal unless it is whole."""
    count = f"{number:,.0f}" if number == round(number) or number >= 1000 else f"{number:,.1f}"
    return f"{count} {one if number == 1 else many or one + 's'}"
