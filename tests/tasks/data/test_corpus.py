"""What a corpus refuses, and how labels become classes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from tombola.foundations.errors import TombolaError
from tombola.tasks.data.corpus import Corpus, Texts

Rows = list[dict[str, Any]]


def rows(*pairs: tuple[object, object]) -> Rows:
    return [{"t": text, "y": label} for text, label in pairs]


TRAIN = rows(("a", "no"), ("b", "yes"), ("c", "no"))
DEV = rows(("d", "yes"))


def build(train: Any = TRAIN, dev: Any = DEV, **options: Any) -> Corpus:
    return Corpus.from_rows(train, dev, ("t", options.pop("second", None), "y"), **options)


def test_rows_become_texts_and_sorted_classes() -> None:
    corpus = build()
    assert corpus.classes == ("no", "yes")
    assert not corpus.regression
    train = corpus.splits["train"]
    assert (train.first, train.second, len(train)) == (("a", "b", "c"), None, 3)
    assert train.labels.dtype == np.int64
    assert train.labels.tolist() == [0, 1, 0]
    assert corpus.splits["dev"].labels.tolist() == [1]


def test_labels_with_fractions_may_be_values() -> None:
    train = rows(("a", 0.5), ("b", "2"), ("c", 3.25))
    with pytest.raises(TombolaError, match=r"'1\.75' is unknown .*; numbers such as 0\.5 are values for --regression"):
        build(train, rows(("d", 1.75)))
    with pytest.warns(UserWarning, match=r"names of 3 classes; numbers such as 0\.5 are values for --regression"):
        assert build(train, rows(("d", 3.25))).classes == ("0.5", "2", "3.25")
    assert build(train, rows(("d", 1.75)), regression=True).regression


def test_select_keeps_order_and_pairs() -> None:
    texts = Texts(("a", "b", "c"), ("x", "y", "z"), np.array([0, 1, 2]))
    chosen = texts.select([2, 0])
    assert (chosen.first, chosen.second, chosen.labels.tolist()) == (("c", "a"), ("z", "x"), [2, 0])


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([10, 9, 2], ("2", "9", "10")),
        (["10", "9", "2"], ("2", "9", "10")),
        (["b", "10", "9"], ("9", "10", "b")),
        ([1.0, 0.0, 1.0], ("0", "1")),
        ([True, False, True], ("False", "True")),
        ([-1, 1, -1], ("-1", "1")),
        (["nan", "b", "a"], ("a", "b", "nan")),
    ],
)
def test_classes_are_in_numerical_or_alphabetical_order(labels: list[object], classes: tuple[str, ...]) -> None:
    assert build(rows(*zip("abc", labels, strict=True)), rows(("d", labels[0]))).classes == classes


def test_numbers_and_their_spelling_are_one_label() -> None:
    corpus = build(rows(("a", 0), ("b", 1)), rows(("c", "1"), ("d", 0.0), ("e", np.int64(1))))
    assert corpus.splits["dev"].labels.tolist() == [1, 0, 1]


def test_pairs_and_regression() -> None:
    train = [{"t": "a", "u": "b", "y": 1}, {"t": "c", "u": "d", "y": "2.5"}]
    corpus = build(train, [{"t": "e", "u": "f", "y": -1.0}, train[0]], second="u", regression=True)
    assert (corpus.classes, corpus.regression) == (None, True)
    assert corpus.splits["train"].second == ("b", "d")
    assert corpus.splits["dev"].labels.dtype == np.float64
    assert corpus.splits["dev"].labels.tolist() == [-1.0, 1.0]


def labelled(pairs: Mapping[str, int], names: list[str]) -> Dataset:
    features = Features({"t": Value("string"), "y": ClassLabel(names=names)})
    return Dataset.from_dict({"t": list(pairs), "y": list(pairs.values())}, features=features)


def test_a_class_labels_names_and_ids_are_kept() -> None:
    corpus = build(labelled({"a": 0, "b": 1}, ["yes", "no"]), labelled({"c": 1}, ["yes", "no"]))
    assert corpus.classes == ("yes", "no")
    assert corpus.splits["dev"].labels.tolist() == [1]


def test_class_labels_are_matched_by_name() -> None:
    corpus = build(labelled({"a": 0, "b": 1}, ["yes", "no"]), labelled({"c": 1}, ["no", "yes"]))
    assert corpus.splits["dev"].labels.tolist() == [0]


def test_plain_ids_go_by_the_class_label_of_training() -> None:
    corpus = build(labelled({"a": 0, "b": 1}, ["yes", "no"]), rows(("c", 1)))
    assert corpus.splits["dev"].labels.tolist() == [1]
    with pytest.raises(TombolaError, match=r"dev row 0 .*label 2 is outside of 0 to 1"):
        build(labelled({"a": 0, "b": 1}, ["yes", "no"]), rows(("c", 2)))


@pytest.mark.parametrize(
    ("train", "dev", "message"),
    [
        (TRAIN, [], "the dev split of your data is empty"),
        ([], DEV, r"dev row 0 .*label 'yes' is unknown|train split of your data is empty"),
        (
            rows(("a", "no"), ("b", "no")),
            rows(("c", "no")),
            "every training row of your data has the label 'no'",
        ),
        (
            TRAIN,
            rows(("d", "maybe")),
            r"dev row 0 \(the first is 0\): label 'maybe' is unknown .*known: no, yes",
        ),
        ([*TRAIN, {"t": "d"}], DEV, r"your data, train row 3 .*no column 'y'; there are: t"),
        (rows(("a", "no"), ("b", None)), DEV, "train row 1 .*has no label"),
        (rows(("a", "no"), ("b", float("nan"))), DEV, "train row 1 .*has no label"),
        (rows(("a", "no"), ("b", " ")), DEV, "train row 1 .*has no label"),
        (rows(("a", "no"), ("b", ["yes"])), DEV, r"train row 1 .*\['yes'\] is neither a name nor a number"),
        (rows(("a", "no"), (None, "yes")), DEV, "train row 1 .*has no text"),
        (rows(("a", "no"), (7, "yes")), DEV, "train row 1 .*has 7 where a text should be"),
        (rows(("a", 0), ("b", 1)), rows(("c", -1), ("d", -1)), "dev row 0 .*GLUE hides"),
        (rows(("a", 0), ("b", 1)), rows(("c", 1), ("d", -1)), "dev row 1 .*GLUE hides"),
        (labelled({"a": 0, "b": -1}, ["n", "y"]), DEV, "train row 1 .*GLUE hides"),
    ],
)
def test_what_cannot_be_trained_or_judged_is_refused(train: Any, dev: Any, message: str) -> None:
    with pytest.raises(TombolaError, match=message) as caught:
        build(train, dev)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("label", ["much", "nan", float("inf"), [1]])
def test_regression_needs_finite_numbers(label: object) -> None:
    with pytest.raises(TombolaError, match=r"train row 1 .*(is no number|has no label)"):
        build(rows(("a", 1.0), ("b", label)), rows(("c", 1.0)), regression=True)


def test_regression_needs_labels_that_differ_and_are_not_hidden() -> None:
    with pytest.raises(TombolaError, match=r"every training row .* '2.0'"):
        build(rows(("a", 2), ("b", 2)), rows(("c", 1)), regression=True)
    with pytest.raises(TombolaError, match=r"dev row 0 .*GLUE hides"):
        build(rows(("a", 2), ("b", 3)), rows(("c", -1.0), ("d", -1.0)), regression=True)


def test_a_corpus_made_by_hand_is_checked_too() -> None:
    train = Texts(("a", "b"), None, np.array([0, 1]))
    with pytest.raises(TombolaError, match="mine has no dev split"):
        Corpus("mine", {"train": train}, ("n", "y"))
    with pytest.raises(TombolaError, match="the late split of mine has the label 'z', which no training row"):
        Corpus(
            "mine",
            {"train": train, "dev": train, "late": Texts(("c",), None, np.array([2]))},
            ("n", "y", "z"),
        )
    with pytest.raises(ValueError, match="differ in number"):
        Texts(("a",), ("b", "c"), np.array([1]))
