"""What is on the hub, as its own client would give it: nothing here reaches out."""

from pathlib import Path
from typing import NoReturn

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from tombola.foundations.errors import TombolaError
from tombola.tasks.language.abilities.catalog import open_abilities
from tombola.tasks.language.abilities.language_modelling import HUB, training_text

LINES = {
    "test": [
        "",
        " = Robert <unk> = \n",
        "",
        " An actor . \n",
        " = = Career = = \n",
        " He acted . \n",
        " = Two = \n",
        " More . \n",
    ],
    "train": [" = One = \n", " Much . \n", ""],
}


def pairs(name: str) -> DatasetDict:
    """RTE's 0 is entailment, WNLI's is not, as on the hub."""
    names = ["entailment", "not_entailment"] if name == "rte" else ["not_entailment", "entailment"]
    features = Features({"sentence1": Value("string"), "sentence2": Value("string"), "label": ClassLabel(names=names)})
    rows = {"sentence1": ["A", "B"], "sentence2": ["C", "D"], "label": [0, 1]}
    return DatasetDict({split: Dataset.from_dict(rows, features) for split in ("train", "validation")})


def sentences() -> DatasetDict:
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["unacceptable", "acceptable"])})
    rows = {"sentence": ["It work.", "It works."], "label": [0, 1]}
    return DatasetDict({split: Dataset.from_dict(rows, features) for split in ("train", "validation")})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str]]:
    """What was asked for."""
    asked = []

    def load_dataset(path: str, name: str) -> DatasetDict:
        asked.append((path, name))
        if path == HUB:
            return DatasetDict({split: Dataset.from_dict({"text": lines}) for split, lines in LINES.items()})
        return sentences() if name == "cola" else pairs(name)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    # Where no file happens to have such a name.
    monkeypatch.chdir(tmp_path)
    return asked


def test_entailment_and_acceptability_come_by_name(hub: list[tuple[str, str]]) -> None:
    rte, wnli, cola = open_abilities(["inference=rte", "inference=wnli", "inference=cola"])
    assert hub == [("nyu-mll/glue", name) for name in ("rte", "wnli", "cola")]
    assert [one.name for one in (rte, wnli, cola)] == ["inference-rte", "inference-wnli", "inference-cola"]
    assert [e.choices[e.gold] for e in rte.examples] == [" True", " False"]
    assert [e.choices[e.gold] for e in wnli.examples] == [" False", " True"]
    assert [e.choices[e.gold] for e in cola.examples] == [" no", " yes"]
    assert rte.examples[0].context == "A\nQuestion: C True or False?\nAnswer:"
    assert cola.examples[0].free[0] == "N/A\nQuestion: Does this sentence make sense?\nAnswer:"
    assert rte.source == "nyu-mll/glue (rte)"


def test_a_folder_of_glue_goes_before_the_hub(hub: list[tuple[str, str]], tmp_path: Path) -> None:
    (tmp_path / "rte").mkdir()
    for split in ("train", "dev"):
        rows = "index\tsentence1\tsentence2\tlabel\n0\tA\tB\tnot_entailment\n1\tC\tD\tentailment\n"
        (tmp_path / "rte" / f"{split}.tsv").write_text(rows, encoding="utf-8")
    (rte,) = open_abilities(["inference=rte"])
    assert not hub
    assert [e.choices[e.gold] for e in rte.examples] == [" False", " True"]


def test_wikitext_is_judged_by_its_articles_and_trained_on_others(hub: list[tuple[str, str]]) -> None:
    (text,) = open_abilities(["language-modelling=wikitext"])
    assert hub == [("Salesforce/wikitext", "wikitext-2-raw-v1")]
    assert [e.choices[0] for e in text.examples] == [
        "= Robert <unk> = \n\n An actor . \n = = Career = = \n He acted .",
        "= Two = \n More .",
    ]
    found = training_text(Path("wikitext"))
    assert (found.train, len(found.dev)) == (("= One = \n Much .",), 2)
    open_abilities(["language-modelling=wikitext-103"])
    assert hub[-1] == ("Salesforce/wikitext", "wikitext-103-raw-v1")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("language-modelling=wikitext", r"cannot load Salesforce/wikitext .*no route to host.; give a text file"),
        ("inference=rte", r"cannot load nyu-mll/glue \(rte\) from the hub .no route to host.; give GLUE's own file"),
    ],
)
def test_a_hub_out_of_reach_is_one_clear_line(
    name: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def load_dataset(*_: object) -> NoReturn:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TombolaError, match=said) as caught:
        open_abilities([name])
    assert "\n" not in str(caught.value)
