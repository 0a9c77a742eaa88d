"""A study's configuration: what changes its hash, what does not, and what it refuses."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tombola.foundations.errors import TombolaError
from tombola.foundations.settings import setting_fields
from tombola.pruning.search.options import SearchOptions
from tombola.study.config import ANALYSES, StudyConfig, setting_groups
from tombola.study.study_file import RUN, StudyFile, json_schema
from tombola.tasks.fine_tuned.regime import PRESETS
from tombola.tasks.registry import named_tasks, regime_of, regimes
from tombola.training import lora
from tombola.training.recipe import Recipe

of = functools.partial(StudyConfig.of, None)
"""A configuration without a preset."""

# A value that differs from the default, for every setting.
OTHER: dict[str, Any] = {
    "random_draw": "bernoulli",
    "bad_draw": "pruned",
    "super_random": "outside",
    "weights_cuts": 9,
    "normalise_over": "all",
    "importance": "accumulated",
    "emptied_attention": "nothing",
    "search_metric": "f1",
    "model": "bert-base-uncased",
    "task": "cola",
    "data": "/nowhere/glue",
    "validation_file": "/nowhere/dev.tsv",
    "text_column": "sentence",
    "text_pair_column": "other",
    "label_column": "class",
    "regression": True,
    "metric": "f1",
    "train_rows": 10,
    "dev_rows": 10,
    "max_length": 64,
    "search_split": "train",
    "search_rows": 5,
    "methods": ("weights",),
    "full": "/nowhere/full",
    "threshold": 0.8,
    "over_chance": True,
    "heads_step": 0.2,
    "mlps_step": 2,
    "neurons_step": 0.3,
    "neuron_block": 8,
    "refine": False,
    "refine_heads_step": 0.1,
    "refine_neurons_step": 0.15,
    "weights_step": 0.2,
    "sparsities": (0.3, 0.6),
    "curve_until": 0.4,
    "normalise_layers": False,
    "calibration_samples": 4,
    "sequence_length": 32,
    "controls": ("random",),
    "iterative": True,
    "rewind": "step-10",
    "epochs": 2,
    "learning_rate": 1e-3,
    "batch_size": 16,
    "weight_decay": 0.1,
    "task_type": "text-classification",
    "dataset_config": "plain_text",
    "doc_stride": 64,
    "validation_split": 0.3,
    "class_weights": "balanced",
    "warmup_ratio": 0.2,
    "max_grad_norm": 2.0,
    "gradient_accumulation_steps": 2,
    "gradient_checkpointing": True,
    "eval_batch_size": 32,
    "precision": "fp32",
    "device": "cuda",
    "bootstrap_resamples": 100,
}

OF_LANGUAGE: Mapping[str, Any] = {
    "abilities": ("grammar",),
    "text_tokens": 100,
    "retain": "grammar>=0.8",
    "text_file": "/nowhere/text.txt",
    "bos_token": "none",
    "importance_samples": 4,
    "importance_sequence_length": 32,
    "recovery_tokens": 1000,
    "lora_rank": 8,
    "lora_learning_rate": 1e-3,
}

# The same with a task that takes them all but `data`, which is for GLUE.
TOGETHER = OTHER | {"task": "/nowhere/mine", "data": None, "full": None}


def with_setting(name: str, value: Any) -> StudyConfig:
    """A configuration with one setting, and a task that may have it."""
    own = {"validation_file", "text_column", "text_pair_column", "label_column", "regression", "metric"}
    own |= {"task_type", "dataset_config", "validation_split", "doc_stride"}
    context: dict[str, Any] = {"task": "/nowhere/mine"} if name in own else {}
    if name == "data":
        context = {"task": "cola"}
    if name == "search_rows":
        context = {"search_split": "train"}
    return of(**{**context, name: value})


OF_IMAGES: dict[str, Any] = {"image_size": 16, "feature_model": "/nowhere/clip", "pipeline": "/nowhere/whole"}


def test_every_setting_changes_the_hash() -> None:
    everything = {one.name for _, fields in setting_groups().values() for one in fields}
    assert {*OTHER, *OF_LANGUAGE, *OF_IMAGES, "analyses", "at_chance", "trust_remote_code"} == everything
    plain = {of(task=task).hash() for task in ("rotten-tomatoes", "/nowhere/mine")}
    hashes = {with_setting(name, value).hash() for name, value in OTHER.items()}
    assert len(hashes | plain) == len(OTHER) + 2
    # Settings of adapters are refused where there are none.
    language = of(task="understanding", analyses=(), recovery_tokens=500, lora_rank=2)
    hashes = {StudyConfig.of(None, **language.settings() | {name: value}).hash() for name, value in OF_LANGUAGE.items()}
    assert len(hashes | {language.hash()}) == len(OF_LANGUAGE) + 1
    images = of(task="images", data="/nowhere/mine", analyses=())
    hashes = {StudyConfig.of(None, **images.settings() | {name: value}).hash() for name, value in OF_IMAGES.items()}
    assert len(hashes | {images.hash()}) == len(OF_IMAGES) + 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lora_rank": 8}, "say with recovery_tokens on how many tokens"),
        ({"recovery_tokens": 100, "lora_learning_rate": 1e-3}, "say with lora_rank how large"),
        ({"recovery_tokens": 100, "lora_rank": -1}, "lora_rank must be 0 or more"),
        ({"recovery_tokens": 100, "lora_rank": 4, "lora_learning_rate": 0.0}, "lora_learning_rate must be above 0"),
    ],
)
def test_adapters_are_of_a_recovery(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TombolaError, match=message):
        of(task="understanding", analyses=(), **settings)


def test_adapters_without_their_library_are_refused_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "find_spec", lambda _: None)
    with pytest.raises(TombolaError, match=r"pip install 'tombola\[language\]'"):
        of(task="understanding", analyses=(), recovery_tokens=100, lora_rank=4)


def test_trust_is_of_the_call_alone(tmp_path: Path) -> None:
    given = of(trust_remote_code=True)
    assert given.trust_remote_code
    assert given.replaced(epochs=2).trust_remote_code
    assert given.hash() == of().hash()
    assert "trust_remote_code" not in given.settings()
    planted = {**of().settings(), "trust_remote_code": True}
    assert not StudyConfig.recorded(planted).trust_remote_code
    assert StudyConfig.recorded(planted, trust_remote_code=True).trust_remote_code
    file = tmp_path / "study.yaml"
    file.write_text("trust_remote_code: true\n")
    with pytest.raises(TombolaError, match="is no setting of a file; give --trust-remote-code each time"):
        StudyFile.read(file)
    file.write_text("epochs: 2\n")
    assert StudyFile.read(file, trust_remote_code=True).config.trust_remote_code


def test_what_is_asked_of_the_tickets_does_not_change_the_hash() -> None:
    every = of(analyses=("all",))
    assert every.analyses == tuple(name for name in ANALYSES if name not in ("text-generation", "random-curve"))
    assert every.hash() == of(analyses=()).hash() == of().hash() == of(at_chance="continue").hash()
    with pytest.raises(TombolaError, match="text generation is of language models; rotten-tomatoes judges models that"):
        of(analyses=("text-generation",))
    with pytest.raises(TombolaError, match="unknown analysis 'tarot'; known: survivors, attention, random-tickets"):
        of(analyses=("tarot",))


@pytest.mark.parametrize(
    ("name", "what"), [("controls", "control"), ("analyses", "analysis"), ("methods", "pruning method")]
)
def test_the_setting_of_an_unknown_name_is_named(name: str, what: str) -> None:
    with pytest.raises(TombolaError, match=f"^{name}: unknown {what} 'tarot'; known: "):
        of(**{name: ("tarot",)})


@pytest.mark.parametrize("settings", [{"search_rows": 5}, {"iterative": True, "methods": ("wanda",)}])
def test_a_setting_that_another_setting_switches_off_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(TombolaError, match=r"is for search_split train|full model each time: add --no-iterative"):
        of(**settings)


def test_the_metric_is_checked_before_anything_is_loaded() -> None:
    with pytest.raises(TombolaError, match="unknown metric 'nonsense'"):
        of(task="/nowhere/mine", metric="nonsense")


def test_the_hash_is_eight_hexadecimal_digits() -> None:
    hashes = {of().hash(), of(task="cola").hash()}
    assert all(len(value) == 8 and int(value, 16) >= 0 for value in hashes)


@pytest.mark.parametrize(
    "name", ["validation_file", "text_column", "text_pair_column", "label_column", "regression", "metric", "data"]
)
def test_a_setting_that_the_task_would_ignore_is_refused(name: str) -> None:
    with pytest.raises(TombolaError, match=name if name == "data" else f"{name} is for data of your own"):
        of(task="rotten-tomatoes", **{name: OTHER[name]})


def test_how_a_path_is_typed_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert len({of(model=model).hash() for model in ("m", "./m", str(tmp_path / "m"))}) == 1


def test_a_folder_that_is_called_like_a_task_is_not_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = of(task="cola").hash()
    (tmp_path / "cola").mkdir()
    (tmp_path / "cola" / "train.tsv").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert of(task="cola").hash() == before


def test_a_default_that_is_written_out_changes_nothing() -> None:
    for name, value in of().settings().items():
        given: Any = tuple(value) if isinstance(value, list) else value
        assert of(**{name: given}).hash() == of().hash()
    # A whole number for a share is the same number.
    assert StudyConfig.of("paper", max_grad_norm=1).hash() == StudyConfig.of("paper").hash()


def test_the_hash_stays_what_saved_studies_have() -> None:
    assert of().hash() == "44136fa3"
    assert of(task="cola", epochs=5, learning_rate=1e-4).hash() == "d3cf1ee1"


def test_the_order_of_settings_does_not_matter() -> None:
    names = list(TOGETHER)
    forward = of(**{name: TOGETHER[name] for name in names})
    backward = of(**{name: TOGETHER[name] for name in reversed(names)})
    assert forward == backward
    assert forward.hash() == backward.hash()


@pytest.mark.slow
def test_the_hash_is_the_same_in_another_process() -> None:
    code = "from tombola.study.config import StudyConfig; print(StudyConfig.of('quick', task='cola').hash())"
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.strip() == StudyConfig.of("quick", task="cola").hash()


@pytest.mark.parametrize("name", ["model", "task", "data", "validation_file"])
def test_the_content_of_local_files_is_in_the_hash(name: str, tmp_path: Path) -> None:
    def hashed() -> str:
        return with_setting(name, str(place)).hash()

    place = tmp_path / "rows"
    seen = [hashed()]
    place.mkdir()
    for path, content in (("a.tsv", "1"), ("a.tsv", "2"), ("b.tsv", "2"), ("deep/c.tsv", "2")):
        (place / path).parent.mkdir(exist_ok=True)
        (place / path).write_text(content)
        seen.append(hashed())
    (place / "b.tsv").rename(place / "d.tsv")
    seen.append(hashed())
    assert len(set(seen)) == len(seen)
    # Neither when it was written nor what is hidden.
    os.utime(place / "a.tsv", (1, 1))
    (place / ".cache").mkdir()
    (place / ".cache" / "lock").write_text("x")
    (place / ".hidden").write_text("x")
    assert hashed() == seen[-1]


def test_a_file_is_its_content_and_a_folder_is_not_confused_by_borders(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    hashes = set()
    for content in ("a", "b"):
        path.write_text(content)
        hashes.add(of(task=str(path)).hash())
    assert len(hashes) == 2
    folder = tmp_path / "data"
    folder.mkdir()
    for first, second in (("ab", "c"), ("a", "bc")):
        (folder / "a").write_text(first)
        (folder / "b").write_text(second)
        hashes.add(of(task="cola", data=str(folder)).hash())
    assert len(hashes) == 4


def test_a_local_folder_that_is_called_like_an_asset_is_hashed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = of(model="minilm").hash()
    (tmp_path / "minilm").mkdir()
    (tmp_path / "minilm" / "config.json").write_text("{}")
    assert of(model="minilm").hash() != before


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "rows.tsv").write_text("a")
    before = of(task="~/rows.tsv").hash()
    (tmp_path / "rows.tsv").write_text("b")
    assert of(task="~/rows.tsv").hash() != before


def test_seeds_are_no_part_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    hashes = set()
    for seeds in ("seeds: 3", "seeds: [0, 1]", "epochs: 1"):
        path.write_text(f"task: cola\n{seeds}\n")
        hashes.add(StudyFile.read(path).config.hash())
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        *(("seeds: 3", (3,)), ("seeds: [2, 0]", (2, 0)), ("seeds:", (0,)), ("epochs: 1", (0,))),
        *(("seeds: 0-3", (0, 1, 2, 3)), ("seeds: 7,0-1", (7, 0, 1))),
    ],
)
def test_seeds_are_read(text: str, seeds: object, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    assert StudyFile.read(path).seeds == seeds


def test_a_file_says_how_it_is_run(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("out: ~/there\nsave: none\nworkers: 2\n")
    found = StudyFile.read(path)
    assert (found.out, found.save, found.workers) == (Path.home() / "there", "none", 2)
    assert found.config == StudyConfig.of("quick")
    path.write_text("epochs: 1\nworkers: auto\n")
    found = StudyFile.read(path)
    assert (found.out, found.save, found.workers) == (None, None, "auto")


def test_a_list_is_one_of_yaml_or_comma_text(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    texts = (
        "methods: [weights, wanda-2of4]\ncontrols: [random, layer-matched, bad]\nsparsities: [0.2, 0.5]\nanalyses: []",
        "methods: weights, wanda-2:4\ncontrols: all\nsparsities: 0.2,0.5\nanalyses: none\ntrain_rows: none",
    )
    found = []
    for text in texts:
        path.write_text(text)
        found.append(StudyFile.read(path, "full").config)
    assert found[0] == found[1]
    assert found[1].search.sparsities == (0.2, 0.5)


def test_a_file_is_a_preset_and_what_differs_and_the_call_goes_before_it(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        "preset: paper\ntask: cola\nlearning_rate: 2e-5\nmax_grad_norm: 1\n"
        "methods: [weights]\nrefine: false\n"
        "train_rows: null\n"
    )
    config = StudyFile.read(path).config
    assert config == StudyConfig.of("paper", task="cola", methods=("weights",), refine=False)
    assert (config.recipe.epochs, config.train_rows, config.search.weights_cuts) == (3, None, 30)
    assert (type(config.recipe.learning_rate), type(config.recipe.max_grad_norm)) == (float, float)
    assert StudyFile.read(path, "quick").config.recipe.epochs == PRESETS["quick"]["epochs"] == 1
    assert StudyFile.read(path, task="sst2", epochs=7).config == StudyConfig.of(
        "paper", task="sst2", epochs=7, methods=["weights"], refine=False
    )


def test_without_a_preset_a_file_is_quick(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("dev_rows: 100")
    assert StudyFile.read(path).config == StudyConfig.of("quick", dev_rows=100)
    assert StudyConfig.of("quick").train_rows == 6000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "just words",
        "a: [",
        "tabs:\n\t- a",
        "epoch: 3",
        "1: 2",
        "epochs: 2.5",
        "epochs: true",
        "epochs: '3'",
        "learning_rate: fast",
        "learning_rate: .nan",
        "learning_rate: .inf",
        "learning_rate: 0",
        "weight_decay: -1",
        "warmup_ratio: 3",
        "max_grad_norm: 0",
        "epochs: 0",
        "refine: 'no'",
        "task: [cola, sst2]",
        "task: 3",
        "model: null",
        "methods: []",
        "methods: [rows]",
        "methods: [weights, weights]",
        "preset: huge",
        "preset: [quick]",
        "search_split: test",
        "rewind: back",
        "rewind: step-0",
        "threshold: 0",
        "threshold: 2",
        "train_rows: 0",
        "max_length: -1",
        "eval_batch_size: 0",
        "bootstrap_resamples: 0",
        "seeds: [a]",
        "seeds: 1.5",
        "seeds: true",
        "seeds: []",
    ],
)
def test_a_bad_file_is_one_clear_line_that_names_it(text: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(TombolaError, match=r"study\.yaml") as caught:
        StudyFile.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a: \x00"])
def test_a_file_that_is_no_text_is_one_clear_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    for place in (path, tmp_path, tmp_path / "nowhere"):
        with pytest.raises(TombolaError) as caught:
            StudyFile.read(place)
        assert "\n" not in str(caught.value)
        assert str(place) in str(caught.value)


def test_the_unknown_setting_and_the_known_ones_are_named() -> None:
    with pytest.raises(TombolaError, match=r"'epoch'.*epochs"):
        StudyConfig.of(epoch=3)


def test_the_parts_have_the_configurations_values() -> None:
    config = of(**TOGETHER)
    assert config.search_options == SearchOptions(
        **{one.name: OTHER[one.name] for one in setting_fields(SearchOptions)}
    )
    assert config.recipe == Recipe(**{one.name: OTHER[one.name] for one in setting_fields(Recipe)})
    assert str(config.rewinding) == "step-10"
    assert of().search_options == SearchOptions()
    assert of().recipe == Recipe()
    with pytest.raises(FrozenInstanceError):
        config.rewind = "init"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("model", "task", "name"),
    [
        ("minilm", "cola", "minilm-cola"),
        ("google/bert_uncased_L-2", "/a/my rows.tsv", "bert_uncased_L-2-my-rows.tsv"),
        ("/a/b/", "..", "b-study"),
        (".", "ü/ö", "model-ö"),
        (".hidden", "con", "hidden-_con"),
        ("m", "a " * 300, f"m-{'a-' * 39}a"),
    ],
)
def test_a_name_is_one_plain_part_of_a_path(model: str, task: str, name: str) -> None:
    assert of(model=model, task=task).name == name


def test_settings_make_the_configuration_again() -> None:
    config = of(**TOGETHER)
    assert StudyConfig.of("quick", **config.settings()) == config


def test_regimes_name_tasks_presets_and_analyses_that_there_are() -> None:
    names = named_tasks()
    assert len(names) == len(set(names)) > 10
    assert all(regime_of(name) is regime for regime in regimes() for name in regime.tasks)
    assert regime_of("/nowhere/mine") is regimes()[0]
    for regime in regimes():
        assert {*regime.unfit} <= {*ANALYSES}
        for task in regime.tasks:
            assert {"quick", "paper"} == {*regime.presets_of(task)} - {"full"}
            needs: dict[str, Any] = {"data": "/nowhere"} if task == "images" else {}
            assert all(StudyConfig.of(name, task=task, **needs).task == task for name in ("quick", "full", "paper"))


def test_regimes_and_their_settings_load_without_pytorch() -> None:
    code = (
        "import sys; from tombola.tasks.registry import regimes; regimes();"
        "print(*{'torch', 'diffusers', 'transformers', 'datasets'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_the_schema_takes_what_the_configuration_takes_and_refuses_what_it_refuses() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    valid = jsonschema.Draft202012Validator(schema).is_valid
    for settings in (TOGETHER, OF_LANGUAGE, OF_IMAGES, {"preset": "paper", "seeds": [0, 1]}, {"seeds": 3}):
        assert valid(json.loads(json.dumps(dict(settings))))
    assert {*schema["properties"]} == {*OTHER, *OF_LANGUAGE, *OF_IMAGES, "analyses", "at_chance", *RUN}
    for name, value in (
        *(("epochs", 0), ("epochs", "3"), ("epoch", 3), ("threshold", 0), ("threshold", 2), ("sparsities", [1])),
        *(("search_split", "test"), ("methods", "rows"), ("refine", "no"), ("seeds", -1), ("preset", "huge")),
        *(("learning_rate", 0), ("train_rows", 0), ("weights_step", 1)),
    ):
        assert not valid({name: value}), name
        assert schema["properties"].get(name, {"description": ""})["description"] or name == "epoch"


# One setting of a file that may stand there, or may not; what depends on another setting is not the schema's.
GOOD = """
epochs: 2
epochs: 2.0
learning_rate: 1.0e-5
learning_rate: 1
weight_decay: 0
warmup_ratio: 0
warmup_ratio: 1
threshold: 1
train_rows: null
train_rows: 10
max_length: 64
search_split: train
methods: [weights]
methods: ["wanda-2:4", magnitude-4of8, heads+mlps]
methods: ["wanda-3:4", random-1of8]
methods: weights, wanda-1:4
controls: []
controls: [bad]
analyses: []
analyses: [all]
analyses: [survivors]
iterative: true
rewind: final
rewind: step-10
precision: bf16
sparsities: []
sparsities: [0.2, 0.5]
curve_until: null
normalise_layers: false
mlps_step: 0
seeds: 3
seeds: [0, 1]
seeds:
preset: paper
preset: null
bootstrap_resamples: 10
methods: weights
methods: heads+mlps, weights , wanda-2:4
controls: bad
controls: none
controls: all
controls: [all]
analyses: all
analyses: none
analyses: survivors,attention
sparsities: 0.5
sparsities: 0.2,0.5
sparsities: none
train_rows: none
normalise_layers: none
curve_until: none
seeds: 0,1
seeds: 0-4
seeds: "0, 2-4"
out: runs
out:
save: none
save: all
workers: auto
workers: 2
"""
BAD = """
trust_remote_code: true
epochs: 0
epochs: 2.5
epochs: true
epochs: '3'
epochs: null
epoch: 3
learning_rate: 0
learning_rate: fast
learning_rate: '1'
learning_rate: ' 0.5 '
learning_rate: '1_000'
curve_until: '0.5'
sparsities: ['0.5']
weight_decay: -1
warmup_ratio: 2
threshold: 0
threshold: 2
train_rows: 0
train_rows: '10'
search_split: test
methods: []
methods: [rows]
methods: [weights, weights]
methods: ["wanda-0:4"]
controls: [good]
analyses: [nonsense]
analyses: [all, survivors]
iterative: 'no'
rewind: back
rewind: step-0
rewind: step
rewind: true
precision: fp8
sparsities: [1]
sparsities: [0.5, 0.5]
weights_step: 1
curve_until: 0
normalise_layers: auto
model: null
task: [cola]
seeds: []
seeds: -1
seeds: [0, -1]
seeds: [1, 1]
seeds: [a]
seeds: true
seeds: 1.5
preset: huge
retain: 0
methods: none
methods: weights wanda
methods: rows,weights
controls: good,bad
analyses: all,survivors
sparsities: low
sparsities: true
max_length: none
refine: none
seeds: none
seeds: 0-
seeds: a-b
out: 3
save: some
save: [all]
workers: 0
workers: many
workers: true
"""


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json_schema())


@pytest.mark.parametrize(
    ("text", "good"),
    [(line, good) for lines, good in ((GOOD, True), (BAD, False)) for line in lines.strip().splitlines()],
)
def test_the_schema_and_the_reader_agree_on_a_file(
    text: str, good: bool, schema: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    assert schema.is_valid(yaml.safe_load(text)) == good
    path = tmp_path / "study.yaml"
    path.write_text(text)
    needs: dict[str, Any] = {"sparsities": (0.2,)} if text == "analyses: [all]" else {}
    try:
        StudyFile.read(path, **needs)
    except TombolaError:
        assert not good
    else:
        assert good


def test_a_setting_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("epochs: 1\nseeds: 0\nepochs: 2\n")
    with pytest.raises(TombolaError, match=r"study\.yaml.*line 3 gives epochs again; give it once"):
        StudyFile.read(path)


@pytest.mark.parametrize("text", ["2e-5", "1E-3", "+2.e-5", ".5e0"])
def test_a_number_with_an_exponent_is_one_in_a_file_too(text: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"learning_rate: {text}")
    assert StudyFile.read(path).config.recipe.learning_rate == float(text)


def test_the_schema_has_examples_that_it_takes_and_no_defaults_that_depend_on_the_task() -> None:
    schema = json_schema()
    assert [name for name, one in schema["properties"].items() if "default" in one] == ["preset"]
    for name, one in schema["properties"].items():
        for example in one.get("examples", ()):
            jsonschema.validate({name: example}, schema)
    assert schema["properties"]["data"]["description"].endswith("instead of the hub; or folder of your images")
    assert schema["properties"]["methods"]["examples"] == [["heads+mlps", "weights"]]


def test_images_need_a_folder_and_only_they_have_a_size_a_space_and_a_pipeline() -> None:
    with pytest.raises(TombolaError, match="needs the folder of your images"):
        of(task="images", analyses=())
    for name, value in OF_IMAGES.items():
        for task, owner in (("sst2", r"denoisers \(the tasks digits and images\)"), ("digits", "the task images")):
            with pytest.raises(TombolaError, match=f"{name} is for {owner}, not for '{task}'"):
                of(task=task, analyses=(), **{name: value})
    with pytest.raises(TombolaError, match="image_size must be 1 or more"):
        of(task="images", data="mine", image_size=0, analyses=())
    assert StudyConfig.of("quick", task="images", data="mine").precision == "fp32"


def test_the_preset_paper_is_what_its_authors_ran(tmp_path: Path) -> None:
    for task in ("cola", "stsb", "rotten-tomatoes"):
        found = StudyConfig.of("paper", task=task)
        recipe = found.recipe
        assert (recipe.warmup_ratio, recipe.weight_decay, recipe.learning_rate, recipe.epochs) == (0, 0, 2e-5, 3)
        assert (recipe.batch_size, found.max_length, found.precision, found.train_rows) == (32, 128, "fp32", None)
        assert (found.search.weights_step, found.search.weights_cuts) == (0.05, 30)
    file = tmp_path / "study.yaml"
    for text, preset, seeds in (
        ("preset: paper\ntask: cola", None, (1337, 42, 86, 71, 166)),
        ("task: cola", "paper", (1337, 42, 86, 71, 166)),
        ("preset: paper\nseeds: [3]", None, (3,)),
        ("preset: paper", "quick", (0,)),
        ("task: understanding\nmodel: smollm2", "paper", (0,)),
        ("task: cola", None, (0,)),
        ("task: cola", "full", (0,)),
    ):
        file.write_text(text)
        assert StudyFile.read(file, preset).seeds == seeds


def test_bad_sites_are_drawn_one_by_one_or_not_at_all() -> None:
    with pytest.raises(TombolaError, match="bad_draw pruned draws site by site, and layers prunes groups"):
        of(methods=("layers",), bad_draw="pruned")
    assert of(methods=("heads+mlps", "weights"), bad_draw="pruned").bad_draw == "pruned"


def test_a_search_goes_by_a_metric_of_its_own_on_any_task() -> None:
    assert of(task="stsb", search_metric="pearson_spearman").hash() != of(task="stsb").hash()
    with pytest.raises(TombolaError, match="unknown metric 'corr'"):
        of(task="stsb", search_metric="corr")
