"""What a search's options refuse."""

import math
from typing import Any

import pytest

from tombola.foundations.errors import TombolaError
from tombola.pruning.search.options import SearchOptions


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": 0.0},
        {"threshold": 1.1},
        {"threshold": math.nan},
        {"heads_step": 0.0},
        {"refine_heads_step": -0.1},
        {"mlps_step": -1},
        {"weights_step": 1.0},
        {"weights_step": 0.0},
    ],
)
def test_options_out_of_range_are_refused_in_one_line(options: dict[str, Any]) -> None:
    with pytest.raises(TombolaError, match=next(iter(options))) as caught:
        SearchOptions(**options)
    assert "\n" not in str(caught.value)
