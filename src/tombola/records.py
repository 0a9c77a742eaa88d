"""Records read from JSON: the type hints of a dataclass say what its fields must be, the error says which is not."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from tombola.errors import TombolaError

_KINDS = {
    str: "a text",
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    Mapping: "an object",
    dict: "an object",
    list: "a list",
}
_AGAIN = "run the study again"

T = TypeVar("T")


def read(cls: type[T], values: Mapping[str, object], where: str, mend: str = _AGAIN) -> T:
    """Build a dataclass from a JSON object.

    A field that is a record itself has its own fields flat among the others. A field with a default may be missing,
    and what is no field is ignored: a newer Tombola may have written it.

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
        if isinstance(hint, type) and is_dataclass(hint):
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
        if base is list and inner and isinstance(value, list):
            parts = {f"{name}[{index}]": part for index, part in enumerate(value)}
            return [entry(parts, part, inner[0], where, mend) for part in parts]
        if base is float and type(value) is int:
            return float(value)
        if kind in (Any, object) or type(value) is base or (base is Literal and value in inner):
            return value
    wanted = " or ".join(_words(kind) for kind in kinds if kind is not NoneType)
    there = f"found {value!r}" if name in values else "it is missing"
    raise TombolaError(f"{where}: {name!r} should be {wanted}, but {there}; {mend}")


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    return _KINDS[get_origin(kind) or kind]
