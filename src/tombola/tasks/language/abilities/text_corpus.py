"""The text that needs no hub: plot summaries of Rotten Tomatoes, some held out to judge, the rest to train on."""

import bz2
import csv
import hashlib
from dataclasses import dataclass

from tombola.checkpoints.assets import fetch
from tombola.foundations.errors import TombolaError
from tombola.tasks.data import rotten_tomatoes

DEV = 200
"""Plot summaries that judge, about 30,000 tokens; the other 880 train."""


@dataclass(frozen=True)
class Text:
    """Texts of which some are held out.

    Attributes:
        train: texts that the model may be calibrated and trained on.
        dev: those that judge; none of them is in `train`.
        source: for people.
    """

    train: tuple[str, ...]
    dev: tuple[str, ...]
    source: str


def plots() -> Text:
    """Plot summaries, then review sentences of the training split, which fill up what the summaries leave.

    14 summaries of the corpus are missing values, and one film's may be there twice; both are left out.

    Raises:
        TombolaError: the asset cannot be fetched, or its cached copy is damaged.
    """
    path = fetch("rotten-tomatoes") / "rotten_tomatoes_corpus_full.csv.bz2"
    try:
        with bz2.open(path, "rt", encoding="utf-8", newline="") as file:
            found = {" ".join(row["text"].split()): None for row in csv.DictReader(file) if row["category"] == "plot"}
    except (OSError, EOFError, KeyError, ValueError, csv.Error) as error:
        raise TombolaError(f"{path} is damaged ({error}); delete its folder, and it is fetched again") from error
    found.pop("", None)
    dev, train = hold_out(list(found), DEV)
    sentences = rotten_tomatoes.load().splits["train"].first
    return Text((*train, *sentences), dev, "plot summaries (rotten-tomatoes)")


def hold_out(texts: list[str], count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split texts into so many that judge, and the others, both in their order: the same ones on every machine."""
    # Ranking by a hash is a shuffle that no library version can change.
    held = set(sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())[:count])
    return tuple(text for text in texts if text in held), tuple(text for text in texts if text not in held)
