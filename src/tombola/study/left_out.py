"""Analyses that a study was asked for and that could not be made, and why: kept for the report."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tombola.foundations.json_dataclasses import JsonRecord


@dataclass(frozen=True)
class LeftOut(JsonRecord):
    """Analysis that could not be made.

    Attributes:
        analysis: as in `tombola.study.config.ANALYSES`.
        what: it is of, for people: "attention of the full model".
        why: the reason, a line.
    """

    analysis: str
    what: str
    why: str

    @classmethod
    def path(cls, result: Path) -> Path:
        """The file that says so, beside the place of the result."""
        return result.with_name(f".{result.name}.left-out.json")

    @classmethod
    def below(cls, folder: Path) -> Iterator[Self]:
        """Files below a folder, in the order of their paths."""
        return (cls.read(path) for path in sorted(folder.rglob(".*.left-out.json")))


def in_sentences(left_out: Iterable[LeftOut]) -> list[str]:
    """Lines on what was left out, one for each reason: of several seeds and methods it is the same."""
    reasons = dict[str, list[str]]()
    for one in left_out:
        reasons.setdefault(one.why, []).append(one.what)
    return [f"{', '.join(dict.fromkeys(whats))}: {why}" for why, whats in reasons.items()]
