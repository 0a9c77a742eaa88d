"""Data sets of the user's own beyond plain files: Parquet, the hub's layout and its ids, rows split off to judge."""

import csv
import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from tombola.foundations.errors import TombolaError
from tombola.tasks.data.corpus import Corpus
from tombola.tasks.data.own_data import read

ROWS = [{"text": f"text {n}", "label": "yes" if n % 10 == 0 else "no"} for n in range(100)]


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def named(texts: str = "ab") -> Dataset:
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["bad", "ace"])})
    return Dataset.from_dict({"sentence": [*texts], "label": [0, 1]}, features=features)


def test_parquet_keeps_the_names_of_its_labels(tmp_path: Path) -> None:
    for split, texts in (("train", "ab"), ("dev", "cd")):
        named(texts).to_parquet(str(tmp_path / f"{split}.parquet"))
    corpus = read(tmp_path)
    assert corpus.classes == ("bad", "ace")
    assert (corpus.splits["dev"].first, corpus.splits["dev"].labels.tolist()) == (("c", "d"), [0, 1])
    assert read(tmp_path / "train.parquet", validation_file=tmp_path / "dev.parquet").classes == ("bad", "ace")
    (tmp_path / "dev.parquet").write_bytes(b"PAR1 junk")
    with pytest.raises(TombolaError, match=r"dev.parquet is damaged [^\n]*; write it again$"):
        read(tmp_path)


def test_a_folder_in_the_layout_of_the_hub(tmp_path: Path) -> None:
    home = tmp_path / "data"
    home.mkdir()
    for split, texts in (("train-00000-of-00002", "ab"), ("train-00001-of-00002", "cd"), ("test-00000-of-00001", "ef")):
        named(texts).to_parquet(str(home / f"{split}.parquet"))
    corpus = read(tmp_path)
    assert (corpus.splits["train"].first, corpus.splits["dev"].first) == (("a", "b", "c", "d"), ("e", "f"))
    other = tmp_path / "more"
    other.mkdir()
    named().to_parquet(str(other / "train-00000-of-00001.parquet"))
    with pytest.raises(TombolaError, match=r"several configurations .data, more.; give the folder of one"):
        read(tmp_path)


def test_a_csv_of_semicolons_as_spreadsheets_write_it(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows([("text", "label"), ("one, two; three", "a"), ("four", "b")])
    with pytest.warns(UserWarning, match="2 of the 2 dev rows"):
        assert read(path, validation_file=path).splits["train"].first == ("one, two; three", "four")
    # A comma in the header parts its fields, whatever else is there.
    path.write_text("text,label;x\na;b,1\nc,2\n")
    with pytest.warns(UserWarning, match="2 of the 2 dev rows"):
        assert read(path, validation_file=path, label_column="label;x").splits["train"].first == ("a;b", "c")


@pytest.mark.parametrize(
    ("columns", "taken"),
    [
        (("Review", "Sentiment"), ("Review", None, "Sentiment")),
        (("id", "premise", "hypothesis", "label"), ("premise", "hypothesis", "label")),
        (("question1", "question2", "class"), ("question1", "question2", "class")),
        (("text", "review", "label", "score"), ("text", None, "label")),
    ],
)
def test_usual_columns_are_known(columns: tuple[str, ...], taken: tuple[str, ...], tmp_path: Path) -> None:
    rows = [{name: f"{name} {n}" for name in columns} for n in range(2)]
    dev = [{name: f"{value}!" if name != taken[2] else value for name, value in row.items()} for row in rows]
    found = read(lines(tmp_path / "a.jsonl", rows), validation_file=lines(tmp_path / "b.jsonl", dev)).splits["train"]
    assert found.first == tuple(row[taken[0]] for row in rows)
    assert found.second == (None if taken[1] is None else tuple(row[taken[1]] for row in rows))


def test_columns_that_could_all_be_meant_are_asked_for(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", [{"review": "a", "comment": "b", "stars": 1, "class": 2}] * 2)
    with pytest.raises(TombolaError, match=r"x.jsonl has review and comment for the text; name one of them .--text"):
        read(path, validation_file=path)
    with pytest.raises(TombolaError, match=r"has class and stars for the label; name one of them .--label-column"):
        read(path, validation_file=path, text_column="review")


def split_off(path: Path, **options: Any) -> Corpus:
    with pytest.warns(UserWarning, match="has training rows only: 20 of its 100 rows, drawn with seed 0, judge"):
        return read(path, **options)


def test_a_training_file_alone_is_split(tmp_path: Path) -> None:
    corpus = split_off(lines(tmp_path / "x.jsonl", ROWS))
    train, dev = corpus.splits["train"], corpus.splits["dev"]
    # Each label keeps its share, no row is lost or twice, rows stay with their labels.
    assert (len(train), len(dev), int(dev.labels.sum()), int(train.labels.sum())) == (80, 20, 2, 8)
    assert {*train.first} | {*dev.first} == {row["text"] for row in ROWS}
    wanted = {row["text"]: row["label"] for row in ROWS}
    for texts in (train, dev):
        assert [corpus.classes[label] for label in texts.labels] == [wanted[text] for text in texts.first]  # type: ignore[index]
    assert split_off(tmp_path / "x.jsonl").splits["dev"].first == dev.first


def test_rows_of_one_text_are_split_off_together(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    twins = [row for row in ROWS for _ in range(2)]
    corpus = read(lines(tmp_path / "x.jsonl", twins), validation_split=0.5)
    assert len(corpus.splits["dev"]) == 100
    assert not {*corpus.splits["train"].first} & {*corpus.splits["dev"].first}
    assert not [one for one in recwarn if "have the text of a training row" in str(one.message)]


def test_values_are_split_too(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", [{"text": f"text {n}", "label": n / 7} for n in range(100)])
    assert len(split_off(path, regression=True).splits["dev"]) == 20


def test_a_fault_in_a_row_that_was_split_off_names_its_line(tmp_path: Path) -> None:
    for bad in range(0, 100, 7):
        rows = [{**row, "text": " "} if n == bad else row for n, row in enumerate(ROWS)]
        with (
            pytest.warns(UserWarning, match="training rows only"),
            pytest.raises(TombolaError, match=f"x.jsonl, line {bad + 1} has no text"),
        ):
            read(lines(tmp_path / "x.jsonl", rows))


def test_a_share_beside_rows_that_judge_is_refused(tmp_path: Path) -> None:
    path = lines(tmp_path / "train.jsonl", ROWS)
    with pytest.raises(TombolaError, match="leave it out, or validation_file"):
        read(path, validation_file=path, validation_split=0.1)
    lines(tmp_path / "dev.jsonl", ROWS)
    with pytest.raises(TombolaError, match=r"validation_split is for training rows alone, and .* has others"):
        read(tmp_path, validation_split=0.1)


def test_dev_rows_that_training_has_are_said(tmp_path: Path) -> None:
    train = lines(tmp_path / "a.jsonl", ROWS)
    dev = lines(tmp_path / "b.jsonl", [*ROWS[:3], *({**row, "text": f"other {row['text']}"} for row in ROWS)])
    with pytest.warns(UserWarning, match=r"3 of the 103 dev rows of .*a.jsonl have the text of a training row"):
        read(train, validation_file=dev)
    with pytest.warns(UserWarning, match="100 of the 100 dev rows of your data have the text"):
        Corpus.from_rows(ROWS, ROWS, ("text", None, "label"))


def test_a_data_set_of_the_hub_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[tuple[str, str | None]]()

    class Parquet:
        __module__ = "datasets.packaged_modules.parquet.parquet"

    def splits(name: str, configuration: str | None) -> DatasetDict:
        asked.append((name, configuration))
        return DatasetDict(train=named("ab"), test=named("cd"))

    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *_: Parquet())
    monkeypatch.setattr(datasets, "load_dataset", splits)
    corpus = read("owner/reviews", dataset_config="small")
    assert (corpus.classes, corpus.splits["dev"].first, asked) == (
        ("bad", "ace"),
        ("c", "d"),
        [("owner/reviews", "small")],
    )


def test_a_data_set_of_the_hub_that_holds_anything_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Archive:
        __module__ = "datasets.packaged_modules.webdataset.webdataset"

    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *_: Archive())
    with pytest.raises(TombolaError, match=r"owner/x .c. is in the format webdataset, not one of parquet, csv"):
        read("owner/x", dataset_config="c")


def test_a_hub_that_cannot_be_reached_is_one_line() -> None:
    with pytest.raises(TombolaError, match=r"cannot load owner/x from the hub [^\n]*; check its name and that the hub"):
        read("owner/x")
