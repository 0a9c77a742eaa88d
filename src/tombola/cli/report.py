"""`tombola report`: the page of a folder of results, written again, and its contents as files."""

import argparse
from pathlib import Path
from typing import Any

from tombola.cli.command import Command, say
from tombola.foundations.plurals import plural


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="folder of a study, a sweep, a comparison or a transfer"
    )
    text = "also write every figure as SVG, PNG and PDF, and every table as CSV and LaTeX, into this new folder"
    parser.add_argument("--export", type=Path, metavar="OUT", help=text)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from tombola.foundations.atomic_files import check_new
    from tombola.study.folder_layout import COMPARISON, TRANSFER, check_not_renewed
    from tombola.study.study_record import read_record
    from tombola.study.sweep_record import SWEEP

    check_not_renewed(options.folder)
    if options.export is not None:
        check_new(options.export)
    if not any((options.folder / name).is_file() for name in (COMPARISON, SWEEP, TRANSFER)):
        read_record(options.folder)
    from tombola import report

    found: dict[str, Any] = {}
    if options.export is not None:
        from tombola.report.export import export

        # First, so that a folder that is refused leaves the page as it is.
        found = {"export": str(options.export), "files": export(options.folder, options.export)}
    path = report.build(options.folder)
    if not options.json:
        say(str(path))
        if found:
            say(f"{plural(len(found['files']), 'file')} in {options.export}")
    return {"report": str(path), **found}


COMMAND = Command(
    "report", "the HTML report of a study, a sweep, a comparison or a transfer, written again", _add_arguments, _run
)
