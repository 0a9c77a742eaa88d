"""Running one command: its exit code, its errors as one line, its warnings as notes."""

import json
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from tombola.cli.parser import command_line
from tombola.foundations.errors import TombolaError

DONE, FAILED, BAD_USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 bad usage or bad input, 130 stopped."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Tokenizers warn of forks that never happen here.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Threads that spin while they wait make a shared machine up to thirty times slower. Read when PyTorch
    # is imported, which the parser does for a command's defaults.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Newer Pythons let `--` stand before the command.
    chosen = next((part for part in given if part != "--"), None)
    parser = command_line(chosen)
    options = parser.parse_args(given)
    options.given = given
    if options.command is None:
        parser.print_help()
        return BAD_USAGE
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _note
            result: dict[str, Any] = options.command.run(options)
    except TombolaError as error:
        print(f"tombola: error: {error}", file=sys.stderr)
        return BAD_USAGE
    except RuntimeError as error:
        # torch.OutOfMemoryError, by its name: PyTorch may not even be imported.
        if type(error).__name__ != "OutOfMemoryError":
            raise
        reason = str(error).splitlines()[0]
        flags = {"training": "--batch-size", "running": "--eval-batch-size"}
        heeded = [flag for group, flag in flags.items() if group in options.command.groups]
        advice = f"Lower {' or '.join(heeded)}." if heeded else "Use a device with more memory."
        print(f"tombola: failed: {reason} {advice}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        what = "the same command goes on where it was" if options.command.resumes else "nothing was written"
        print(f"tombola: stopped; {what}", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps(result, indent=2))
    return DONE


def _note(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning as a line for people, without the place in the source."""
    print(f"tombola: note: {message}", file=sys.stderr)
