"""Numbers whose small ones do not vanish."""

import pytest

from tombola.foundations.figures import figures


@pytest.mark.parametrize(
    ("value", "least", "text"),
    [
        (0, 0, "0"),
        (0.029186, 1, "0.0292"),
        (0.117, 0, "0.117"),
        (5.3, 2, "5.30"),
        (1024.4, 0, "1,024"),
        (2e-9, 0, "0.000000002"),
    ],
)
def test_three_figures_at_least(value: float, least: int, text: str) -> None:
    assert figures(value, least) == text
