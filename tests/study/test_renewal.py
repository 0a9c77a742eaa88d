"""A study's folder under other settings: what depends on them is made anew, the rest is reused, and nothing mixes."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from builders import small_study
from builders.small_study import timeless
from tombola.foundations.atomic_files import read_json
from tombola.study.config import StudyConfig
from tombola.study.study import Study

pytestmark = pytest.mark.slow

SEEDS = (0, 1)
BASE: Mapping[str, Any] = {
    **small_study.SETTINGS,
    "heads_step": 0.5,
    "mlps_step": 2,
    "weights_cuts": 4,
    "bootstrap_resamples": 50,
    "device": "cpu",
    "text_column": "sentence",
}
OTHERS: Mapping[str, Any] = {
    "train_rows": 160,
    "dev_rows": 64,
    "max_length": 5,
    "search_split": "train",
    "methods": ("weights", "heads"),
    "controls": ("bad",),
    "random_draw": "bernoulli",
    "bad_draw": "pruned",
    "super_random": "outside",
    "iterative": True,
    "rewind": "final",
    "precision": "bf16",
    "bootstrap_resamples": 60,
    "threshold": 0.99,
    "over_chance": True,
    "heads_step": 0.25,
    "mlps_step": 1,
    "neurons_step": 0.5,
    "neuron_block": 8,
    "refine": False,
    "refine_heads_step": 0.5,
    "refine_neurons_step": 0.5,
    "weights_step": 0.5,
    "weights_cuts": 2,
    "sparsities": (0.2, 0.5),
    "curve_until": 0.1,
    "normalise_layers": False,
    "normalise_over": "all",
    "importance": "accumulated",
    "emptied_attention": "nothing",
    "calibration_samples": 8,
    "sequence_length": 32,
    "epochs": 3,
    "learning_rate": 2e-2,
    "batch_size": 16,
    "weight_decay": 0.1,
    "warmup_ratio": 0.5,
    "max_grad_norm": 0.1,
    "text_column": "other",
    "text_pair_column": "other",
    "label_column": "turned",
    "regression": True,
    "metric": "f1",
    "search_metric": "f1",
}
"""Another value of every setting that is a value; those that are files, and those that are neutral, have tests of
their own."""


@pytest.fixture(scope="module")
def rows() -> Path:
    """Sentences with a pair, and two columns of labels."""

    def write(folder: Path) -> None:
        small_study.write_task(folder)
        for file in folder.iterdir():
            lines = [line.split("\t") for line in file.read_text().splitlines()[1:]]
            made = [
                f"{text}\t{' '.join(text.split()[::-1])}\t{int(label == 'good')}\t{int(label != 'good')}"
                for text, label in lines
            ]
            file.write_text("\n".join(["sentence\tother\tlabel\tturned", *made]) + "\n")

    return small_study.once("rows", write)


def study_of(out: Path, rows: Path, seeds: tuple[int, ...] = SEEDS, **settings: Any) -> Study:
    values = {"model": str(small_study.model()), "task": str(rows), "label_column": "label", **BASE, **settings}
    return Study(StudyConfig.of("quick", **values), out=out, seeds=seeds)


@pytest.fixture(scope="module")
def base(rows: Path) -> Study:
    return small_study.run_once(study_of(small_study.home() / "renewed", rows))


@pytest.fixture
def copy(base: Study, tmp_path: Path) -> Path:
    return shutil.copytree(base.folder, tmp_path / "copy")


def found(study: Study) -> dict[str, Any]:
    """Everything that a study's folder holds and a report reads, without times."""
    files: dict[str, Any] = {}
    for file in sorted(study.folder.rglob("*")):
        name = file.relative_to(study.folder)
        if file.is_dir() or any(part.startswith(".") for part in name.parts) or file.name == "report.html":
            continue
        if file.name == "cost.json":
            files[str(name)] = sorted(read_json(file))
        elif file.name in ("search.jsonl", "results.jsonl"):
            files[str(name)] = timeless([json.loads(line) for line in file.read_text().splitlines()])
        elif file.name in ("score.json", "study.json"):
            files[str(name)] = timeless([read_json(file)])
        elif file.suffix == ".safetensors":
            # Of an evaluation the second number are its seconds; sites that are gone have no importance, not a number.
            arrays = load_file(file)
            files[str(name)] = {
                one: (value[:1] if one == "score_seconds" else value).tobytes() for one, value in arrays.items()
            }
        else:
            files[str(name)] = file.read_bytes()
    return files


def assert_alike(one: Study, other: Study) -> None:
    here, there = found(one), found(other)
    assert sorted(here) == sorted(there)
    assert [name for name in here if here[name] != there[name]] == []


def check(copy: Path, base: Study, fresh: Path, rows: Path, **settings: Any) -> None:
    """A changed study in the folder of another is what it is from nothing; and back again nothing is computed."""
    renewed, alone = study_of(copy, rows, **settings), study_of(fresh, rows, **settings)
    assert renewed.folder == copy
    renewed.run()
    alone.run()
    assert_alike(renewed, alone)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("seed_run.train", "seed_context.retrain", "seed_context.evaluate", "seed_run.search_ticket"):
            patch.setattr(f"tombola.study.{name}", lambda *_, **__: pytest.fail("computed again"))
        back = study_of(copy, rows)
        back.run()
    assert_alike(back, base)


QUICK = ("threshold", "controls", "bootstrap_resamples")


def test_every_setting_is_changed(base: Study) -> None:
    files = {"model", "task", "validation_file", "full", "data"}
    neutral = {"device", "eval_batch_size", "analyses"}
    # Of held-out rows alone.
    assert {*OTHERS} | files | neutral | {"search_rows"} == {*base.config.settings()}
    assert [
        name
        for name, value in OTHERS.items()
        if base.config.settings()[name] in (value, list(value) if isinstance(value, tuple) else value)
    ] == []


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=() if one in QUICK else pytest.mark.exhaustive) for one in OTHERS]
)
def test_another_value_in_the_same_folder_gives_what_it_gives_in_a_new_one(
    name: str, copy: Path, base: Study, rows: Path, tmp_path: Path
) -> None:
    check(copy, base, tmp_path / "fresh", rows, **{name: OTHERS[name]})
