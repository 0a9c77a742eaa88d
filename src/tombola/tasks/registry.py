"""Regimes by the names of their tasks: those of Tombola, and those that others register."""

from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from tombola.foundations.errors import TombolaError
from tombola.foundations.settings import setting_fields
from tombola.tasks.regime import Regime, RegimeSettings, TaskOptions

if TYPE_CHECKING:
    from tombola.tasks.base import Task

_OURS = ("text", "language", "images")
ENTRY_POINTS = "tombola.regimes"
"""Group of the entry points by which an installed package brings regimes of its own."""

registered: dict[str, Regime] = {}


def register(regime: Regime) -> None:
    """Add a regime: its tasks are known from now on, in this process.

    A package that declares it as an entry point of the group `tombola.regimes` has it registered in every process.

    Raises:
        TombolaError: another regime has its name, or that of one of its tasks.
    """
    for other in regimes():
        if other is regime:
            return
        if other.name == regime.name or {*other.tasks} & {*regime.tasks}:
            raise TombolaError(
                f"the regime {other.name} has the name or a task of {regime.name} already; choose others"
            )
    registered[regime.name] = regime


def regimes() -> tuple[Regime, ...]:
    """Regimes, Tombola's first."""
    if not registered:
        for name in _OURS:
            registered[name] = import_module(f"tombola.tasks.{name}.regime").REGIME
        for entry in entry_points(group=ENTRY_POINTS):
            register(entry.load())
    return tuple(registered.values())


def named_tasks() -> tuple[str, ...]:
    """Names of all tasks; any other task is the path of one's own data."""
    return tuple(name for regime in regimes() for name in regime.tasks)


def regime_of(task: str) -> Regime:
    """The regime of a task, by its name; a path is one's own labelled texts."""
    return next((regime for regime in regimes() if task in regime.tasks), regimes()[0])


def owners(setting: str) -> Iterator[Regime]:
    """The regimes that have a setting of this name of their own."""
    return (regime for regime in regimes() if setting in {one.name for one in setting_fields(regime.settings)})


def open_task(options: TaskOptions, own: RegimeSettings, name: str) -> "Task":
    """Load the data that the settings name, with the tokenizer of its model, see `Regime.open`.

    Raises:
        TombolaError: unknown task, or its data or tokenizer cannot be loaded.
    """
    if options.task not in (known := named_tasks()) and not Path(options.task).expanduser().exists():
        raise TombolaError(f"unknown task {options.task!r}: it is no file or folder, nor one of {', '.join(known)}")
    return regime_of(options.task).open(options, own, name)
