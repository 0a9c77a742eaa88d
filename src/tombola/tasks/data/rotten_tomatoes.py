"""Rotten Tomatoes: fresh and rotten review sentences (Pang & Lee 2005), the task that needs no hub."""

import bz2
import csv
import hashlib

import numpy as np

from tombola.checkpoints.assets import fetch
from tombola.foundations.errors import TombolaError
from tombola.tasks.data.corpus import Corpus, Texts

CLASSES = ("rotten", "fresh")
DEV = 2000
"""Number of sentences that judge; the rest, about 10,750, train."""


def rows() -> list[tuple[str, str]]:
    """Category (`rotten`, `fresh` or `plot`) and text of every row of the asset.

    Raises:
        TombolaError: it cannot be fetched, or its cached copy is damaged.
    """
    path = fetch("rotten-tomatoes") / "rotten_tomatoes_corpus_full.csv.bz2"
    try:
        with bz2.open(path, "rt", encoding="utf-8", newline="") as file:
            return [(row["category"], row["text"]) for row in csv.DictReader(file)]
    except (OSError, EOFError, KeyError, ValueError, csv.Error) as error:
        raise TombolaError(f"{path} is damaged ({error}); delete its folder, and it is fetched again") from error


def load() -> Corpus:
    """The corpus: 2,000 dev sentences, the rest train; the same split on every machine and for every seed.

    Plot summaries are left out. Sentences that differ only in case or spacing count once, and not at all
    where they have both labels, so that no dev sentence is trained on.

    Raises:
        TombolaError: as `rows`.
    """
    reviews: dict[str, tuple[str, str]] = {}
    ambiguous = set()
    for category, text in rows():
        key = " ".join(text.split()).casefold()
        if category not in CLASSES or not key:
            continue
        if reviews.setdefault(key, (category, text))[0] != category:
            ambiguous.add(key)
    kept = [key for key in reviews if key not in ambiguous]
    # Ranking by a hash is a shuffle that no library version can change.
    dev = set(sorted(kept, key=lambda key: hashlib.sha256(key.encode()).digest())[:DEV])
    train, held_out = ([reviews[key] for key in kept if (key in dev) is side] for side in (False, True))
    return Corpus("Rotten Tomatoes", {"train": _texts(train), "dev": _texts(held_out)}, CLASSES)


def _texts(reviews: list[tuple[str, str]]) -> Texts:
    labels = np.array([CLASSES.index(category) for category, _ in reviews], dtype=np.int64)
    return Texts(tuple(text.strip() for _, text in reviews), None, labels)
