"""`--dry-run` of a command of one step: how long it would take, measured on a few batches, and nothing written."""

import argparse
from typing import TYPE_CHECKING, Any

from tombola.cli.command import say

if TYPE_CHECKING:
    from torch import nn

    from tombola.study.session import Session


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add `--dry-run`."""
    parser.add_argument("--dry-run", action="store_true", help="only say how long it would take")


def expected(options: argparse.Namespace, session: "Session", model: "nn.Module", cost: float) -> dict[str, Any]:
    """Result of a dry run of a step that costs so many forward passes of an example, printed for people."""
    from tombola.study.estimates import pass_seconds

    return expected_seconds(options, cost * pass_seconds(model, session.task, session.precision))


def expected_seconds(options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Result of a dry run of so many seconds, printed for people."""
    from tombola.study.estimates import in_words

    if not options.json:
        say(f"expected time: {in_words(seconds)}")
    return {"seconds": round(seconds, 1)}
