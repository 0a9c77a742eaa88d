"""Slugs: one plain part of a path, whatever the text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tombola.foundations.slug import slug, slugs


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sst2", "sst2"),
        ("BERT_base.v1-2", "BERT_base.v1-2"),
        (".", "unnamed"),
        ("..", "unnamed"),
        ("../../etc/passwd", "etc-passwd"),
        (".hidden", "hidden"),
        ("con", "_con"),
        ("LPT1.txt", "_LPT1.txt"),
        ("a\nb", "a-b"),
        ("x" * 300, "x" * 80),
        ("\ud800", "unnamed"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert slug(text) == name


@given(st.text())
def test_a_slug_is_one_part_of_a_path_and_its_own_slug(text: str) -> None:
    name = slug(text)
    assert Path(name).name == name
    assert not name.startswith(".")
    assert len(name.encode()) <= 81
    assert slug(name) == name


def test_several_are_told_apart() -> None:
    assert slugs(["a/b", "a-b", "A-B", "c", "a-b-2"]) == {
        "a/b": "a-b",
        "a-b": "a-b-2",
        "A-B": "A-B-3",
        "c": "c",
        "a-b-2": "a-b-2-2",
    }
