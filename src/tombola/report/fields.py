"""Typed reading of JSON objects: a field is what it should be, or the error says which file to look at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tombola.errors import TombolaError


@dataclass(frozen=True)
class Fields:
    """A JSON object and the words for where it stands, `results.jsonl, line 3` for example.

    Every reader takes the field's name and raises a TombolaError when it is missing or of another type; those called
    `maybe_…` give None for a missing field or `null`.
    """

    values: Mapping[str, object]
    where: str

    def _fail(self, name: str, kind: str) -> TombolaError:
        found = f"found {self.values[name]!r}" if name in self.values else "it is missing"
        return TombolaError(f"{self.where}: {name!r} should be {kind}, but {found}; run the study again")

    def text(self, name: str) -> str:
        """A string."""
        value = self.values.get(name)
        if not isinstance(value, str):
            raise self._fail(name, "a text")
        return value

    def maybe_text(self, name: str) -> str | None:
        """A string or None."""
        return None if self.values.get(name) is None else self.text(name)

    def number(self, name: str) -> float:
        """A number."""
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._fail(name, "a number")
        return float(value)

    def maybe_number(self, name: str) -> float | None:
        """A number or None."""
        return None if self.values.get(name) is None else self.number(name)

    def count(self, name: str) -> int:
        """A whole number."""
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._fail(name, "a whole number")
        return value

    def maybe_count(self, name: str) -> int | None:
        """A whole number or None."""
        return None if self.values.get(name) is None else self.count(name)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.values.get(name)
        if not isinstance(value, bool):
            raise self._fail(name, "true or false")
        return value

    def items(self, name: str) -> list[object]:
        """A list."""
        value = self.values.get(name)
        if not isinstance(value, list):
            raise self._fail(name, "a list")
        return value

    def inside(self, name: str) -> "Fields":
        """A nested object; empty where there is none."""
        value = self.values.get(name)
        if value is None:
            return Fields({}, f"{self.where}, {name}")
        if not isinstance(value, dict):
            raise self._fail(name, "an object")
        return Fields(value, f"{self.where}, {name}")

    def each(self, name: str) -> Iterator["Fields"]:
        """The objects of a list."""
        for index, value in enumerate(self.items(name)):
            if not isinstance(value, dict):
                raise self._fail(name, "a list of objects")
            yield Fields(value, f"{self.where}, {name}[{index}]")
