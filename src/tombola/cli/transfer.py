"""`tombola transfer`: the tickets of one task retrained on the others."""

import argparse
from pathlib import Path
from typing import Any

from tombola.cli.command import Command, add_out, names, say, seeds
from tombola.cli.dry_run import add_dry_run, planned


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    what = "folders of finished studies of one model"
    parser.add_argument("studies", nargs="+", type=Path, metavar="STUDY", help=what)
    add_out(parser, "folder of the results; resumes")
    parser.add_argument("--methods", type=names, default=(), metavar="weights", help="which (all that every study has)")
    parser.add_argument("--seeds", type=seeds, default=(), metavar="0,1", help="which (all that every study has)")
    parser.add_argument("--trust-remote-code", action="store_true", help="run code that comes with their model")
    add_dry_run(parser)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from tombola.study.study_record import check_together

    # Once more when they are opened: this takes no PyTorch.
    check_together(options.studies)
    from tombola import report
    from tombola.analysis.transfer import Transfer
    from tombola.foundations.resources import keep_freed_memory
    from tombola.study.transfer_study import TransferStudy

    keep_freed_memory()
    transferring = TransferStudy(
        options.studies,
        options.out,
        methods=options.methods,
        seeds=options.seeds,
        trust_remote_code=options.trust_remote_code,
    )
    if options.dry_run:
        return planned(options, transferring.plan())
    found = Transfer.read(transferring.run())
    path = report.build(options.out)
    if not options.json:
        for cell in found.cells:
            say(f"{cell.method}: {cell.sentence()}")
        say(f"report: {path}")
    return {**found.entry(), "report": str(path)}


COMMAND = Command(
    "transfer",
    "tickets of one task retrained on the others, beside their own and random ones; resumes",
    _add_arguments,
    _run,
    resumes=True,
)
