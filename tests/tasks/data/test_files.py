"""The user's own files: every kind is read, every fault is named with its file and line."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from tombola.foundations.errors import TombolaError
from tombola.tasks.data.corpus import Corpus
from tombola.tasks.data.files import records
from tombola.tasks.data.own_data import read

TSV = "text\tlabel\nit's \"good\tpos\nbad\tneg\n"
CSV = 'text,label\n"it\'s ""good",pos\nbad,neg\n'
JSONL = json.dumps({"text": "it's \"good", "label": "pos"}) + '\n{"label": "neg", "text": "bad"}\n'
ARRAY = json.dumps([json.loads(line) for line in JSONL.splitlines()], indent=1)


def write(folder: Path, **files: str | bytes) -> Path:
    """Files by name, with `__` for the dot."""
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


def same(corpus: Corpus) -> bool:
    """Whether this is the corpus that TSV, CSV and JSONL spell."""
    return corpus.classes == ("neg", "pos") and all(
        texts.first == ("it's \"good", "bad") and texts.second is None and texts.labels.tolist() == [1, 0]
        for texts in corpus.splits.values()
    )


@pytest.mark.parametrize(
    ("suffix", "content"), [("tsv", TSV), ("csv", CSV), ("jsonl", JSONL), ("json", JSONL), ("json", ARRAY)]
)
@pytest.mark.parametrize("dress", ["plain", "crlf", "bom", "no last newline", "blank lines", "gzip"])
def test_every_kind_of_file_in_every_dress(tmp_path: Path, suffix: str, content: str, dress: str) -> None:
    raw = {
        "plain": content.encode(),
        "crlf": content.replace("\n", "\r\n").encode(),
        "bom": b"\xef\xbb\xbf" + content.encode(),
        "no last newline": content.rstrip("\n").encode(),
        "blank lines": content.replace("\n", "\n\n").encode(),
        "gzip": gzip.compress(content.encode()),
    }[dress]
    suffix += ".gz" if dress == "gzip" else ""
    write(tmp_path, **{f"train.{suffix}": raw, f"dev.{suffix}": raw})
    assert same(read(tmp_path))
    assert same(read(tmp_path / f"train.{suffix}", validation_file=tmp_path / f"dev.{suffix}"))


def test_kinds_may_be_mixed_and_given_as_a_pair(tmp_path: Path) -> None:
    write(tmp_path, a__csv=CSV, b__jsonl=JSONL)
    assert same(read(tmp_path / "a.csv", validation_file=tmp_path / "b.jsonl"))


def test_dev_comes_before_validation_before_test(tmp_path: Path) -> None:
    write(tmp_path, train__tsv=TSV, test__tsv="text\tlabel\nt\tpos\n")
    assert read(tmp_path).splits["dev"].first == ("t",)
    write(tmp_path, validation__tsv="text\tlabel\nv\tpos\n")
    assert read(tmp_path).splits["dev"].first == ("v",)
    write(tmp_path, dev__tsv="text\tlabel\nd\tpos\n")
    assert read(tmp_path).splits["dev"].first == ("d",)


def test_columns_are_guessed_or_named(tmp_path: Path) -> None:
    pairs = "id\tsentence1\tsentence2\tlabel\tstars\n7\ta\tb\tx\t1\n8\tc\td\ty\t4.5\n"
    write(tmp_path, train__tsv=pairs, dev__tsv=pairs)
    guessed = read(tmp_path).splits["train"]
    assert (guessed.first, guessed.second) == (("a", "c"), ("b", "d"))
    assert read(tmp_path, text_column="sentence2").splits["train"].second is None
    named = read(tmp_path, text_column="sentence2", text_pair_column="sentence1", label_column="stars", regression=True)
    assert (named.splits["dev"].first, named.splits["dev"].second) == (("b", "d"), ("a", "c"))
    assert named.splits["dev"].labels.tolist() == [1.0, 4.5]
    assert read(tmp_path, label_column="stars").classes == ("1", "4.5")


def test_a_quoted_csv_field_may_span_lines_and_lines_still_count(tmp_path: Path) -> None:
    path = write(tmp_path, a__csv='text,label\n"one\ntwo",x\n\nthree,y\n') / "a.csv"
    assert list(records(path)) == [
        (2, {"text": "one\ntwo", "label": "x"}),
        (5, {"text": "three", "label": "y"}),
    ]


def test_only_a_line_feed_ends_a_line_of_tsv(tmp_path: Path) -> None:
    path = write(tmp_path, a__tsv="text\tlabel\na\u2028b\x85c\rd\tx\n") / "a.tsv"
    assert list(records(path)) == [(2, {"text": "a\u2028b\x85c\rd", "label": "x"})]


FAULTS: list[tuple[str, str | bytes, dict[str, Any], str]] = [
    ("tsv", "", {}, r"is empty"),
    ("csv", "\n\n", {}, r"is empty"),
    ("jsonl", "\n", {}, r"is empty"),
    ("tsv", "text\tlabel\n", {}, r"has no rows"),
    ("tsv", TSV + "lonely\n", {}, r", line 4 has 1 column instead of 2 \(text, label\)"),
    ("tsv", TSV + "a\tb\tpos\n", {}, r", line 4 has 3 columns instead of 2"),
    ("csv", CSV + "a,b,pos\n", {}, r", line 4 has 3 columns instead of 2"),
    ("csv", CSV + '"never closed,pos\n', {}, r", line 4 is malformed CSV: unexpected end of data"),
    ("csv", CSV + f"{'x' * 140_000},pos\n", {}, r", line 4 is malformed CSV: field larger"),
    ("tsv", TSV, {"label_column": "y"}, r" has no column 'y' for the label; name one of: text, label"),
    ("tsv", "t\tlabel\na\tx\n", {}, r" has no column 'text' or 'sentence' or 'sentence1' for the text"),
    ("tsv", TSV, {"text_pair_column": "u"}, r" has no column 'u' for the second text"),
    ("tsv", "text\ttext\tlabel\n", {}, r", line 1: the header names column 'text' twice"),
    ("tsv", TSV.encode() + b"caf\xe9\tpos\n", {}, r", line 4, byte 4 is not UTF-8"),
    ("csv", "text,label\n".encode("utf-16"), {}, r", line 1, byte 1 is not UTF-8"),
    ("jsonl", JSONL + '{"text": \n', {}, r", line 3 is damaged"),
    ("jsonl", JSONL + "[1]\n", {}, r", line 3 is no JSON object"),
    ("json", ARRAY.replace("]", ",\n7]"), {}, r", line 11 is no JSON object"),
    ("json", ARRAY[:-9], {}, r"\.json is damaged"),
    ("json", "[]", {}, r"is empty"),
    ("json", ARRAY.replace('"pos"', "null"), {}, r", line 2 has no label"),
    ("jsonl", JSONL + '{"text": "x"}\n', {}, r", line 3 has no column 'label'; there are: text"),
    ("jsonl", JSONL + '{"text": 3, "label": "pos"}\n', {}, r", line 3 has 3 where a text should be"),
    ("jsonl", JSONL + '{"text": "x", "label": null}\n', {}, r", line 3 has no label"),
    ("tsv", TSV + "x\t\n", {}, r", line 4 has no label;"),
    ("csv", CSV + "x,\nx,\nx,\n", {}, r", line 4 has no label, nor have 2 others; add it or drop the row"),
    ("csv", CSV + ",pos\n ,neg\n", {}, r", line 4 has no text, nor has 1 other; mend or drop the row"),
    ("tsv", "text\tlabel\na\tx\nb\tx\n", {}, r"every training row of .* has the label 'x'"),
    ("tsv", "text\tlabel\na\t1\nb\tmuch\n", {"regression": True}, r", line 3: label 'much' is no number"),
]


@pytest.mark.parametrize(("suffix", "content", "options", "message"), FAULTS)
def test_every_fault_is_one_line_that_names_file_and_line(
    tmp_path: Path, suffix: str, content: str | bytes, options: dict[str, Any], message: str
) -> None:
    write(tmp_path, **{f"train__{suffix}": content, f"dev__{suffix}": content})
    with pytest.raises(TombolaError, match=message) as caught:
        read(tmp_path, **options)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_label_that_training_never_saw_is_named_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, train__tsv=TSV, dev__tsv=TSV + "\nso so\tmeh\n")
    with pytest.raises(TombolaError, match=r"dev.tsv, line 5: label 'meh' is unknown in training; known: neg, pos"):
        read(tmp_path)


def test_a_dev_file_without_the_column_is_named(tmp_path: Path) -> None:
    write(tmp_path, train__tsv=TSV, dev__tsv="text\tgold\na\tpos\n")
    with pytest.raises(TombolaError, match=r"dev.tsv, line 2 has no column 'label'; there are: text, gold"):
        read(tmp_path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(TombolaError, match="nowhere does not exist"):
        read(tmp_path / "nowhere")
    with pytest.raises(TombolaError, match="holds no train file"):
        read(tmp_path)
    write(tmp_path, train__tsv=TSV)
    for alone in (tmp_path, tmp_path / "train.tsv"):
        with pytest.raises(TombolaError, match=r"2 rows are too few to split a share of 0.2 off that judges; give dev"):
            read(alone)
    with pytest.raises(TombolaError, match=r"gone.tsv does not exist"):
        read(tmp_path / "train.tsv", validation_file=tmp_path / "gone.tsv")
    with pytest.raises(TombolaError, match="is a folder; give a file"):
        read(tmp_path / "train.tsv", validation_file=tmp_path)
    write(tmp_path, train__csv=CSV)
    with pytest.raises(TombolaError, match=r"holds train.csv and train.tsv; keep one"):
        read(tmp_path)
    write(tmp_path, a__xlsx=b"PK")
    with pytest.raises(TombolaError, match=r"of no known kind; known: .tsv, .csv, .jsonl, .json"):
        read(tmp_path / "a.xlsx", validation_file=tmp_path / "train.tsv")


def saved(names: list[str]) -> Dataset:
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=names)})
    return Dataset.from_dict({"sentence": ["a", "b"], "label": [0, 1]}, features=features)


def test_a_folder_saved_by_datasets(tmp_path: Path) -> None:
    splits = DatasetDict(train=saved(["bad", "ace"]), test=saved(["bad", "ace"]))
    splits.save_to_disk(str(tmp_path / "all"))
    corpus = read(tmp_path / "all")
    assert corpus.classes == ("bad", "ace")
    assert corpus.splits["dev"].first == ("a", "b")
    with pytest.raises(TombolaError, match=r"has no column 'x' for the text; name one of: sentence, label"):
        read(tmp_path / "all", text_column="x")
    train, test = tmp_path / "all" / "train", tmp_path / "all" / "test"
    assert read(train, validation_file=test).classes == ("bad", "ace")
    with pytest.raises(TombolaError, match="2 rows are too few to split"):
        read(train)
    with pytest.raises(TombolaError, match="holds several splits"):
        read(train, validation_file=tmp_path / "all")
    DatasetDict(train=saved(["n", "y"]), others=saved(["n", "y"])).save_to_disk(str(tmp_path / "half"))
    with pytest.raises(TombolaError, match="holds the splits train, others; it needs train and one of dev"):
        read(tmp_path / "half")


def test_a_damaged_folder_of_datasets_is_one_line(tmp_path: Path) -> None:
    saved(["n", "y"]).save_to_disk(str(tmp_path / "d"))
    next((tmp_path / "d").glob("*.arrow")).write_bytes(b"junk")
    with pytest.raises(TombolaError, match=r"cannot be loaded by datasets [^\n]*$"):
        read(tmp_path / "d", validation_file=tmp_path / "d")


PANDAS_TEXTS = ('He said "hi"', 'a "b', "tab\there", "two\nlines", "plain", "'single'", '"', "x\r\ny")


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_a_tsv_that_pandas_wrote_is_read_as_it_was(quoting: Any, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": PANDAS_TEXTS, "label": [0, 1] * 4})
    frame.to_csv(tmp_path / "x.tsv", sep="\t", index=False, quoting=quoting)
    found = read(tmp_path / "x.tsv", validation_file=tmp_path / "x.tsv")
    assert found.splits["train"].first == PANDAS_TEXTS
    assert found.classes == ("0", "1")


@pytest.mark.parametrize(
    "texts",
    [('x\tba"\nb"', "plain"), ('x\t "b\nz', 'a" z', 'x"'), ('x"b"', "x\t\na\t\nz")],
)
def test_a_quoted_header_says_that_all_is_quoted(texts: tuple[str, ...], tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": texts, "label": range(len(texts))})
    frame.to_csv(tmp_path / "x.tsv", sep="\t", index=False, quoting=csv.QUOTE_ALL)
    assert read(tmp_path / "x.tsv", validation_file=tmp_path / "x.tsv").splits["train"].first == texts


@pytest.mark.parametrize(
    "texts",
    [
        ('"In quotes"', "plain"),  # as a whole, which may be how the sentence stands in its source
        ('He said ""hi""', "plain"),  # not quoted as a whole
        ('"He said ""hi"""', 'but a "stray" one'),
        ('"never closed', "plain"),
        ('"opened', 'closed"'),
    ],
)
def test_a_tsv_that_is_not_quoted_all_over_keeps_its_quotes(texts: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("label\ttext\n" + "".join(f"{i}\t{text}\n" for i, text in enumerate(texts)))
    assert read(tmp_path / "x.tsv", validation_file=tmp_path / "x.tsv").splits["train"].first == texts


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", "text,label\nfine,a\n,b\n"),
        ("x.tsv", "text\tlabel\nfine\ta\n \tb\n"),
        ("x.tsv", 'text\tlabel\nfine\ta\n""\tb\n'),
        ("x.jsonl", '{"text": "fine", "label": "a"}\n\n{"text": null, "label": "b"}\n'),
        ("x.jsonl", '{"text": "fine", "label": "a"}\n\n{"text": "", "label": "b"}\n'),
    ],
)
def test_a_row_without_text_is_named_whatever_the_kind(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(TombolaError, match=r"x\.\w+, line 3 has no text; mend or drop the row"):
        read(tmp_path / name, validation_file=tmp_path / name)


@pytest.mark.parametrize("row", [r'{"text": "\ud800", "label": "a"}', r'{"text": "x", "label": "\udfff"}'])
def test_half_a_character_is_refused_with_its_row(row: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(f'{{"text": "fine", "label": "b"}}\n{row}\n')
    with pytest.raises(TombolaError, match=r"x\.jsonl, line 2 .*half of a character"):
        read(tmp_path / "x.jsonl", validation_file=tmp_path / "x.jsonl")
    rows = [json.loads(row), {"text": "fine", "label": "b"}]
    with pytest.raises(TombolaError, match=r"row 0 .*half of a character"):
        Corpus.from_rows(rows, rows, ("text", None, "label"))


def test_a_header_that_csv_cannot_split_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"text;label\rgood;1\nbad;0\n")
    with pytest.raises(TombolaError, match=r"x\.csv, line 1 is malformed CSV: .*; mend the line"):
        list(records(path))
