"""Models that accelerate dispatched over devices (`device_map`) beside the same ones in one piece."""

from pathlib import Path

import pytest
import torch
from accelerate import dispatch_model
from torch import nn
from transformers import LlamaForCausalLM

import tombola
from builders import language_models
from tombola.subnetworks.subnetwork import masked, shrunk
from tombola.training.loop import retrain

PARTS = ("model.embed_tokens", *(f"model.layers.{n}" for n in range(3)), "model.norm", "model.rotary_emb", "lm_head")


def plain() -> LlamaForCausalLM:
    model: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(language_models.checkpoint()).eval()
    return model


def dispatched(folder: Path) -> nn.Module:
    """The first tensors and others are read from the disk for each pass."""
    places = {part: ("disk", "cpu")[number % 2] for number, part in enumerate(PARTS)}
    model: nn.Module = LlamaForCausalLM.from_pretrained(
        language_models.checkpoint(), device_map=places, offload_folder=str(folder)
    ).eval()
    assert next(model.parameters()).is_meta
    return model


def test_an_offloaded_model_has_the_scores_and_importance_of_the_whole(tmp_path: Path) -> None:
    task = language_models.task()
    one, other = (
        tombola.score(model, task, importance=True) for model in (plain(), dispatched(tmp_path / "offloaded"))
    )
    assert one.score == other.score
    assert one.importance is not None
    assert other.importance is not None
    for kind, ranked in one.importance.sites.items():
        assert torch.equal(other.importance[kind], ranked)


def test_what_changes_weights_refuses_an_offloaded_model(tmp_path: Path) -> None:
    model, task = dispatched(tmp_path / "offloaded"), language_models.task()
    ticket = tombola.one_shot(model, task, 0.5)
    for change in (lambda: shrunk(model, ticket), lambda: tombola.train(model, task)):
        with pytest.raises(tombola.TombolaError, match=r"^model\.embed_tokens is offloaded \(device_map\).* load "):
            change()


def test_a_model_with_hooks_is_cut_and_trained_like_one_without() -> None:
    task, whole = language_models.task(), plain()
    hooked = dispatch_model(plain(), dict.fromkeys(PARTS, "cpu"), main_device="cpu", force_hooks=True)
    ticket, inputs = tombola.one_shot(whole, task, 0.5), torch.randint(5, 40, (2, 9))
    for cut in (masked, shrunk):
        one, other = (cut(model, ticket).model for model in (whole, hooked))
        assert torch.equal(one(inputs).logits, other(inputs).logits)
    recipe = tombola.Recipe(epochs=1)
    one, other = (retrain(model, ticket, task, recipe).model for model in (whole, hooked))
    assert torch.equal(one(inputs).logits, other(inputs).logits)
    assert not torch.equal(one(inputs).logits, shrunk(whole, ticket).model(inputs).logits)
