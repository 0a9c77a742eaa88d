"""Regimes by the names of their tasks: those of Tombola, and those that others register."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

from tombola.foundations.errors import TombolaError, alike_beside, did_you_mean, system_errors
from tombola.foundations.parsing import is_hub_id
from tombola.foundations.registry import take_installed
from tombola.foundations.settings import setting_fields
from tombola.tasks.regime import Regime, RegimeSettings, TaskOptions

if TYPE_CHECKING:
    from tombola.tasks.base import Task

_OURS = ("fine_tuned", "language", "images")
ENTRY_POINTS = "tombola.regimes"
"""Group of the entry points by which an installed package brings regimes of its own."""
TAKEN = frozenset(
    (
        *("command", "config", "density", "help", "json", "method", "out", "preset", "sample_config", "save", "schema"),
        *("budget", "cluster", "dry_run", "plan", "seed", "seeds", "continue", "ticket", "track", "typed", "workers"),
    )
)
"""Names of the commands' own flags, which no setting may have."""

registered: dict[str, Regime] = {}
_installed: set[str] = set(_OURS)


def register(regime: Regime) -> None:
    """Add a regime: its tasks are known from now on, in this process.

    A package that declares it as an entry point of the group `tombola.regimes` has it registered in every process.

    Raises:
        TombolaError: it is no regime or lacks a part of one, another one has its name, or that of one of its tasks, or
            a setting of its has the name of a flag, or of a setting of another type.
    """
    if not isinstance(regime, Regime):
        raise TombolaError(f"{regime!r} is no regime; give an instance of a subclass of tombola.tasks.regime.Regime")
    if (lacking := _lacking(regime)) is not None:
        raise TombolaError(f"the regime {getattr(regime, 'name', type(regime).__name__)} has no {lacking}")
    known = regimes()
    if any(other is regime for other in known):
        return
    for other in known:
        if other.name == regime.name or {*other.tasks} & {*regime.tasks}:
            raise TombolaError(
                f"the regime {other.name} has the name or a task of {regime.name} already; choose others"
            )
    # Flags and keys of YAML are flat: a name is of one type, whoever has it.
    types = {one.name: (one.value_type, one.listed) for other in known for one in setting_fields(other.settings)}
    for one in setting_fields(regime.settings):
        # A flag --x that is true or false has --no-x beside it.
        if one.name in TAKEN or one.name.startswith("no_"):
            flag = one.name.replace("_", "-")
            raise TombolaError(f"the regime {regime.name} has a setting named as the flag --{flag}; rename it")
        if types.get(one.name, (one.value_type, one.listed)) != (one.value_type, one.listed):
            raise TombolaError(
                f"the regime {regime.name} has a setting {one.name} of another type than that of "
                f"{next(owners(one.name)).name}; rename it"
            )
    registered[regime.name] = regime


def _lacking(regime: Regime) -> str | None:
    """Parts that a regime lacks, in words; None for a whole one. Half made, it would break every help."""
    texts = (getattr(regime, name, None) for name in ("name", "subject", "judges"))
    if not all(isinstance(text, str) and text for text in texts):
        return "name, subject and judges, which are texts"
    tasks = getattr(regime, "presets", None)
    if not isinstance(tasks, Mapping) or not tasks or not all(isinstance(name, str) and name for name in tasks):
        return "presets by the names of its tasks, of which it needs one or more"
    own: object = regime.settings
    if not isinstance(own, type) or not issubclass(own, RegimeSettings):
        return "settings, which are a subclass of tombola.tasks.regime.RegimeSettings"
    return None


def regimes() -> tuple[Regime, ...]:
    """Regimes, Tombola's first; one of an installed package that cannot be taken is left out, with a warning."""
    if not registered:
        registered.update({name: import_module(f"tombola.tasks.{name}.regime").REGIME for name in _OURS})
        take_installed(ENTRY_POINTS, "regime", _take)
    return tuple(registered.values())


def _take(_: str, entry: EntryPoint) -> None:
    regime = entry.load()
    register(regime)
    _installed.add(regime.name)


def is_installed(regime: Regime) -> bool:
    """True if every process has the regime, and not this one alone, where `register` was called."""
    return regime.name in _installed


def is_ours(regime: Regime) -> bool:
    """True for a regime of Tombola's; others are of installed packages and callers."""
    return regime.name in _OURS


def named_tasks() -> tuple[str, ...]:
    """Names of all tasks; any other task is the path of one's own data."""
    return tuple(name for regime in regimes() for name in regime.tasks)


def regime_of(task: str) -> Regime:
    """The regime of a task, by its name; a path is one's own labelled texts."""
    return next((regime for regime in regimes() if task in regime.tasks), regimes()[0])


def owners(setting: str) -> Iterator[Regime]:
    """The regimes that have a setting of this name of their own."""
    return (regime for regime in regimes() if setting in {one.name for one in setting_fields(regime.settings)})


def check_task(name: str) -> None:
    """Raise a TombolaError where a task is unknown, no file or folder, and cannot be `owner/name` of the hub either."""
    with system_errors():
        if name in (known := named_tasks()) or Path(name).expanduser().exists():
            return
        from tombola.tasks.data.files import is_rows

        if is_hub_id(name) and not is_rows(Path(name)):
            return
        question = did_you_mean(name, known) or alike_beside(name)
        raise TombolaError(
            f"unknown task {name!r}; {question}known: {', '.join(known)}; and there is no file or folder of this name"
        )


def open_task(options: TaskOptions, own: RegimeSettings, name: str) -> "Task":
    """Load the data that the settings name, see `Regime.open`; a TombolaError where their task is unknown."""
    check_task(options.task)
    with system_errors():
        return regime_of(options.task).open(options, own, name)
