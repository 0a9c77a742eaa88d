"""Settings as frozen dataclasses that pydantic checks: a wrong value is one line that names the setting.

A field is `Annotated[type, Field(description=...)]`: its description is the help of its flag, its bounds are checked
when the value is made, and both stand in the JSON schema for editors.
"""

import contextlib
import math
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, dataclass_transform, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from pydantic.fields import FieldInfo

from tombola.foundations.errors import TombolaError, did_you_mean

T = TypeVar("T")


# YAML 1.1, as PyYAML reads it, takes a number such as 2e-5 for text; an editor, which reads YAML 1.2, does not.
_EXPONENT = re.compile(r"[-+]?(\d+|\d+\.\d*|\.\d+)[eE][-+]?\d+")


def _number(value: object) -> object:
    """Number of a setting: a text such as 2e-5 becomes one; a truth value, and any other text, is refused."""
    if isinstance(value, bool) or (isinstance(value, str) and not _EXPONENT.fullmatch(value)):
        raise ValueError("no number")
    return value


def _whole(value: object) -> object:
    """Whole number of a setting: 3.0 is one, as it is in a JSON schema."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _path(value: object) -> object:
    """Text of a setting: a path is one."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _name(value: str) -> str:
    """Text of a setting, if a file could be called so."""
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
        raise TombolaError(f"the setting {value!r} holds a control character, or half of one; write it without")
    try:
        Path(value).expanduser()
    except RuntimeError:
        raise TombolaError(f"the setting {value!r} names the home folder of nobody here") from None
    return value


_CHECKED, _WHOLE = BeforeValidator(_number), BeforeValidator(_whole)
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), _CHECKED]
"""A finite number above 0; text such as `2e-5` will do."""
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), _CHECKED]
"""A finite number from 0."""
Share = Annotated[float, Field(gt=0, le=1), _CHECKED]
"""A share above 0, at most 1."""
ProperShare = Annotated[float, Field(gt=0, lt=1), _CHECKED]
"""A share above 0 and below 1."""
ShareOrNone = Annotated[float, Field(ge=0, le=1), _CHECKED]
"""A share from 0 to 1."""
Whole = Annotated[int, Field(strict=True, ge=0), _WHOLE]
"""A whole number from 0."""
Count = Annotated[int, Field(strict=True, ge=1), _WHOLE]
"""A whole number from 1."""
Text = Annotated[str, Field(strict=True), BeforeValidator(_path), AfterValidator(_name)]
"""A text: a name or a path, without control characters."""
Flag = Annotated[bool, Field(strict=True)]
"""True or false."""


def described(group: str) -> Callable[..., FieldInfo]:
    """Maker of the metadata of fields whose flags stand under one heading, the group.

    It takes a field's description, which is the help of its flag, an example for its help text, whether it is
    `neutral`, so that it changes no result but by rounding, and what its JSON schema says beyond its type.
    """

    def field(description: str, example: str = "", *, neutral: bool = False, **schema: JsonValue) -> FieldInfo:
        examples = [example] if example else None
        extra = {"group": group, "neutral": neutral, **schema}
        return cast(FieldInfo, Field(description=description, examples=examples, json_schema_extra=extra))

    return field


_readers: list[set[str]] = []


@contextlib.contextmanager
def settings_read() -> Iterator[set[str]]:
    """Yield the names of the settings that are read while the block runs, of whatever object; blocks may nest."""
    names = set[str]()
    _readers.append(names)
    try:
        yield names
    finally:
        _readers[:] = [other for other in _readers if other is not names]


@contextlib.contextmanager
def unnoticed() -> Iterator[None]:
    """Keep what is read in a block from `settings_read`: a copy of settings depends on none until it is read itself."""
    before = _readers[:]
    _readers.clear()
    try:
        yield
    finally:
        _readers[:] = before


_CONFIG = ConfigDict(arbitrary_types_allowed=True, extra="forbid")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass of keywords only, whose values are checked when it is made.

    Whoever reads one of its settings is noted by `settings_read`.

    Raises:
        TombolaError: by the class's constructor, for a value of the wrong type or out of bounds.
    """
    made = checked_dataclass(frozen=True, kw_only=True, config=_CONFIG)(cls)
    construct: Callable[..., None] = made.__init__

    def checked(self: T, **values: Any) -> None:
        try:
            construct(self, **values)
        except ValidationError as error:
            raise TombolaError(_line(made, error)) from None

    names = {one.name for one in setting_fields(made)}

    def noted(self: T, name: str) -> Any:
        if _readers and name in names:
            for reader in _readers:
                reader.add(name)
        return object.__getattribute__(self, name)

    made.__init__ = checked  # type: ignore[assignment]
    made.__getattribute__ = noted  # type: ignore[assignment]
    return cast(type[T], made)


@dataclass(frozen=True)
class SettingField:
    """Field of a settings class.

    Attributes:
        name: of the setting, of its YAML key and, with dashes, of its flag.
        description: what it is, as a phrase.
        group: the heading that its flag stands under.
        value_type: int, float, str or bool; of a list, that of its items.
        listed: whether it is a list.
        optional: whether it may be None.
        default: its default.
        choices: values that there are; none where any of its type will do.
        example: a value, for help texts; empty for most.
        neutral: whether no result depends on it, but by rounding.
    """

    name: str
    description: str
    group: str
    value_type: type
    listed: bool
    optional: bool
    default: Any
    choices: tuple[str, ...]
    example: str
    neutral: bool


def setting_fields(cls: type) -> list[SettingField]:
    """Fields of a settings class that have a description, in order: those without one are no flags."""
    found = []
    for name, field in _fields(cls).items():
        if field.description is None:
            continue
        extra = field.json_schema_extra
        types = list(_types(field.annotation))
        found.append(
            SettingField(
                name=name,
                description=field.description,
                group=str(extra["group"]) if isinstance(extra, dict) else "",
                value_type=next(one for one in (bool, float, int, str) if one in types),
                listed=tuple in types,
                optional=type(None) in types,
                default=field.get_default(call_default_factory=True),
                choices=get_args(field.annotation) if get_origin(field.annotation) is Literal else (),
                example=str(field.examples[0]) if field.examples else "",
                neutral=isinstance(extra, dict) and bool(extra["neutral"]),
            )
        )
    return found


_OWN = ("group", "neutral", "default", "title")
"""Keys of a setting's schema that are no editor's business."""


def schema_of(cls: type) -> dict[str, Any]:
    """JSON schema of each setting of a class, without its default: name → schema."""
    properties, found = TypeAdapter(cls).json_schema()["properties"], {}
    for one in setting_fields(cls):
        found[one.name] = {k: v for k, v in properties[one.name].items() if k not in _OWN}
        if one.example and one.listed:
            found[one.name]["examples"] = [[one.value_type(part) for part in one.example.split(",")]]
    return found


def _fields(cls: type) -> dict[str, FieldInfo]:
    return cls.__pydantic_fields__  # type: ignore[attr-defined, no-any-return]


def _types(hint: Any) -> Iterable[Any]:
    """Plain types of a hint: `tuple[float, ...] | None` has tuple, float and NoneType."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        yield str
        return
    if origin is tuple:
        yield tuple
    elif not inner:
        yield hint
    for one in inner:
        yield from _types(one)


_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", tuple: "a list"}


def _line(cls: type, error: ValidationError) -> str:
    found = error.errors()[0]
    name, given, why = str(found["loc"][0]), found["input"], found["type"]
    context = found.get("ctx", {})
    field = _fields(cls).get(name)
    if field is None:
        return f"unknown setting {name!r}; {did_you_mean(name, _fields(cls))}known: {', '.join(_fields(cls))}"
    bounds = {key: getattr(one, key) for one in field.metadata for key in ("ge", "gt", "le", "lt") if hasattr(one, key)}
    if why == "literal_error":
        alike = did_you_mean(str(given), get_args(field.annotation))
        return f"{name} must be {context['expected']}, not {given!r}{f'; {alike}'.rstrip('; ')}"
    if why.startswith(("greater_than", "less_than")):
        bounds |= {key: value for key, value in context.items() if key in ("ge", "gt", "le", "lt")}
        low = f"above {bounds['gt']:g}" if "gt" in bounds else f"{bounds['ge']:g} or more" if "ge" in bounds else ""
        high = f"below {bounds['lt']:g}" if "lt" in bounds else f"at most {bounds['le']:g}" if "le" in bounds else ""
        return f"{name} must be {' and '.join(filter(None, (low, high)))}, not {given!r}"
    types = [_WORDS[one] for one in dict.fromkeys(_types(field.annotation)) if one in _WORDS]
    if "a list" in types:
        types = [f"a list, each {' or '.join(one for one in types if one != 'a list')}"]
    if isinstance(given, float) and not math.isfinite(given):
        types = ["a finite number"]
    wanted = " or ".join(types) or f"made by {getattr(field.annotation, '__name__', field.annotation)}"
    return f"setting {name} must be {wanted}, not {given!r}"
