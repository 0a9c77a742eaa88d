"""The page of the command line: every command with its arguments, from the parsers themselves."""

import argparse
import re
from collections.abc import Iterator

from tombola.cli.main import COMMANDS, command_line


def page() -> str:
    """The page in Markdown."""
    lines = [
        "# Command line",
        "",
        "Made from the parsers, as `tombola COMMAND --help` shows it. Results go to stdout, progress and "
        "warnings to stderr. The exit code is 0 when done, 1 when "
        "failed, 2 for bad usage or bad input, 130 when stopped by Ctrl-C.",
        "",
        "| command | does |",
        "| --- | --- |",
    ]
    for name, command in COMMANDS.items():
        lines.append(f"| [`tombola {name}`](#tombola-{name}) | {_cell(command.what)} |")
    for name in COMMANDS:
        lines += ["", f"## `tombola {name}` {{ #tombola-{name} }}", "", *_command(_parser(name))]
    return "\n".join(lines) + "\n"


def _parser(name: str) -> argparse.ArgumentParser:
    """The parser of a command, with all its arguments."""
    (commands,) = (action for action in command_line(name)._actions if isinstance(action, argparse._SubParsersAction))
    found: argparse.ArgumentParser = commands.choices[name]
    return found


def _command(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Description of a command: what it does, how it is called, and a table for each group of its arguments."""
    yield parser.description or ""
    yield ""
    yield from ("```text", " ".join(_usage(parser)), "```")
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
        if not actions:
            continue
        yield from ("", f"**{_title(group.title or '')}**", "")
        if group.description:
            yield from (group.description, "")
        yield from ("| argument | |", "| --- | --- |")
        for action in actions:
            yield f"| {_argument(action)} | {_cell(_help(action, parser))} |"


def _usage(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield parser.prog
    for action in parser._actions:
        if not action.option_strings:
            yield f"[{_metavar(action)}]" if action.nargs == "?" else _metavar(action)
        elif action.required:
            yield f"{action.option_strings[-1]} {_metavar(action)}"
    yield "[options]"


def _title(title: str) -> str:
    return {"options": "options of this command", "positional arguments": "arguments"}.get(title, title).capitalize()


def _argument(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else f" {_metavar(action)}"
    if not action.option_strings:
        return f"`{_metavar(action)}`"
    return ", ".join(f"`{name}{value}`" for name in action.option_strings)


def _metavar(action: argparse.Action) -> str:
    if action.choices is not None and action.metavar is None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    return f"{name}..." if action.nargs in ("+", "*") else name


def _help(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """The help with its `%(default)s` filled in, as argparse does."""
    return parser._get_formatter()._expand_help(action) if action.help else ""


def _cell(text: str) -> str:
    """Text that a table's cell shows as it is written."""
    return re.sub(r"([|<>*_\[\]`])", r"\\\1", text)
