"""JSON and YAML within bounds, and whatever a parser raises as one line."""

import json
from pathlib import Path

import pytest

from tombola.foundations.atomic_files import read_lines, write_json
from tombola.foundations.errors import TombolaError, one_line, printable, reading
from tombola.foundations.parsing import DEEPEST, json_text, json_value, read_text, read_yaml

PAIRS = zip("abcdefgh", "bcdefghi", strict=True)
LAUGHS = "a: &a [x, x, x]\n" + "".join(f"{new}: &{new} [*{old}, *{old}, *{old}]\n" for old, new in PAIRS)
"""Few bytes that stand for more than fits into memory."""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 5000, "recursion"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), f"nested more than {DEEPEST} deep"),
        ("9" * 5000, "4300 digits"),
        (str(2**63), "does not fit into 64 bits"),
        ("1e999", "not finite"),
        ("NaN", "not finite"),
        (r'"\ud83d"', r"'\\ud83d', half of a character"),
        ("{", "Expecting"),
    ],
)
def test_json_out_of_bounds_is_one_line(text: str, said: str) -> None:
    with pytest.raises(TombolaError, match=rf"^x\.json is damaged \([^\n]*{said}[^\n]*; mend it$"):
        json_value(text, "x.json", "mend it")


def test_json_within_bounds_is_what_it_is() -> None:
    nested = "[" * DEEPEST + "]" * DEEPEST
    for text in (nested, str(2**63 - 1), r'"\ud83d\ude00 \\ud83d"', '{"a": [1.5, null]}'):
        assert json_value(text, "x") == json.loads(text)
    # Others' files may hold what Tombola's never do.
    assert json_value("[NaN, 1e999]", "x", bounded=False)[1] == float("inf")


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="half of a character"):
        write_json(tmp_path / "x.json", {"a": "\ud83d"})
    assert json_value(json_text({"a": "\N{GRINNING FACE}"}), "x") == {"a": "\N{GRINNING FACE}"}


def test_a_line_ends_where_json_ends_it(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": "x\u2028y"}\n{"a": 2}\n')
    assert [row["a"] for row in read_lines(tmp_path / "x.jsonl")] == ["x\u2028y", 2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "a: &a [x, x]\n"
            + "".join(f"{new}: &{new} [*{old}, *{old}]\n" for old, new in zip("abcd", "bcde", strict=True)),
            "line 2 has an alias",
        ),
        ("a: " + "[" * 3000, "recursion"),
        ("a: 2001-99-99", "month must be"),
        ("a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
        ("a: " + "9" * 30, "64 bits"),
        ("a: " + "x" * 100_000, "is larger than 100,000 bytes"),
        ('a: "\\ud800"', "half of a character"),
        ("\0", "special characters"),
    ],
)
def test_yaml_out_of_bounds_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(TombolaError, match=said) as refused:
        read_yaml(tmp_path / "x.yaml", "mend it")
    assert str(refused.value).isprintable()
    assert str(refused.value).startswith(str(tmp_path / "x.yaml"))


def test_whatever_is_raised_is_one_line_but_for_what_stops_the_process() -> None:
    class PanicException(BaseException):
        """As pyo3 calls a panic in Rust."""

    for error in (PanicException("panicked"), KeyError("x"), RecursionError("deep"), OSError("x")):
        with pytest.raises(TombolaError, match=r"^the thing \([^\n]+\); mend it$"), one_line("the thing", "mend it"):
            raise error
    with pytest.raises(KeyboardInterrupt), one_line("the thing", "mend it"):
        raise KeyboardInterrupt
    with pytest.raises(TombolaError, match=r"^mine$"), one_line("the thing", "mend it"):
        raise TombolaError("mine")


def test_what_the_system_refuses_names_the_file(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "Is a directory"), (tmp_path / ("x" * 300), "File name too long")):
        with pytest.raises(TombolaError, match=f"cannot be read: {said}"):
            read_text(path)
    with pytest.raises(TombolaError, match="asks for more memory than there is"), reading("x"):
        raise MemoryError


def test_a_message_is_one_printable_line() -> None:
    said = str(TombolaError("the column 'a\nb\x1b[31m \ud800' of é – \N{GRINNING FACE}"))
    assert said == "the column 'a\\nb\\x1b[31m \\ud800' of é – \N{GRINNING FACE}"
    assert len(str(TombolaError("x" * 10**6))) < 2100
    assert printable("\u202e") == "\\u202e"
