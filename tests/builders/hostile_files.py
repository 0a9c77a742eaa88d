"""Files damaged in every way that comes to mind: bytes cut, swapped and spliced, values of JSON replaced."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 3, 2.5, 2**31, 2**70, 10**400, 1e308, float("nan"), float("-inf")),
    *("", " ", "x", "0", "x" * 400, "../x", "a\0b", "\ud800", "\x1b[31m[/b]\n", "meta", "[1]"),
    *([], [[]], [None], {}, {"a": 1}, {"": {}}, [1, "2"], [[1, 2], [3]]),
)
_PIECES: tuple[bytes, ...] = (
    *(b"\0", b"\xff", b'"', b"'", b"\t", b"\n", b"\r", b",", b"{", b"[", b"}", b"*", b"&a ", b": ", b"- ", b"!!int x"),
    *(b"[" * 2000, b'{"a":' * 2000, b"9" * 5000, b"1e999", b'"\\ud800"', b"2001-99-99", b"!!set {}", b"? [a]: b\n"),
    *(
        b"\xef\xbb\xbf",
        b"\x1b[2J",
        b"<<: *a\n",
        b"-.inf",
        b"0x",
        b"1_:2",
        b"%TAG ! x\n",
        b"\xc2\x85",
        "\u2028".encode(),
    ),
)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with one of its keys."""
    pending = [value]
    while pending:
        one = pending.pop()
        keys: Any = one if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        for key in list(keys):
            yield one, key
            pending.append(one[key])


def _other_value(draw: st.DrawFn, text: str) -> str:
    """JSON with one value replaced, or taken away, or all of it."""
    value = json.loads(text)
    places = list(_places(value))
    if not places or draw(st.integers(0, 19)) == 0:
        return json.dumps(draw(st.sampled_from(_VALUES)))
    for _ in range(draw(st.integers(1, 2))):
        container, key = draw(st.sampled_from(places))
        how = draw(st.integers(0, 9))
        if how == 0 and isinstance(container, dict):
            container.pop(key, None)
        elif how == 1 and isinstance(container, list):
            container.append(draw(st.sampled_from(_VALUES)))
        elif isinstance(container, dict) or key < len(container):
            container[key] = draw(st.sampled_from(_VALUES))
    return json.dumps(value)


def _other_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    at = draw(st.integers(0, len(content)))
    end = min(len(content), at + draw(st.sampled_from((0, 1, 2, 20))))
    piece = draw(st.one_of(st.sampled_from(_PIECES), st.binary(max_size=8)))
    how: tuple[Callable[[], bytes], ...] = (
        lambda: content[:at],
        lambda: content[:at] + piece + content[end:],
        lambda: content[:at] + content[end:],
        lambda: piece * draw(st.integers(0, 3)),
    )
    return draw(st.sampled_from(how))()


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """A file like `content`, with something wrong; of JSON, JSON lines and safetensors mostly with another value."""
    if draw(st.integers(0, 3)) == 0:
        return _other_bytes(draw, content)
    length = int.from_bytes(content[:8], "little")
    if content[8:9] == b"{" and 8 + length <= len(content):
        head = _other_value(draw, content[8 : 8 + length].decode()).encode()
        return len(head).to_bytes(8, "little") + head + content[8 + length :]
    try:
        lines = content.decode().splitlines()
        if all(line.startswith("{") and line.endswith("}") for line in lines) and len(lines) > 1:
            number = draw(st.integers(0, len(lines) - 1))
            lines[number] = _other_value(draw, lines[number])
            return "\n".join(lines).encode()
        return _other_value(draw, content.decode()).encode()
    except ValueError:
        return _other_bytes(draw, content)
