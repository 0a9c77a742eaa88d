"""A shrunk model is loaded and saved again: by hand, by a trainer, in a pipeline; never two models in one folder."""

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer, TrainingArguments

import tombola
from builders.encoders import rows, some_weights, tokenizer
from builders.families import ZOO, tickets
from builders.unets import denoised, unet
from tombola.architectures.denoisers import class_of_denoiser
from tombola.architectures.dissect import dissect
from tombola.checkpoints.shrunk_folder import TENSORS
from tombola.foundations.errors import TombolaError
from tombola.tickets.ticket import Ticket

KINDS = ("sites", "weights")


def shrunk_bert(folder: Path, kind: str) -> Any:
    model = ZOO["bert"].make(dtype=torch.float32)
    tombola.save_shrunk(model, ticket_of(model, kind), folder)
    tokenizer().save_pretrained(folder)
    return tombola.load(folder)


def ticket_of(model: torch.nn.Module, kind: str) -> Ticket:
    return some_weights(model, 0) if kind == "weights" else tickets(model)["single heads"]


def trained(model: Any, steps: int = 3) -> Any:
    """The model after some steps with an optimizer that has momentum and decay."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    given = ZOO["bert"].given(padded=True)
    for _ in range(steps):
        model(**given).logits.square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


HOW: dict[str, Callable[[Any, Path], object]] = {
    "save": tombola.save,
    "save_pretrained": lambda model, folder: model.save_pretrained(folder),
}


@pytest.mark.parametrize("how", list(HOW))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("into", ["its own", "another"])
def test_what_was_trained_is_what_is_loaded_again(into: str, kind: str, how: str, tmp_path: Path) -> None:
    model = trained(shrunk_bert(tmp_path / "first", kind))
    folder = tmp_path / ("first" if into == "its own" else "second")
    HOW[how](model, folder)
    again = tombola.load(folder)
    assert same(again, model)
    assert Ticket.load(folder) == Ticket.load(tmp_path / "first")
    # And so on.
    HOW[how](trained(again), folder)
    assert same(tombola.load(folder), again)
    assert not same(again, model)
    if into == "its own":
        assert (folder / "tokenizer.json").is_file()
    assert not list(tmp_path.glob(".*"))


def test_what_a_ticket_pruned_stays_zero_while_it_is_trained(tmp_path: Path) -> None:
    model = trained(shrunk_bert(tmp_path / "first", "weights"))
    ticket = Ticket.load(tmp_path / "first")
    for matrix in dissect(model).matrices:
        values = model.get_parameter(matrix.parameter)
        assert not values[~ticket.masks[matrix.name]].any()
        assert values[ticket.masks[matrix.name]].any()


@pytest.mark.parametrize("how", list(HOW))
def test_weights_that_grew_again_are_another_model(how: str, tmp_path: Path) -> None:
    model = shrunk_bert(tmp_path / "first", "weights")
    with torch.no_grad():
        model.get_parameter(dissect(model).matrices[0].parameter).add_(1)
    with pytest.raises(TombolaError, match="pruned and that are not zero any more"):
        HOW[how](model, tmp_path / "second")
    assert not (tmp_path / "second").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_trainer_saves_loads_and_goes_on(kind: str, tmp_path: Path) -> None:
    model = shrunk_bert(tmp_path / "first", kind)
    encoder = tokenizer()
    texts = [{**encoder(row["text"]), "labels": int(row["label"] == "good")} for row in rows(32, 0)]
    options: dict[str, Any] = {
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "save_steps": 2,
        "logging_steps": 1,
    }
    arguments = TrainingArguments(str(tmp_path / "run"), num_train_epochs=1, per_device_train_batch_size=8, **options)
    trainer = Trainer(model, arguments, train_dataset=texts, processing_class=encoder)
    trainer.train()
    trainer.save_model(str(tmp_path / "out"))
    assert same(tombola.load(tmp_path / "out"), model)
    checkpoint = tmp_path / "run" / "checkpoint-2"
    halfway = tombola.load(checkpoint)
    assert not same(halfway, model)
    fresh = tombola.load(tmp_path / "first")
    resumed = Trainer(fresh, arguments, train_dataset=texts, processing_class=encoder)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert same(fresh, model)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ZOO)
def test_every_family_is_saved_again(name: str, tmp_path: Path) -> None:
    model = ZOO[name].make(dtype=torch.float32)
    for number, kind in enumerate(KINDS):
        first = tmp_path / str(number)
        tombola.save_shrunk(model, ticket_of(model, kind), first)
        loaded: Any = tombola.load(first)
        for how in HOW.values():
            how(loaded, tmp_path / f"{number}-{how}")
            assert same(tombola.load(tmp_path / f"{number}-{how}"), loaded)


def test_a_folder_with_two_models_is_refused(tmp_path: Path) -> None:
    model = shrunk_bert(tmp_path / "first", "sites")
    # As one who goes round the model's own method.
    type(model).save_pretrained(trained(model), tmp_path / "first")
    with pytest.raises(TombolaError, match=r"holds two models: the shrunk one, and model.safetensors beside it"):
        tombola.load(tmp_path / "first")


def test_another_model_is_not_saved_over_a_shrunk_one(tmp_path: Path) -> None:
    shrunk_bert(tmp_path / "first", "sites")
    with pytest.raises(TombolaError, match="holds a shrunk model, and this one is not it"):
        tombola.save(ZOO["bert"].make(dtype=torch.float32), tmp_path / "first")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(TombolaError, match="exists already"):
        tombola.save(tombola.load(tmp_path / "first"), tmp_path / "full")


def test_whole_models_are_saved_for_their_own_library(tmp_path: Path) -> None:
    model = ZOO["bert"].make(dtype=torch.float32)
    tombola.save(model, tmp_path / "whole")
    assert same(type(model).from_pretrained(tmp_path / "whole"), model)


def test_a_configuration_that_was_changed_is_found(tmp_path: Path) -> None:
    shrunk_bert(tmp_path / "first", "sites")
    path = tmp_path / "first" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hidden_act": "relu"}))
    with pytest.raises(TombolaError, match=r"config.json is not the file that was written"):
        tombola.load(tmp_path / "first")


def test_what_would_not_be_openable_is_refused(tmp_path: Path) -> None:
    model = shrunk_bert(tmp_path / "first", "sites")
    for options in ({"push_to_hub": True}, {"safe_serialization": False}):
        with pytest.raises(TombolaError):
            model.save_pretrained(tmp_path / "second", **options)
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize("how", list(HOW))
@pytest.mark.parametrize("made", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_saved_as_itself(made: Callable[[Any], Any], how: str, tmp_path: Path) -> None:
    model = shrunk_bert(tmp_path / "first", "sites")
    other = trained(made(model))
    HOW[how](other, tmp_path / "second")
    assert same(tombola.load(tmp_path / "second"), other)
    assert not same(model, other)


@pytest.mark.parametrize("how", list(HOW))
def test_denoisers_and_their_pipelines(how: str, tmp_path: Path) -> None:
    from diffusers import DDPMPipeline, DDPMScheduler

    model = unet(dtype=torch.float32)
    assert class_of_denoiser(model).part == "unet"
    anatomy = dissect(model)
    ticket = Ticket.full(anatomy, "heads").without({"heads": [[0, 1], [2, 3]]})
    tombola.save_shrunk(model, ticket, tmp_path / "small", force=True)
    small: Any = tombola.load(tmp_path / "small")
    with torch.no_grad():
        small.conv_in.weight.add_(0.1)
    HOW[how](small, tmp_path / "small")
    assert torch.equal(denoised(tombola.load(tmp_path / "small")), denoised(small))
    pipeline = DDPMPipeline(unet=small, scheduler=DDPMScheduler(num_train_timesteps=4))
    HOW[how](pipeline, tmp_path / "pipeline")
    again: Any = tombola.load(tmp_path / "pipeline")
    assert isinstance(again, DDPMPipeline)
    drawn = [
        one(generator=torch.Generator().manual_seed(0), num_inference_steps=2, output_type="np").images
        for one in (pipeline, again)
    ]
    assert (drawn[0] == drawn[1]).all()
    assert TENSORS not in {path.name for path in (tmp_path / "pipeline" / "unet").iterdir()}
    state = load_file(tmp_path / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors")
    assert state["conv_in.weight"].equal(small.conv_in.weight)
