"""A score as a line for people."""

from collections.abc import Mapping
from typing import Any


def score_line(result: Mapping[str, Any]) -> str:
    """Line for people of a `Session.score_entry`."""
    interval = f"95 % interval {result['score_low']:.4f} to {result['score_high']:.4f}"
    return f"{result['metric']} {result['score']:.4f} ({interval}, n = {result['n']}; chance {result['chance']:.4f})"
