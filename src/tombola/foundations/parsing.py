"""Values parsed from JSON and YAML, within bounds of size, depth and numbers; whatever a parser raises is one line."""

import json
import math
import re
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import override

from tombola.foundations.errors import TombolaError, reading

DEEPEST = 100
"""Lists and objects inside one another, at most."""
LARGEST_TEXT = 512 * 2**20
"""Bytes of a file of text or JSON that is read as a whole, at most."""
LARGEST_YAML = 100_000
"""Bytes of a YAML file, at most: its parser is slow."""
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
MEND = "delete it and start again"
"""Advice on a damaged file that Tombola wrote."""


def is_hub_id(name: str) -> bool:
    """True if a name can be that of a data set of the hub, `owner/name`."""
    return _HUB_ID.fullmatch(name) is not None


def read_text(path: Path, mend: str = MEND, *, largest: int = LARGEST_TEXT) -> str:
    """The text of a UTF-8 file, with or without a byte-order mark.

    Raises:
        TombolaError: the file is missing, larger than `largest` bytes, cannot be read, or is not UTF-8.
    """
    with reading(path, mend):
        with path.open("rb") as file:
            # One more byte than is allowed, as a device or a pipe has no size.
            content = file.read(largest + 1)
        if len(content) > largest:
            raise TombolaError(f"{path} is larger than {largest:,} bytes, which are read at most; give a smaller file")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise TombolaError(f"{path}, byte {error.start + 1} is not UTF-8; {mend}") from None


def json_value(text: str | bytes, where: Path | str, mend: str = MEND, *, bounded: bool = True) -> Any:
    """A value parsed from JSON.

    Args:
        text: the JSON text.
        where: its place, for the error: a file, or a line of it.
        mend: what to do about damage.
        bounded: whether numbers must be finite and fit into 64 bits, as those that Tombola writes.

    Raises:
        TombolaError: it is no JSON, is nested deeper than `DEEPEST`, or holds half of a surrogate pair or a number out
            of bounds.
    """
    hooks: dict[str, Any] = {"parse_int": _whole, "parse_float": _finite, "parse_constant": _finite} if bounded else {}
    with reading(where, mend):
        text = text if isinstance(text, str) else text.decode()
        value = json.loads(text, **hooks)
        _check_depth(value)
        _check_halves(value, text)
        return value


def json_text(value: object, indent: int | None = None) -> str:
    """JSON of a value, which `json_value` reads: without NaN, infinity and halves of surrogate pairs.

    Raises:
        ValueError: it holds half of a pair, NaN or infinity.
    """
    text = json.dumps(value, indent=indent, allow_nan=False)
    _check_halves(value, text)
    return text


def read_yaml(path: Path, mend: str) -> Any:
    """The value of a YAML file without aliases, as those can stand for more than fits into memory.

    Raises:
        TombolaError: it cannot be read, is larger than `LARGEST_YAML` bytes or nested deeper than `DEEPEST`, or holds
            an alias, half of a surrogate pair, or a number out of bounds.
    """
    text = read_text(path, mend, largest=LARGEST_YAML)
    with reading(path, mend):
        value = yaml.load(text, _PlainLoader)
        _check_depth(value)
        _check_halves(value, text)
        return value


class _PlainLoader(yaml.SafeLoader):
    """Loader of plain values, without aliases and names that are given twice."""

    @override
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise ValueError(f"line {line} has an alias, which is not read: write the value out")
        return super().compose_node(parent, index)

    @override
    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode):
                if name.value in seen:
                    raise ValueError(f"line {name.start_mark.line + 1} gives {name.value} again; give it once")
                seen.add(name.value)
        return super().construct_mapping(node, deep)

    @override
    def construct_yaml_int(self, node: Any) -> int:
        return _whole(str(super().construct_yaml_int(node)))


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)


def _whole(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"the number {text[:24]} does not fit into 64 bits")
    return number


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:24]} is not finite")
    return number


def _check_halves(value: Any, text: str) -> None:
    """Refuse halves of surrogate pairs in a value; `text` is it as JSON or YAML writes it."""
    if _SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False, default=str, skipkeys=True).encode()
        except UnicodeEncodeError as error:
            half = error.object[error.start]
            raise ValueError(f"it holds {half!r}, half of a character (a lone surrogate)") from None


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST + 1):
        containers = [one for one in level if isinstance(one, dict | list | tuple | set)]
        if not containers:
            return
        level = [inner for one in containers for inner in (one.values() if isinstance(one, dict) else one)]
    raise ValueError(f"it is nested more than {DEEPEST} deep")
