"""Records read from JSON: the type hints of a dataclass say what its fields must be, the error says which is not."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

from tombola.foundations.atomic_files import read_json, write_json
from tombola.foundations.errors import TombolaError

_KINDS = {
    str: "a text",
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    Mapping: "an object",
    dict: "an object",
    list: "a list",
    tuple: "a list",
}
_AGAIN = "run the study again"
FLAT: Mapping[str, bool] = MappingProxyType({"flat": True})
"""Metadata of a field that is a record itself, whose own fields stand among the others instead of under its name."""

T = TypeVar("T")


def read(cls: type[T], values: Mapping[str, object], where: str, mend: str = _AGAIN) -> T:
    """Build a dataclass from a JSON object.

    Fields may be records, and lists or tuples of them; one that is `FLAT` has its own fields among the others. A field
    with a default may be missing, and what is no field is ignored: a newer Tombola may have written it.

    Args:
        cls: of the record.
        values: the object.
        where: it stands, `results.jsonl, line 3` for example.
        mend: what to do about damage.

    Raises:
        TombolaError: a field is missing or of another type.
    """
    hints = get_type_hints(cls)
    found = {}
    for field in fields(cls):  # type: ignore[arg-type]
        hint = hints[field.name]
        if field.metadata.get("flat"):
            found[field.name] = read(hint, values, where, mend)
        elif field.name in values or field.default is field.default_factory is MISSING:
            found[field.name] = entry(values, field.name, hint, where, mend)
    return cls(**found)


def entry(values: Mapping[str, object], name: str, hint: Any, where: str, mend: str = _AGAIN) -> Any:
    """An entry of a JSON object as its type hint wants it; in `X | None` a missing one is None.

    Raises:
        TombolaError: it is missing or of another type.
    """
    value = values.get(name)
    kinds = get_args(hint) if NoneType in get_args(hint) else (hint,)
    for kind in kinds:
        base, inner = get_origin(kind) or kind, get_args(kind)
        if base in (dict, Mapping) and inner and isinstance(value, dict):
            return {key: entry(value, key, inner[1], f"{where}, {name}", mend) for key in value}
        if isinstance(base, type) and is_dataclass(base) and isinstance(value, dict):
            return read(base, value, f"{where}, {name}", mend)
        if base in (list, tuple) and inner and isinstance(value, list):
            # In a tuple of a fixed length each part has a hint of its own.
            fixed = base is tuple and inner[-1] is not ...
            if not fixed or len(inner) == len(value):
                hints = inner if fixed else inner[:1] * len(value)
                parts = {f"{name}[{index}]": part for index, part in enumerate(value)}
                return base(entry(parts, *pair, where, mend) for pair in zip(parts, hints, strict=True))
        if base is float and type(value) is int:
            return float(value)
        if kind in (Any, object) or type(value) is base or (base is Literal and value in inner):
            return value
    wanted = " or ".join(_words(kind) for kind in kinds if kind is not NoneType)
    there = f"found {value!r}" if name in values else "it is missing"
    raise TombolaError(f"{where}: {name!r} should be {wanted}, but {there}; {mend}")


class JsonRecord:
    """A dataclass with a JSON file of its own, which holds its fields by their names; none of them is `FLAT`.

    Attributes:
        mend: what to do about a file that is damaged.
    """

    mend: ClassVar[str] = "delete it and run the study again"

    def entry(self) -> dict[str, Any]:
        """JSON object of the fields."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    def write(self, path: Path) -> None:
        """Write the file, atomically."""
        write_json(path, self.entry())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            TombolaError: the file is missing or damaged.
        """
        return read(cls, read_json(path), str(path), cls.mend)


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    base = get_origin(kind) or kind
    if base is tuple and (parts := get_args(kind))[-1] is not ...:
        return f"a list of {len(parts)}"
    return _KINDS[dict if is_dataclass(base) else base]
