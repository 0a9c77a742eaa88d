"""`tombola report`: the page of a study, a comparison or a transfer, written again."""

import argparse
from pathlib import Path
from typing import Any

from tombola.cli.command import Command


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of a study, a comparison or a transfer")


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from tombola import report

    path = report.build(options.folder)
    if not options.json:
        print(path)
    return {"report": str(path)}


COMMAND = Command(
    name="report",
    what="the HTML report of a study, a comparison or a transfer, written again",
    add_arguments=_add_arguments,
    run=_run,
)
