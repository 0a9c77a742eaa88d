"""Dataclasses read from JSON: pydantic holds the values against the type hints, the error says which is wrong."""

import functools
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Self, TypeVar, cast

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from tombola.foundations.atomic_files import read_json, write_json
from tombola.foundations.errors import TombolaError, one_line

_WORDS = {
    "string_type": "a text",
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
    "mapping_type": "an object",
    "dataclass_type": "an object",
    "inner_path": "a path inside the folder",
}
_BOUNDS = {"greater_than_equal": "{ge:g} or more", "less_than_equal": "at most {le:g}"}
Whole = Annotated[int, Field(ge=0)]
"""A whole number from 0."""
Share = Annotated[float, Field(ge=0, le=1)]
"""A share from 0 to 1."""
NotNegative = Annotated[float, Field(ge=0)]
"""A number from 0."""

_adapter: Callable[[Any], TypeAdapter[Any]] = functools.cache(TypeAdapter)
"""Adapter of a type, made once: making one takes longer than reading."""

T = TypeVar("T")


def _inner(path: str) -> str:
    pure = PurePosixPath(path)
    # Of `.` there are no parts; NUL is in no path.
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or str(pure) != path or "\0" in path:
        raise PydanticCustomError("inner_path", "it leads out of the folder")
    return path


InnerPath = Annotated[str, AfterValidator(_inner)]
"""Path of a file in a folder, with `/` between its parts: a record that somebody else wrote leads nowhere else."""


def read(cls: type[T], values: object, where: str, mend: str = "run the study again", name: str = "") -> T:
    """A value of a type, built from JSON values; a dataclass from an object, and what is inside likewise.

    A field with a default may be missing, and what is no field is ignored: a newer Tombola may have written it.

    Args:
        cls: a dataclass, or any other type hint.
        values: the JSON values.
        where: their place, `results.jsonl, line 3` for example.
        mend: what to do about damage.
        name: of the entry that they are of, for the error; empty for a whole record.

    Raises:
        TombolaError: a field is missing or of another type.
    """
    try:
        # Whatever else is wrong with values that did not come from `json_value`.
        with one_line(f"{where} is damaged", mend):
            text = json.dumps(values, allow_nan=False)
        return cast(T, _adapter(cls).validate_json(text, strict=True))
    except ValidationError as error:
        found = error.errors()[0]
        *path, last = (name, *found["loc"]) if name else found["loc"] or ("the record",)
        home, index = where, ""
        if isinstance(last, int):
            index = f"[{last}]"
            last = path.pop()
        for part in path:
            home += f"[{part}]" if isinstance(part, int) else f", {part}"
        if found["type"] == "missing":
            raise TombolaError(f"{home}: {f'{last}{index}'!r} is missing; {mend}") from None
        context = found.get("ctx", {})
        bound = _BOUNDS.get(found["type"], "").format(**context)
        wanted = _WORDS.get(found["type"]) or bound or context.get("expected") or found["msg"]
        raise TombolaError(
            f"{home}: {f'{last}{index}'!r} should be {wanted}, but found {found['input']!r}; {mend}"
        ) from None


class JsonRecord:
    """A dataclass with a JSON file of its own, which holds its fields by their names.

    Attributes:
        mend: what to do about a file that is damaged.
    """

    mend: ClassVar[str] = "delete it and run the study again"

    def entry(self) -> dict[str, Any]:
        """The fields as a JSON object."""
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
