"""JSON without a record of known fields, as `study.json`: entries are asked for one by one, and may be missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from tombola.foundations.json_dataclasses import read

T = TypeVar("T")


@dataclass(frozen=True)
class Fields:
    """A JSON object and the words for where it stands."""

    values: Mapping[str, object]
    where: str

    def get(self, name: str, kind: type[T]) -> T | None:
        """An entry; None where it is missing or `null`.

        Raises:
            TombolaError: it is of another type.
        """
        value = self.values.get(name)
        return None if value is None else read(kind, value, self.where, name=name)

    def inside(self, name: str) -> "Fields":
        """A nested object; empty where there is none."""
        return Fields(self.get(name, dict) or {}, f"{self.where}, {name}")
