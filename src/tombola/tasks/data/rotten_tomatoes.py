"""Rotten Tomatoes: fresh and rotten review sentences (Pang & Lee 2005), the task that needs no hub."""

import bz2
import csv
import hashlib

import numpy as np

from tombola.checkpoints.assets import fetch
from tombola.foundations.errors import reading
from tombola.tasks.data.corpus import Corpus, Texts

TITLE = "Rotten Tomatoes"
CLASSES = ("rotten", "fresh")
DEV = 2000
"""Number of sentences that judge; the rest, about 10,750, train."""


def rows() -> list[tuple[str, str]]:
    """Category (`rotten`, `fresh` or `plot`) and text of each row; a TombolaError where the asset cannot be had."""
    path = fetch("rotten-tomatoes") / "rotten_tomatoes_corpus_full.csv.bz2"
    mend = "delete its folder, and it is fetched again"
    with reading(path, mend), bz2.open(path, "rt", encoding="utf-8", newline="") as file:
        return [(row["category"], row["text"]) for row in csv.DictReader(file)]


def load() -> Corpus:
    """The corpus: 2,000 dev sentences, the rest train; the same split on every machine and for every seed.

    Plot summaries are left out. Sentences that differ only in case or spacing count once, and not at all
    where they have both labels, so that no dev sentence is trained on.
    """
    reviews: dict[str, tuple[str, str]] = {}
    ambiguous = set()
    for category, text in rows():
        key = " ".join(text.split()).casefold()
        if category not in CLASSES or not key:
            continue
        if reviews.setdefault(key, (category, text))[0] != category:
            ambiguous.add(key)
    dev, train = hold_out([key for key in reviews if key not in ambiguous], DEV)
    splits = {"train": [reviews[key] for key in train], "dev": [reviews[key] for key in dev]}
    return Corpus(TITLE, {split: _texts(found) for split, found in splits.items()}, CLASSES)


def hold_out(texts: list[str], count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split texts into so many that judge, and the others, both in their order: the same ones on every machine."""
    # Ranking by a hash is a shuffle that no library version can change.
    held = set(sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())[:count])
    return tuple(text for text in texts if text in held), tuple(text for text in texts if text not in held)


def _texts(reviews: list[tuple[str, str]]) -> Texts:
    labels = np.array([CLASSES.index(category) for category, _ in reviews], dtype=np.int64)
    return Texts(tuple(text.strip() for _, text in reviews), None, labels)
