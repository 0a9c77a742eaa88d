"""Columns of rows: named by the user, or guessed by their usual names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tombola.foundations.errors import TombolaError, did_you_mean


@dataclass(frozen=True)
class Column:
    """Column of rows that a user may name.

    Attributes:
        name: as it was given; None to look for the usual ones.
        parameter: by which it is given: a flag, or an argument of `from_rows`; empty where it cannot be.
    """

    name: str | None = None
    parameter: str = ""

    def among(self, columns: Iterable[object], what: str, usual: Sequence[str], where: str) -> str:
        """The column of `what` among those that there are: the one named, or of the usual ones, whatever their case.

        The first of the usual ones is taken where it is there; of the others, one must be alone.

        Raises:
            TombolaError: there is none, or there are several; it begins with `where` the rows are from.
        """
        names = [*map(str, columns)]
        there = ", ".join(names) or "none"
        if self.name is not None:
            if self.name in names:
                return self.name
            alike = did_you_mean(self.name, names)
            raise TombolaError(f"{where} has no column {self.name!r} for the {what}; {alike}name one of: {there}")
        by_case = {name.casefold(): name for name in reversed(names)}
        found = [by_case[one.casefold()] for one in usual if one.casefold() in by_case]
        if not found:
            sought = " or ".join(map(repr, usual[:3]))
            choice = f"name one of: {there} ({self.parameter})" if self.parameter else f"there are: {there}"
            raise TombolaError(f"{where} has no column {sought} for the {what}; {choice}")
        if len(found) > 1 and found[0].casefold() != usual[0].casefold():
            choice = f"name one of them ({self.parameter})" if self.parameter else "keep one of them"
            raise TombolaError(f"{where} has {' and '.join(found)} for the {what}; {choice}")
        return found[0]


def column_names(rows: Any) -> list[str]:
    """Names of the columns of a `datasets.Dataset`, or of the first of other rows; none of no rows."""
    return [*map(str, getattr(rows, "column_names", None) or next(iter(rows), {}))]


def cell(row: Mapping[str, Any], column: str, where: str) -> Any:
    """Value of a row in a column; a TombolaError that begins with `where` it stands if it has none."""
    if column not in row:
        raise TombolaError(f"{where} has no column {column!r}; there are: {', '.join(map(str, row)) or 'none'}")
    return row[column]
