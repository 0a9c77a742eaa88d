"""Commands of the command line: arguments, what runs them, settings of a study as flags, lists as values of flags."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from rich.console import Console
from rich.text import Text

from tombola.checkpoints.sources import check_of_kind, configuration
from tombola.foundations.comma_lists import list_of, whole_numbers
from tombola.foundations.errors import TombolaError, no_such_path, printable
from tombola.foundations.launcher import is_main_process
from tombola.foundations.settings import SettingField
from tombola.study.folder_layout import check_not_renewed

if TYPE_CHECKING:
    from tombola.study.config import StudyConfig

T = TypeVar("T")
TICKET = "give the folder of a ticket, such as good/"
"""Advice where there is none."""


@dataclass(frozen=True)
class Command:
    """Command of `tombola`; a module holds it as `COMMAND`, and the table in `main.py` lists it.

    Its module is imported for every `tombola --help`: what takes PyTorch is imported inside the functions.
    """

    name: str
    what: str
    """Purpose, in the list of commands; begins in lower case."""
    add_arguments: Callable[[argparse.ArgumentParser], None]
    """Adds the command's own arguments; called for the command that was chosen only."""
    run: Callable[[argparse.Namespace], dict[str, Any]]
    """Run the command, print for people unless `options.json`, and return the result as JSON values."""
    groups: tuple[str, ...] = ()
    """Titles of the groups of settings that it heeds; it takes no others."""
    preset: str = "full"
    """The preset whose values are the settings' defaults."""
    resumes: bool = False
    """Running the same command again goes on where it was stopped."""
    distributed: bool = False
    """Several processes that a launcher started may run it together."""


def say(text: str, *, stderr: bool = False) -> None:
    """Print a sentence for people: in a terminal lines end between words, elsewhere it is one line.

    Of several processes that a launcher started the main one speaks for all.
    """
    if not is_main_process():
        return
    if stderr and hasattr(sys.stderr, "rich_proxied_file"):
        # Bars are drawn: what is printed goes above them, and no other console knows where they are.
        print(printable(text), file=sys.stderr)
        return
    console = Console(stderr=stderr, markup=False, emoji=False)
    # Beside `soft_wrap` any other overflow cuts a line off at 80 characters.
    overflow: Literal["fold", "ignore"] = "fold" if console.is_terminal else "ignore"
    console.print(Text(printable(text)), highlight=False, soft_wrap=not console.is_terminal, overflow=overflow)


def add_out(parser: argparse.ArgumentParser, what: str, *, required: bool = True) -> None:
    """Add `--out`, the folder that a command writes."""
    parser.add_argument("--out", type=Path, required=required, metavar="DIR", help=what)


def add_continue(parser: argparse.ArgumentParser) -> None:
    """Add `--continue`, the setting `at_chance` in short."""
    what = "search, and warn, where the full model or the threshold is no better than guessing: --at-chance continue"
    parser.add_argument(
        "--continue", dest="at_chance", action="store_const", const="continue", default=argparse.SUPPRESS, help=what
    )


def add_settings(parser: argparse.ArgumentParser, groups: Sequence[str], preset: str) -> None:
    """Add `--preset` and a flag for each setting of the groups, and of the regimes; helps show those of a preset."""
    from tombola.study.config import PRESETS, preset_settings, setting_groups, shared_groups
    from tombola.tasks.registry import named_tasks

    parser.add_argument(
        "--preset",
        # The configuration refuses others, and names what is spelt alike.
        metavar="{" + ",".join(PRESETS) + "}",
        help=f"settings that go together: quick, all rows, or the paper's ({preset})",
    )
    defaults, found = {task: preset_settings(preset, task) for task in named_tasks()}, setting_groups()
    for title in (*groups, *(title for title in found if title not in shared_groups())):
        text, fields = found[title]
        if title == "what to study":
            text = (
                "A model is an asset (minilm, smollm2), a local folder or a hub id. A task is one of "
                f"{', '.join(named_tasks())}, or a folder or file of your own (TSV, CSV, JSON, Parquet; images, CoNLL)."
            )
        group = parser.add_argument_group(title, text)
        for one in fields:
            values = {task: values[one.name] for task, values in defaults.items() if one.name in values}
            group.add_argument(f"--{one.name.replace('_', '-')}", **_options(one, values))


def _shown(defaults: Mapping[str, Any]) -> str:
    """Defaults by their tasks, for a help text: that of most tasks, and after it the others with their tasks."""
    tasks: dict[str, list[str]] = {}
    for task, value in defaults.items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else "" if value is None else str(value)
        tasks.setdefault(text or "none", []).append(task)
    if {*tasks} <= {"none", "True", "False"}:
        return ""
    first, *others = sorted(tasks, key=lambda text: -len(tasks[text]))
    parts = [first, *(f"{', '.join(tasks[text])}: {text}" for text in others)]
    return f" ({'; '.join(parts)})"


def _options(one: SettingField, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `add_argument`; `defaults` are by tasks."""
    text = one.description + _shown(defaults)
    options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": text.replace("%", "%%")}
    if one.value_type is bool:
        return options | {"action": argparse.BooleanOptionalAction}
    # The configuration refuses what is no choice, in one line instead of argparse's usage.
    metavar = (
        "{" + ",".join(one.choices) + "}"
        if one.choices
        else one.example or one.name.rsplit("_", maxsplit=1)[-1].upper()
    )
    return options | {"type": listed(one.value_type) if one.listed else one.value_type, "metavar": metavar}


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given as flags, by their names in a `StudyConfig`."""
    from tombola.study.config import setting_groups

    known = {one.name for _, fields in setting_groups().values() for one in fields}
    return {name: value for name, value in vars(options).items() if name in known and value is not None}


def checked_config(options: argparse.Namespace, *, trained: bool = True, judged: bool = True) -> "StudyConfig":
    """The configuration of a single step, after all that can be told of it without PyTorch: in a moment, that is.

    Args:
        options: as they were given; a ticket among them is looked at too.
        trained: the model has to be fine-tuned already.
        judged: the model has to be one of the task's.

    Raises:
        TombolaError: a setting is unknown or wrong, there is no such task or model, or the model's own configuration,
            or the ticket, is of others.
    """
    from tombola.study.config import StudyConfig

    # One step takes all rows, unless told otherwise.
    config = StudyConfig.of(options.preset or "full", **given_settings(options), controls=(), analyses=())
    config.check_names()
    check_not_renewed(Path(config.model))
    if (ticket := getattr(options, "ticket", None)) is not None:
        check_exists(ticket, TICKET)
    said = config.check_models(trained=trained) if judged else configuration(config.model)
    if ticket is not None:
        check_ticket(ticket, config.model, said)
    return config


def check_ticket(place: Path, source: str, said: Mapping[str, Any]) -> None:
    """Raise a TombolaError where a folder holds no ticket, or one of another model than `said` by that one's files."""
    from tombola.tickets.find_tickets import ticket_folder
    from tombola.tickets.ticket_files import read_head

    check_exists(place, TICKET)
    check_of_kind(read_head(ticket_folder(place))["architecture"], source, said)


def check_exists(place: Path, instead: str) -> None:
    """Raise a TombolaError where a file or folder is missing, or of a study that is made anew, before it is read."""
    if not place.expanduser().exists():
        raise TombolaError(no_such_path(place, instead))
    check_not_renewed(place)


def listed(value_type: type) -> Callable[[str], tuple[Any, ...]]:
    """Reader of a list whose parts are of this type; `none` for the empty one."""
    read: Callable[[str], tuple[Any, ...]] = {float: numbers, int: counts}.get(value_type, names)
    return lambda text: () if text == "none" else read(text)


def _reader(read: Callable[[str], tuple[T, ...]], what: str) -> Callable[[str], tuple[T, ...]]:
    def parts(text: str) -> tuple[T, ...]:
        try:
            return read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no list of {what}") from None

    return parts


def _counts(text: str) -> tuple[int, ...]:
    if min(found := whole_numbers(text), default=0) < 1:
        raise ValueError
    return found


def _seeds(text: str) -> tuple[int, ...]:
    if len({*(found := whole_numbers(text))}) < len(found):
        raise ValueError
    return found


def settings_file(text: str) -> Path:
    """Path of a file of settings; `-` is standard input."""
    return Path("/dev/stdin" if text == "-" else text)


names = _reader(list_of(str), "names")
numbers = _reader(list_of(float), "numbers such as 0.2,0.5")
seeds = _reader(_seeds, "different whole numbers such as 0,1,2 or 0-2")
counts = _reader(_counts, "whole numbers from 1, such as 1,32")
