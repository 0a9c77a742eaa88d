"""Unknown architectures: taken for a relative only where a check on the model itself says so."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import BertForSequenceClassification, PreTrainedModel

from builders.encoders import inputs, randomise
from builders.families import GROUPED, NO_TOKENS, POSITIONS, SIZES, ZOO, computed, tickets
from tombola.architectures.families import FAMILIES, register, unregister
from tombola.checkpoints.checkpoint import load, save_shrunk
from tombola.checkpoints.loading import load_model
from tombola.foundations.errors import TombolaError
from tombola.subnetworks.recognition import recognise
from tombola.subnetworks.subnetwork import masked, shrunk

# Type → (classes, options, the known type that it is built like).
RELATIVES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "xlm-roberta": ("XLMRobertaConfig", "XLMRobertaForSequenceClassification", SIZES | POSITIONS, "bert"),
    "olmo": ("OlmoConfig", "OlmoForCausalLM", GROUPED | NO_TOKENS | POSITIONS, "llama"),
    "exaone4": ("Exaone4Config", "Exaone4ForCausalLM", GROUPED | NO_TOKENS | POSITIONS, "gemma2"),
}
STRANGERS = {
    "mixtral": ("MixtralConfig", "MixtralForCausalLM", "like those of none that is known"),
    "diffllama": ("DiffLlamaConfig", "DiffLlamaForCausalLM", r"look like llama's, but cut models do not run"),
}


def make(config: str, kind: str, options: dict[str, Any]) -> PreTrainedModel:
    torch.manual_seed(0)
    model = getattr(transformers, kind)(getattr(transformers, config)(**options))
    randomise(model, 0.2)
    assert isinstance(model, PreTrainedModel)
    model.eval()
    return model


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test adds to the table goes with it."""
    before = set(FAMILIES)
    yield
    for added in set(FAMILIES) - before:
        unregister(added)


@pytest.mark.parametrize("name", RELATIVES)
def test_a_relative_is_recognised_and_said_to_be_one(name: str, tmp_path: Path) -> None:
    config, kind, options, like = RELATIVES[name]
    model = make(config, kind, options)
    model.save_pretrained(tmp_path / "whole")
    with pytest.warns(UserWarning, match=f"'{name}' is not in the table of families, but is built like {like}"):
        loaded = load_model(str(tmp_path / "whole"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert recognise(loaded) is None
    given = inputs(padded=True, batch=3, length=7)
    for title, ticket in tickets(model).items():
        found = computed(shrunk(model, ticket), given)
        torch.testing.assert_close(found, computed(masked(model, ticket), given), rtol=1e-4, atol=1e-4, msg=title)
    # Where it is loaded, the type is as unknown as it was here.
    save_shrunk(model, ticket, tmp_path / "small")
    unregister(name)
    torch.testing.assert_close(computed(load(tmp_path / "small"), given), found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_is_refused_with_a_line_that_says_why_and_what_to_do(name: str) -> None:
    config, kind, why = STRANGERS[name]
    model = make(config, kind, GROUPED | NO_TOKENS | POSITIONS)
    with pytest.raises(TombolaError, match=rf"unknown architecture '{name}'.*{why}.*families.register") as caught:
        recognise(model)
    assert "\n" not in str(caught.value)
    assert name not in FAMILIES


class Scaled(nn.Module):
    """An attention whose heads are multiplied by their position among those that are there."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        for name, child in attention.named_children():
            self.add_module(name, child)
        self._inner = [attention]
        self.attention_head_size = attention.attention_head_size

    def forward(self, *args: Any, **options: Any) -> Any:
        for name in ("query", "key", "value"):
            setattr(self._inner[0], name, self.get_submodule(name))
        context, *rest = self._inner[0](*args, **options)
        size = int(self.attention_head_size)  # type: ignore[arg-type]
        split: Tensor = context.unflatten(-1, (-1, size))
        return (split * torch.arange(1, split.shape[-2] + 1)[:, None]).flatten(-2), *rest


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_relative_in_16_bits_is_recognised(dtype: torch.dtype) -> None:
    # Wide enough for rounding to exceed the tolerance.
    options = GROUPED | NO_TOKENS | POSITIONS | {"hidden_size": 240, "intermediate_size": 512}
    with pytest.warns(UserWarning, match="is built like llama"):
        assert recognise(make("OlmoConfig", "OlmoForCausalLM", options).to(dtype)) == "llama"  # type: ignore[arg-type]


def test_another_configuration_of_a_recognised_type_is_checked_for_itself() -> None:
    options = GROUPED | NO_TOKENS | POSITIONS
    with pytest.warns(UserWarning, match="is built like llama"):
        recognise(make("CohereConfig", "CohereForCausalLM", options | {"use_qk_norm": False}))
    with pytest.raises(TombolaError, match="unknown architecture 'cohere'"):
        recognise(make("CohereConfig", "CohereForCausalLM", options | {"use_qk_norm": True}))
    # The first is still known.
    assert "cohere" in FAMILIES
    assert recognise(make("CohereConfig", "CohereForCausalLM", options | {"use_qk_norm": False})) is None


def test_a_check_that_was_stopped_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tombola.subnetworks.recognition.largest_difference", stop)
    with pytest.raises(KeyboardInterrupt):
        recognise(make("OlmoConfig", "OlmoForCausalLM", GROUPED | NO_TOKENS | POSITIONS))
    assert "olmo" not in FAMILIES


def test_a_linear_map_that_no_entry_knows_of_is_a_stranger() -> None:
    model = ZOO["bert"].make(dtype=torch.float32)
    assert isinstance(model, BertForSequenceClassification)
    model.config.model_type = "adapted"  # type: ignore[misc]
    model.bert.encoder.layer[1].adapter = nn.Linear(32, 32)
    with pytest.raises(TombolaError, match="like those of none that is known"):
        recognise(model)


def test_what_looks_right_and_computes_something_else_is_refused() -> None:
    model = ZOO["bert"].make(dtype=torch.float32)
    assert isinstance(model, BertForSequenceClassification)
    for layer in model.bert.encoder.layer:
        layer.attention.self = Scaled(layer.attention.self)  # type: ignore[union-attr, arg-type]
    model.config.model_type = "scaled"  # type: ignore[misc]
    with pytest.raises(TombolaError, match="look like bert's, but cut models differ from masked ones by"):
        recognise(model)
    assert "scaled" not in FAMILIES


def test_a_model_may_bring_its_own_entry() -> None:
    model = ZOO["bert"].make(dtype=torch.float32)
    model.config.model_type = "mine"  # type: ignore[misc]
    with pytest.raises(TombolaError, match=r"unknown architecture 'mine'.*tombola.recognise"):
        shrunk(model, tickets(ZOO["bert"].make())["random 0"])
    register("mine", FAMILIES["bert"])
    assert tickets(model)["random 0"].architecture.startswith("mine-2x4-")
