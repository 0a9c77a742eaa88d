"""The table of commands, in the order of the help; running one: exit code, errors as one line, warnings as notes."""

import argparse
import contextlib
import io
import json
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from typing_extensions import override

from tombola.cli import (
    app,
    compare,
    export,
    import_masks,
    memory,
    prune,
    report,
    results,
    retrain,
    score,
    shrink,
    study,
    sweep,
    transfer,
)
from tombola.cli.command import Command, add_settings, say, settings_file
from tombola.foundations.atomic_files import check_new
from tombola.foundations.errors import (
    FailedError,
    TombolaError,
    did_you_mean,
    memory_errors,
    printable,
    system_errors,
    unknown,
)
from tombola.foundations.launcher import is_main_process, process_count, process_rank

DONE, FAILED, BAD_USAGE = 0, 1, 2
UNREAD = 141
"""Exit code of Unix tools whose output nobody reads any more, as after `| head`."""
_MODULES = (
    *(study, sweep, prune, retrain, score, shrink, export),
    *(memory, compare, import_masks, transfer, report, app, results),
)
COMMANDS: Mapping[str, Command] = {module.COMMAND.name: module.COMMAND for module in _MODULES}


class _Parser(argparse.ArgumentParser):
    """Parser whose errors are one line, and which names the flags that are spelt like one that it does not know."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    @override
    def error(self, message: str) -> NoReturn:
        text = f"{printable(message)}; {self.prog} --help lists what there is"
        self.exit(BAD_USAGE, f"{self.prog}: error: {text}\n")

    @override
    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, unknown("value", value, action.choices))

    def refuse(self, given: Sequence[str]) -> NoReturn:
        """End with an error for arguments that nobody took."""
        known = [flag.lstrip("-") for action in self._actions for flag in action.option_strings]
        flags = [one.partition("=")[0].lstrip("-") for one in given if one.startswith("-")]
        questions = [did_you_mean(flag, known, "--").strip() for flag in flags]
        alike = "".join(f"; {question}" for question in questions if question)
        self.error(f"unrecognized arguments: {' '.join(given)}{alike}")


class _Completion(argparse.Action):
    """Prints the completion script of all commands, and ends."""

    @override
    def __call__(self, parser: argparse.ArgumentParser, _: object, values: Any, flag: str | None = None) -> NoReturn:
        import shtab

        from tombola.study.config import PRESETS, all_settings
        from tombola.tasks.registry import regimes
        from tombola.tickets.pruning_methods import METHODS

        paths = {"model", "task", "full", *(name for regime in regimes() for name in regime.settings.files)}
        # Those that have a line of their own for what is none of them, in place of argparse's.
        choices = {name: one.choices for name, one in all_settings().items() if one.choices}
        choices |= {"preset": PRESETS, "method": tuple(METHODS)}
        whole = command_line(*COMMANDS)
        for action in _arguments(whole):
            if action.type in (Path, settings_file) or action.dest in paths:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif action.choices is None:
                action.choices = choices.get(action.dest)
        print(shtab.complete(whole, shell=values))
        parser.exit(DONE)


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Arguments of a parser and of its commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _arguments(command)
        else:
            yield action


def command_line(*chosen: str | None) -> _Parser:
    """The parser; only the chosen commands get their arguments, whose defaults take time to import."""
    parser = _Parser(
        prog="tombola",
        description="Draw winning lottery tickets from neural networks: small subnetworks that do what the whole does.",
    )
    parser.add_argument("--version", action="version", version=f"tombola {version('tombola')}")
    shells = ("bash", "zsh", "fish", "tcsh")
    completion = "print what completes commands and flags in a shell, and stop"
    parser.add_argument("--print-completion", action=_Completion, choices=shells, help=completion)
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, command in COMMANDS.items():
        what = command.what
        sub = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        sub.add_argument("--json", action="store_true", help="print the result as JSON")
        sub.set_defaults(command=command, parser=sub)
        if name in chosen:
            command.add_arguments(sub)
            if command.groups:
                add_settings(sub, command.groups, command.preset)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 bad usage or bad input, 130 stopped.

    Raises:
        SystemExit: argparse has said all there is to say, or nobody reads the output any more (141).
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Tokenizers warn of forks that never happen here.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Of what other libraries miss, and how they make up for it, users need not know; who wants to, sets them.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    if process_count() > 1:
        # PyTorch's loggers, of every process.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # Threads that spin while they wait make a shared machine up to thirty times slower. Read when PyTorch
    # is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Newer Pythons let `--` stand before the command.
    chosen = next((part for part in given if part != "--"), None)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not UTF-8 gets dashes and names escaped.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with _while_read(), warnings.catch_warnings():
        warnings.showwarning = _note
        if chosen is not None and not chosen.startswith("-") and chosen not in COMMANDS:
            command_line().error(unknown("command", chosen, COMMANDS))
        return _run(command_line(chosen), given)


@contextlib.contextmanager
def _while_read() -> Iterator[None]:
    """End without a word when nobody reads what is written any more, as of `tombola compare | head`."""
    try:
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
    except (BrokenPipeError, SystemExit) as error:
        # Rich makes an exit of it.
        if not isinstance(error, BrokenPipeError) and not isinstance(error.__context__, BrokenPipeError):
            raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        # Nothing must be written at exit either.
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        raise SystemExit(UNREAD) from None


def _run(parser: _Parser, given: Sequence[str]) -> int:
    options, rest = parser.parse_known_args(given)
    if rest:
        (options.parser if options.command else parser).refuse(rest)
    options.typed = shlex.join(["tombola", *given])
    if options.command is None:
        parser.print_help()
        return BAD_USAGE
    try:
        with memory_errors(), system_errors():
            if strange := [one for one in given if not one.isprintable() and "\udc80" <= max(one) <= "\udcff"]:
                # Neither a tokenizer nor a file of JSON takes it.
                raise TombolaError(f"{strange[0]!r} is not UTF-8; rename the file")
            if process_count() > 1 and not options.command.distributed:
                raise TombolaError(f"{options.command.name} is one process; start it without the launcher")
            out = getattr(options, "out", None)
            if out is not None and out.is_dir() and not options.command.resumes:
                # Before what takes seconds to be imported.
                check_new(out)
            result: dict[str, Any] = options.command.run(options)
    except FailedError as error:
        return _failed(str(error))
    except TombolaError as error:
        say(f"tombola: error: {error}", stderr=True)
        return BAD_USAGE
    except RuntimeError as error:
        # torch.OutOfMemoryError, by its name: PyTorch may not even be imported.
        if type(error).__name__ != "OutOfMemoryError":
            raise
        reason = str(error).splitlines()[0]
        flags = {"training": "--batch-size", "running": "--eval-batch-size"}
        heeded = [flag for group, flag in flags.items() if group in options.command.groups]
        advice = f"Lower {' or '.join(heeded)}." if heeded else "Use a device with more memory."
        return _failed(f"{reason} {advice}")
    except KeyboardInterrupt:
        what = "the same command goes on where it was" if options.command.resumes else "nothing was written"
        say(f"tombola: stopped; {what}", stderr=True)
        return 130
    if options.json and is_main_process():
        print(json.dumps(result, indent=2))
    return DONE


def _failed(text: str) -> int:
    """Say what failed in this process; of several that a launcher started, it may be the only one."""
    say(f"tombola: failed: {text}", stderr=True)
    if not is_main_process():
        print(f"tombola: failed in process {process_rank()}: {printable(text)}", file=sys.stderr)
    return FAILED


def _note(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning as a line for people, without the place in the source."""
    say(f"tombola: note: {message}", stderr=True)
