"""The parser of the command line: the table of commands, in the order of the help."""

import argparse
from collections.abc import Mapping
from importlib.metadata import version

from tombola.cli import compare, export, import_masks, memory, prune, report, retrain, score, shrink, study, transfer
from tombola.cli.command import Command
from tombola.cli.settings import add_settings

COMMANDS: Mapping[str, Command] = {
    command.name: command
    for command in (
        study.COMMAND,
        prune.COMMAND,
        retrain.COMMAND,
        score.COMMAND,
        shrink.COMMAND,
        export.COMMAND,
        memory.COMMAND,
        compare.COMMAND,
        import_masks.COMMAND,
        transfer.COMMAND,
        report.COMMAND,
    )
}


def command_line(chosen: str | None) -> argparse.ArgumentParser:
    """The parser; only the chosen command gets its arguments, whose defaults may take PyTorch and seconds to import."""
    parser = argparse.ArgumentParser(
        prog="tombola",
        description="Draw winning lottery tickets from neural networks: small subnetworks that do what the whole does.",
    )
    parser.add_argument("--version", action="version", version=f"tombola {version('tombola')}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, command in COMMANDS.items():
        what = command.what
        sub = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        sub.add_argument("--json", action="store_true", help="print the result as JSON")
        sub.set_defaults(command=command)
        if name == chosen:
            command.add_arguments(sub)
            if command.groups:
                add_settings(sub, command.groups, command.preset)
    return parser
