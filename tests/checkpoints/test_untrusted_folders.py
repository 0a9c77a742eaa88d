"""Code and pickles that come with a model are neither run nor opened, whatever opens its folder."""

import ast
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler

import tombola
from builders import language_models
from builders.encoders import classifier, rows, tokenizer
from builders.ticket_trees import tree
from builders.unets import unet
from tombola.architectures.dissect import dissect
from tombola.checkpoints import denoisers
from tombola.checkpoints.checkpoint import save_shrunk
from tombola.checkpoints.loading import load_model, outline, tokenizer_of
from tombola.checkpoints.model_libraries import TRANSFORMERS, load_any
from tombola.cli import main
from tombola.foundations.errors import TombolaError
from tombola.tasks.fine_tuned.text_classification import TextTask
from tombola.tickets.ticket import Ticket

TASK = TextTask.from_rows(rows(60, 1), rows(40, 2), tokenizer())
LANGUAGE_TASK = language_models.task()
AUTO = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification", "AutoTokenizer")


class Evil:
    """Value that makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


OPENED: dict[str, Callable[[str], Any]] = {
    "a model": load_model,
    "any model": load_any,
    "its class": lambda source: TRANSFORMERS.class_of(Path(source)),
    "an outline": outline,
    "its tokenizer": tokenizer_of,
    "to fine-tune": lambda source: TASK.load(source, seed=0),
    "anew": lambda source: TASK.load(source, seed=0, state="init"),
    "a language model": lambda source: LANGUAGE_TASK.load(source, seed=0),
    "fine-tuned": lambda source: TASK.load(source, seed=0, state="trained"),
}
WEIGHTS = ("a model", "any model", "to fine-tune", "fine-tuned")


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File that is there once code of a folder ran; on the terminal, somebody says yes to everything."""
    asked = tmp_path / "asked"

    def yes(*_: object) -> str:
        asked.touch()
        return "y"

    monkeypatch.setattr("builtins.input", yes)
    return tmp_path / "ran"


def with_code(folder: Path, ran: Path) -> str:
    """A model folder of a type that only its own code knows."""
    classifier(dtype=torch.float32).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    for name in ("config.json", "tokenizer_config.json"):
        facts = json.loads((folder / name).read_text())
        named = {one: "evil.Evil" if one != "AutoTokenizer" else ["evil.Evil", "evil.Evil"] for one in AUTO}
        changed = {**facts, "model_type": "evil", "auto_map": named, "tokenizer_class": "Evil"}
        (folder / name).write_text(json.dumps(changed))
    code = f"open({str(ran)!r}, 'w')\nclass Evil: pass\n"
    (folder / "evil.py").write_text(code)
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(code)
    return str(folder)


@pytest.mark.parametrize("opened", list(OPENED))
def test_code_is_neither_run_nor_offered(opened: str, ran: Path, tmp_path: Path) -> None:
    source = with_code(tmp_path / "model", ran)
    with pytest.raises(TombolaError) as caught:
        OPENED[opened](source)
    assert "\n" not in str(caught.value)
    assert not ran.exists()
    assert not (tmp_path / "asked").exists()


def test_masks_are_imported_without_code(ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree(tmp_path / "in", {"CoLA": ["0"]})
    source = with_code(tmp_path / "model", ran)
    assert main(["import-masks", str(tmp_path / "in"), "--model", source, "--out", str(tmp_path / "out")]) == 2
    assert "custom code" in capsys.readouterr().err
    assert not ran.exists()
    assert not (tmp_path / "asked").exists()


def pickled(folder: Path, ran: Path, *, indexed: bool) -> str:
    """A model folder whose weights are an evil pickle; `indexed`: an index of safetensors leads to it."""
    classifier(dtype=torch.float32).save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    name = "model-1.bin" if indexed else "pytorch_model.bin"
    torch.save({"bert.pooler.dense.bias": Evil(ran)}, folder / name, pickle_module=pickle)
    if indexed:
        shards = {"metadata": {}, "weight_map": {"bert.pooler.dense.bias": name}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(shards))
    return str(folder)


def cached(folder: Path, name: str, cache: Path) -> str:
    """Lay a folder into the hub's cache, as if it had been downloaded as `name`."""
    place = cache / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, place / "snapshots" / ("0" * 40))
    return name


@pytest.mark.parametrize("opened", WEIGHTS)
def test_an_index_of_a_hub_id_that_leads_to_a_pickle(
    opened: str, ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickled(tmp_path / "model", ran, indexed=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    source = cached(tmp_path / "model", "someone/model", tmp_path / "cache")
    monkeypatch.setattr("torch._weights_only_unpickler.load", lambda *_, **__: pytest.fail("an unpickler saw it"))
    with pytest.raises(TombolaError, match=r"someone/model holds weights as a pickle \(model-1\.bin\)") as caught:
        OPENED[opened](source)
    assert "\n" not in str(caught.value)
    assert not ran.exists()


def test_an_index_of_pickles_alone(ran: Path, tmp_path: Path) -> None:
    pickled(tmp_path / "model", ran, indexed=True)
    (tmp_path / "model" / "model.safetensors.index.json").rename(tmp_path / "model" / "pytorch_model.bin.index.json")
    for opened in WEIGHTS:
        with pytest.raises(TombolaError, match=r"as a pickle \(model-1\.bin\)"):
            OPENED[opened](str(tmp_path / "model"))
    (tmp_path / "model" / "model-1.bin").unlink()
    with pytest.raises(TombolaError, match=r"as a pickle \(pytorch_model\.bin\.index\.json\)"):
        load_model(str(tmp_path / "model"))
    assert not ran.exists()


@pytest.mark.parametrize("shard", ["../model.safetensors", "{folder}/model.safetensors"])
def test_an_index_that_leads_out_of_its_folder(shard: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    classifier(dtype=torch.float32).save_pretrained(model)
    (model / "model.safetensors").rename(tmp_path / "model.safetensors")
    shards = {"metadata": {}, "weight_map": {"bert.pooler.dense.bias": shard.format(folder=tmp_path)}}
    (model / "model.safetensors.index.json").write_text(json.dumps(shards))
    with pytest.raises(TombolaError, match="leads out of its folder"):
        load_model(str(model))


@pytest.mark.parametrize("hub", [False, True])
def test_an_index_of_a_denoiser_that_leads_to_a_pickle(
    hub: bool, ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "unet"
    model: Any = unet(torch.float32)
    model.save_pretrained(folder)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    shards = {"metadata": {"total_size": 8}, "weight_map": {"conv_in.bias": "weights-1.bin"}}
    torch.save({"conv_in.bias": Evil(ran)}, folder / "weights-1.bin", pickle_module=pickle)
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(shards))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("torch._weights_only_unpickler.load", lambda *_, **__: pytest.fail("an unpickler saw it"))
    source = cached(folder, "someone/unet", tmp_path / "cache") if hub else str(folder)
    with pytest.raises(TombolaError) as caught:
        denoisers.load(source)
    assert "\n" not in str(caught.value)
    if not hub:
        assert "as a pickle (weights-1.bin)" in str(caught.value)
    assert not ran.exists()


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("opened", WEIGHTS)
def test_pickles_are_refused_before_they_are_opened(
    opened: str, indexed: bool, ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = pickled(tmp_path / "model", ran, indexed=indexed)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("an unpickler saw it"))
    with pytest.raises(TombolaError, match=r"as a pickle \((model-1|pytorch_model)\.bin\), which"):
        OPENED[opened](source)
    assert not ran.exists()


def test_pickles_of_a_denoiser_are_refused(ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = unet()
    model.save_pretrained(tmp_path / "model")
    weights = tmp_path / "model" / "diffusion_pytorch_model.safetensors"
    torch.save({"conv_in.bias": Evil(ran)}, weights.with_suffix(".bin"), pickle_module=pickle)
    weights.unlink()
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("an unpickler saw it"))
    for index in (False, True):
        if index:
            shards = {"metadata": {}, "weight_map": {"conv_in.bias": "diffusion_pytorch_model.bin"}}
            Path(f"{weights}.index.json").write_text(json.dumps(shards))
        with pytest.raises(TombolaError, match=r"as a pickle \(diffusion_pytorch_model\.bin\)"):
            denoisers.load(str(tmp_path / "model"))
    assert not ran.exists()


@pytest.mark.parametrize("named", [{"_class_name": ["evil", "Evil"]}, {"scheduler": ["evil", "Evil"]}])
def test_code_of_a_pipeline_is_not_run(named: dict[str, Any], ran: Path, tmp_path: Path) -> None:
    model: Any = unet(dtype=torch.float32)
    folder = tmp_path / "pipeline"
    DDPMPipeline(model, DDPMScheduler()).save_pretrained(folder)
    shutil.rmtree(folder / "unet")
    save_shrunk(model, Ticket.full(dissect(model), "heads"), folder / "unet", force=True)
    for place in (folder, folder / "unet", folder / "scheduler"):
        (place / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Evil: pass\n")
    index = folder / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), **named}))
    with pytest.raises(TombolaError, match="custom code"):
        tombola.load(folder)
    assert not ran.exists()
    assert not (tmp_path / "asked").exists()


def test_every_call_of_an_automatic_class_says_whether_code_may_run() -> None:
    silent = []
    for path in sorted(Path(tombola.__file__).parent.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
                continue
            receiver = ast.unparse(call.func.value)
            automatic = receiver.startswith(("Auto", "auto", "DiffusionPipeline")) and receiver != "AutoencoderKL"
            if call.func.attr in ("from_pretrained", "from_config") and automatic:
                said = [one.arg for one in call.keywords]
                # Options that are passed on as they are have it too, which the tests above see.
                if "trust_remote_code" not in said and None not in said:
                    silent.append(f"{path.name}:{call.lineno}")
    assert silent == []
