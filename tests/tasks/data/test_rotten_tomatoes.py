"""Rotten Tomatoes: the real corpus where pip can get it, and the rules on a small one."""

import bz2
import csv
import hashlib
from pathlib import Path

import pytest

from tombola.foundations.errors import TombolaError
from tombola.tasks.data import rotten_tomatoes
from tombola.tasks.data.corpus import Corpus
from tombola.tasks.data.rotten_tomatoes import load


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    try:
        return load()
    except TombolaError as error:
        if not str(error).startswith("pip cannot download"):
            raise
        pytest.skip(str(error))


def test_sizes_and_classes(corpus: Corpus) -> None:
    assert {split: len(texts) for split, texts in corpus.splits.items()} == {"train": 10_751, "dev": 2_000}
    assert corpus.classes == ("rotten", "fresh")
    assert corpus.splits["dev"].second is None
    fresh = sum(int(texts.labels.sum()) for texts in corpus.splits.values())
    assert 0.57 < fresh / 12_751 < 0.59  # 7,403 of 12,808 before duplicates go


def test_no_sentence_is_in_two_places(corpus: Corpus) -> None:
    texts = [" ".join(text.split()).casefold() for split in corpus.splits.values() for text in split.first]
    assert len(set(texts)) == len(texts)
    assert all(texts)


def test_the_split_never_changes(corpus: Corpus) -> None:
    dev = corpus.splits["dev"]
    lines = "\n".join(f"{label}\t{text}" for text, label in zip(dev.first, dev.labels, strict=True))
    assert (
        hashlib.sha256(lines.encode()).hexdigest() == "f5709dce79e2429fad587f23ae65d13aefb7b7555d7d42179e491be903f04531"
    )


def small(folder: Path, rows: list[tuple[str, str]]) -> None:
    """A corpus file of our own in place of the asset."""
    with bz2.open(folder / "rotten_tomatoes_corpus_full.csv.bz2", "wt", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("category", "text"), *rows])


def test_plots_blanks_duplicates_and_contradictions_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(
        tmp_path,
        [
            *(("fresh", f"fine, number {i}") for i in range(4)),
            *(("rotten", f"poor, number {i}") for i in range(4)),
            ("plot", "A man walks."),
            ("fresh", "  "),
            ("fresh", "FINE,  number\n0 "),
            ("fresh", "Who knows?"),
            ("rotten", "who KNOWS?"),
            ("fresh", "Who knows?"),
        ],
    )
    monkeypatch.setattr(rotten_tomatoes, "fetch", lambda _: tmp_path)
    monkeypatch.setattr(rotten_tomatoes, "DEV", 2)
    splits = load().splits
    found = {(t, int(y)) for texts in splits.values() for t, y in zip(texts.first, texts.labels, strict=True)}
    assert found == {(f"fine, number {i}", 1) for i in range(4)} | {(f"poor, number {i}", 0) for i in range(4)}
    assert {split: len(texts) for split, texts in splits.items()} == {"train": 6, "dev": 2}


@pytest.mark.parametrize("damage", [b"not bz2", bz2.compress(b"a,b\n1,2\n"), bz2.compress(b"x" * 9999)[:-8]])
def test_a_damaged_copy_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes) -> None:
    (tmp_path / "rotten_tomatoes_corpus_full.csv.bz2").write_bytes(damage)
    monkeypatch.setattr(rotten_tomatoes, "fetch", lambda _: tmp_path)
    with pytest.raises(TombolaError, match=r"is damaged \([^\n]*\); delete its folder, and it is fetched again$"):
        load()
