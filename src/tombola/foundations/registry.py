"""Registries of callables by name: those of Tombola, of installed packages, and of whoever calls `register`."""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import TypeVar

from tombola.foundations.errors import TombolaError, reason, unknown

T = TypeVar("T")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def check_name(what: str, name: object, taken: Iterable[str]) -> None:
    """Refuse a name that could not stand in a flag and a folder, or that is taken.

    Raises:
        TombolaError: it is such a name.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise TombolaError(f"{name!r} is no name for {what}; write small letters, digits and single dashes")
    if name in taken:
        raise TombolaError(f"the name {name} is taken; choose another for your {what}")


@cache
def installed(group: str) -> Mapping[str, EntryPoint]:
    """Entry points of a group by name, of the packages that are installed; nothing is imported.

    What has no fit name is left out, with a warning.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        try:
            check_name(f"an entry point of {group}", entry.name, found)
        except TombolaError as error:
            warnings.warn(f"an entry point of the package {_package(entry)} is left out: {error}", stacklevel=3)
        else:
            found[entry.name] = entry
    return MappingProxyType(found)


def take_installed(group: str, what: str, take: Callable[[str, EntryPoint], object]) -> None:
    """Hand each entry point of a group to `take`; what that refuses, or cannot import, is left out, with a warning."""
    for name, entry in installed(group).items():
        try:
            take(name, entry)
        # Whatever somebody else's package raises: it must not take the others with it.
        except Exception as error:
            package, why = _package(entry), reason(error)
            warnings.warn(
                f"the {what} {name} of the package {package} is left out: {why}; mend or uninstall it", stacklevel=3
            )


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.value


class Registry(Mapping[str, T]):
    """Values by name. Those of installed packages are imported when they are asked for, and not to be listed.

    Args:
        what: a value is, for messages: `criterion`.
        group: of the entry points by which packages bring values of their own.
        ours: Tombola's, by name, or where they are to be imported from: `module:attribute`.
        check: gives the value for a name and what was registered under it; raises a TombolaError where it is none.
    """

    def __init__(self, what: str, group: str, ours: Mapping[str, T | str], check: Callable[[str, object], T]) -> None:
        self._what, self._group, self._ours, self._check = what, group, ours, check
        self._here: dict[str, T] = {}

    def register(self, name: str, value: object) -> None:
        """Add a value, in this process; one that was registered here before under the name gives way.

        Raises:
            TombolaError: the name is not fit, or one of Tombola's or of an installed package; or it is no such value.
        """
        check_name(self._what, name, {*self._ours, *installed(self._group)})
        self._here[name] = self._check(name, value)

    def forget(self, name: str) -> None:
        """Take away what `register` added; nothing happens where it added none."""
        self._here.pop(name, None)

    def is_installed(self, name: str) -> bool:
        """True if every process has it, and not this one alone, where `register` was called."""
        return name in self._ours or name in installed(self._group)

    def is_ours(self, name: str) -> bool:
        """True for one of Tombola's."""
        return name in self._ours

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._ours, *installed(self._group), *self._here)))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in [*self]

    def __getitem__(self, name: str) -> T:
        """The value of a name.

        Raises:
            TombolaError: there is none, or its package cannot be imported.
        """
        if name in self._ours:
            value = self._ours[name]
            if not isinstance(value, str):
                return value
            module, _, attribute = value.partition(":")
            return self._check(name, getattr(import_module(module), attribute))
        if (entry := installed(self._group).get(name)) is not None:
            try:
                return self._check(name, entry.load())
            # Whatever somebody else's package raises.
            except Exception as error:
                raise TombolaError(
                    f"the {self._what} {name} of the package {_package(entry)} cannot be had ({reason(error)}); mend "
                    "or uninstall it"
                ) from error
        if name not in self._here:
            raise TombolaError(unknown(self._what, name, self))
        return self._here[name]
