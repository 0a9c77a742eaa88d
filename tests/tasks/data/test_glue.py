"""All nine layouts of GLUE, from hand-made TSV files and from a stand-in for the hub."""

import os
from pathlib import Path
from typing import Any, NoReturn

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from tombola.foundations.errors import TombolaError
from tombola.metrics.scores import METRICS
from tombola.tasks.data.corpus import Corpus
from tombola.tasks.data.glue import GLUE, load

MNLI_HEAD = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
    "sentence2_parse\tsentence1\tsentence2\t"
)
STSB_HEAD = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
MRPC_HEAD = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"

# task: folder, header, two rows (label id 0 and 1, or the value), first texts, second texts
LAYOUTS: dict[str, tuple[str, str, tuple[str, str], tuple[str, str], tuple[str, str] | None]] = {
    "cola": (
        "CoLA",
        "",
        ('gj04\t0\t*\tThe "sailors.\n', "gj04\t1\t\tThey ran.\n"),
        ('The "sailors.', "They ran."),
        None,
    ),
    "sst2": ("SST-2", "sentence\tlabel\n", ("bad \t0\n", '" good\t1\n'), ("bad ", '" good'), None),
    "mrpc": ("MRPC", MRPC_HEAD, ('0\t7\t8\t"A\tB\n', '1\t9\t10\tC"\tD\n'), ('"A', 'C"'), ("B", "D")),
    "stsb": (
        "STS-B",
        STSB_HEAD,
        ("0\tn\tf\t2012\t1\tx\ty\tA\tB\t0.000\n", "1\tn\tf\t2012\t2\tx\ty\tC\tD\t4.75\n"),
        ("A", "C"),
        ("B", "D"),
    ),
    "qqp": (
        "QQP",
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n",
        ("5\t1\t2\tA?\tB?\t0\n", "6\t3\t4\tC?\t\t1\n"),
        ("A?", "C?"),
        ("B?", ""),
    ),
    "mnli": (
        "MNLI",
        MNLI_HEAD + "label1\tgold_label\n",
        (
            "0\t1\t1e\tf\tb\tb\tp\tp\tA\tB\tneutral\tentailment\n",
            "1\t1\t1n\tf\tb\tb\tp\tp\tC\tD\tneutral\tneutral\n",
        ),
        ("A", "C"),
        ("B", "D"),
    ),
    "qnli": (
        "QNLI",
        "index\tquestion\tsentence\tlabel\n",
        ("0\tA?\tB\tentailment\n", "1\tC?\tD\tnot_entailment\n"),
        ("A?", "C?"),
        ("B", "D"),
    ),
    "rte": (
        "RTE",
        "index\tsentence1\tsentence2\tlabel\n",
        ("0\tA\tB\tentailment\n", "1\tC\tD\tnot_entailment\n"),
        ("A", "C"),
        ("B", "D"),
    ),
    "wnli": (
        "WNLI",
        "index\tsentence1\tsentence2\tlabel\n",
        ("0\tA\tB\t0\n", "1\tC\tD\t1\n"),
        ("A", "C"),
        ("B", "D"),
    ),
}
CLASSES = {
    "cola": ("unacceptable", "acceptable"),
    "sst2": ("negative", "positive"),
    "mrpc": ("not_equivalent", "equivalent"),
    "stsb": None,
    "qqp": ("not_duplicate", "duplicate"),
    "mnli": ("entailment", "neutral", "contradiction"),
    "qnli": ("entailment", "not_entailment"),
    "rte": ("entailment", "not_entailment"),
    "wnli": ("not_entailment", "entailment"),
}


def lay_out(parent: Path, task: str, rows: tuple[str, ...] | None = None) -> Path:
    """The task's folder with its files: train has both rows, dev the second only."""
    folder, head, both, _, _ = LAYOUTS[task]
    (parent / folder).mkdir()
    for split in GLUE[task].files.values():
        chosen = (rows or both) if split == "train.tsv" else both[1:]
        if task == "mnli" and split != "train.tsv":  # The dev files have five annotators' labels.
            text = MNLI_HEAD + "".join(f"label{i}\t" for i in range(1, 6)) + "gold_label\n"
            text += "0\t1\t1n\tf\tb\tb\tp\tp\tC\tD" + "\tentailment" * 5 + "\tneutral\n"
        else:
            text = head + "".join(chosen)
        (parent / folder / split).write_text(text, encoding="utf-8")
    return parent / folder


def check(task: str, corpus: Corpus) -> None:
    _, _, _, first, second = LAYOUTS[task]
    train = corpus.splits["train"]
    assert corpus.classes == CLASSES[task]
    assert (train.first, train.second) == (first, second)
    assert train.labels.tolist() == ([0.0, 4.75] if task == "stsb" else [0, 1])
    assert list(corpus.splits) == ["train", "dev", "dev_mismatched"][: 3 if task == "mnli" else 2]
    for split in list(corpus.splits)[1:]:
        assert (corpus.splits[split].first, corpus.splits[split].labels.tolist()) == (
            first[1:],
            [4.75 if task == "stsb" else 1],
        )


@pytest.mark.parametrize("task", LAYOUTS)
def test_the_original_files(tmp_path: Path, task: str) -> None:
    folder = lay_out(tmp_path, task)
    check(task, load(task, folder))
    check(task, load(task, tmp_path))


def test_one_parent_may_hold_every_task(tmp_path: Path) -> None:
    for task in LAYOUTS:
        lay_out(tmp_path, task)
    for task in LAYOUTS:
        check(task, load(task, tmp_path))


def test_microsofts_own_files_of_mrpc(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "mrpc")
    (folder / "train.tsv").rename(folder / "msr_paraphrase_train.txt")
    (folder / "dev.tsv").rename(folder / "msr_paraphrase_test.txt")
    check("mrpc", load("mrpc", tmp_path))


def test_broken_rows_of_qqp_are_passed_over(tmp_path: Path) -> None:
    rows = LAYOUTS["qqp"][2]
    lay_out(tmp_path, "qqp", (rows[0], "8\t5\t6\tTorn\n", "apart?\tWhy?\t0\n", rows[1]))
    check("qqp", load("qqp", tmp_path))


@pytest.mark.parametrize("task", sorted(set(LAYOUTS) - {"qqp"}))
def test_broken_rows_of_other_tasks_are_named(tmp_path: Path, task: str) -> None:
    rows = LAYOUTS[task][2]
    lay_out(tmp_path, task, (rows[0], "torn\n", rows[1]))
    line = 2 if task == "cola" else 3
    with pytest.raises(TombolaError, match=rf"train.tsv, line {line} has 1 column instead of"):
        load(task, tmp_path)


def test_hidden_and_unknown_labels_are_named(tmp_path: Path) -> None:
    lay_out(tmp_path, "rte", ("0\tA\tB\tentailment\n", "1\tC\tD\tmaybe\n"))
    with pytest.raises(TombolaError, match=r"line 3: label 'maybe' is unknown .*known: entailment, not_entailment$"):
        load("rte", tmp_path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(TombolaError, match="is no folder; give the folder that holds CoLA's TSV files"):
        load("cola", tmp_path / "gone")
    lay_out(tmp_path, "mnli")
    (tmp_path / "MNLI" / "dev_mismatched.tsv").unlink()
    with pytest.raises(TombolaError, match=r"holds no train.tsv, dev_matched.tsv, dev_mismatched.tsv"):
        load("mnli", tmp_path)
    with pytest.raises(TombolaError, match="unknown GLUE task 'ax'; known: cola, sst2"):
        load("ax", tmp_path)


def hub_rows(task: str, both: bool) -> Dataset:
    """What the hub would give: the second row, with `both` also the first; labels are ids of a ClassLabel."""
    _, _, _, first, second = LAYOUTS[task]
    kept = slice(0 if both else 1, 2)
    columns: dict[str, Any] = {GLUE[task].hub_columns[0]: list(first[kept])}
    if second is not None:
        columns[str(GLUE[task].hub_columns[1])] = list(second[kept])
    names = CLASSES[task]
    features = Features({name: Value("string") for name in columns}) | {
        "label": ClassLabel(names=list(names)) if names else Value("float32")
    }
    columns["label"] = [0, 1][kept] if names else [0.0, 4.75][kept]
    return Dataset.from_dict(columns, features=Features(features))


@pytest.mark.parametrize("task", LAYOUTS)
def test_the_hub_gives_the_same_corpus(monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    asked = []

    def load_dataset(path: str, config: str) -> DatasetDict:
        asked.append((path, config))
        return DatasetDict({there: hub_rows(task, here == "train") for here, there in GLUE[task].hub_splits.items()})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    check(task, load(task))
    assert asked == [("nyu-mll/glue", task)]


@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), RuntimeError()])
def test_a_hub_that_cannot_be_reached_names_the_alternatives(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def load_dataset(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(
        TombolaError,
        match=r"^cannot .*\((no route to host|RuntimeError)\); .*--data DIR.* rotten-tomatoes[^\n]*$",
    ):
        load("rte")


def test_the_metrics_are_glues_own() -> None:
    primary = {name: task.metrics[0] for name, task in GLUE.items()}
    assert primary.pop("cola") == "matthews_correlation"
    assert primary.pop("stsb") == "pearson"
    assert set(primary.values()) == {"accuracy"}
    assert {name for name, task in GLUE.items() if "f1" in task.metrics} == {"mrpc", "qqp"}
    assert {each for task in GLUE.values() for each in task.metrics} <= set(METRICS)


@pytest.mark.skipif(not os.environ.get("TOMBOLA_SHARED_DATA"), reason="TOMBOLA_SHARED_DATA does not name real data")
@pytest.mark.parametrize(("task", "train", "dev", "positive"), [
    ("sst2", 67_349, 872, 444),
    ("cola", 8_551, 1_043, 721),
])  # fmt: skip
def test_the_real_files(task: str, train: int, dev: int, positive: int) -> None:
    corpus = load(task, Path(os.environ["TOMBOLA_SHARED_DATA"]) / "glue")
    assert (len(corpus.splits["train"]), len(corpus.splits["dev"])) == (train, dev)
    assert corpus.splits["dev"].labels.sum() == positive
