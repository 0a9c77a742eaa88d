"""A tiny model with random weights of every family, what is in it counted by hand, and inputs for it."""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel

from builders.encoders import inputs, randomise, sites
from tombola.architectures.dissect import dissect
from tombola.subnetworks.gates import attach
from tombola.subnetworks.subnetwork import Subnetwork
from tombola.tickets.ticket import Ticket

V = 64
SIZES = {"vocab_size": V, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
POSITIONS = {"max_position_embeddings": 40}
GROUPED = SIZES | {"num_attention_heads": 6, "num_key_value_heads": 2, "hidden_size": 48}
NO_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": None}
T5_SIZES = {"vocab_size": V, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
T5_TOKENS = {"pad_token_id": 0, "decoder_start_token_id": 0, "eos_token_id": None}


@dataclass(frozen=True)
class Kind:
    """One family, or one of its variants.

    Attributes:
        config, model: names of transformers' classes; `options` go to the configuration.
        rows, heads, mlps: shapes of the masks.
        weights: number of prunable weights, by hand.
        signature: what saved tickets have.
        outputs: for each row of heads the module whose input columns are theirs, and `mlp_outs` for MLPs.
        transposed: whether those modules have [in, out] weights.
        sort: `encoder`, `decoder`, `t5` or `image`.
        sdpa: whether it has that kind of attention.
    """

    config: str
    model: str
    options: Mapping[str, Any]
    rows: int
    heads: int
    mlps: int
    weights: int
    signature: str
    outputs: tuple[str, ...]
    transposed: bool = False
    sort: str = "encoder"
    sdpa: bool = True

    def make(self, attention: str = "eager", dtype: torch.dtype = torch.float64, seed: int = 0) -> PreTrainedModel:
        """Random biases and norms too, as those of a fresh model would hide mistakes."""
        torch.manual_seed(seed)
        config = getattr(transformers, self.config)(**self.options)
        config._attn_implementation = attention
        model = getattr(transformers, self.model)(config)
        assert isinstance(model, PreTrainedModel)
        randomise(model, 0.2)
        model.eval().to(dtype)
        return model

    def given(self, padded: bool, *, left: bool = False) -> dict[str, Tensor]:
        """Inputs of 3 examples; those of decoders may be padded on the left."""
        if self.sort == "image":
            generator = torch.Generator().manual_seed(0)
            return {"pixel_values": torch.randn(3, 3, 16, 16, generator=generator, dtype=torch.float64)}
        found = inputs(padded=padded, batch=3, length=7)
        if self.sort == "decoder" and left:
            found = {name: tensor.flip(1) for name, tensor in found.items()}
        if self.sort == "t5" and self.model != "T5EncoderModel":
            found["decoder_input_ids"] = inputs(padded=False, batch=3, length=5, seed=1)["input_ids"]
        return found


def _each(pattern: str, layers: int = 2) -> tuple[str, ...]:
    return tuple(pattern.format(i) for i in range(layers))


_BERT = 2 * (4 * 32 * 32 + 2 * 32 * 48)
_GLU = 2 * (4 * 32 * 32 + 3 * 32 * 48)
# Query and output: 6 heads of 8; key and value: 2 heads of 8.
_GQA = 2 * (2 * 48 * 48 + 2 * 16 * 48 + 3 * 48 * 48)
# The same with heads of 16 units.
_WIDE = 2 * (2 * 96 * 48 + 2 * 32 * 48 + 3 * 48 * 48)
_T5_OUTPUTS = (
    *_each("encoder.block.{}.layer.0.SelfAttention.o"),
    *(f"decoder.block.{i}.layer.{j}" for i in range(2) for j in ("0.SelfAttention.o", "1.EncDecAttention.o")),
)
_LLAMA_OUT = _each("model.layers.{}.self_attn.o_proj")


def _bert_like(name: str, prefix: str, signature: str, **options: Any) -> Kind:
    config, model = f"{name}Config", f"{name}ForSequenceClassification"
    outputs = _each(prefix + ".encoder.layer.{}.attention.output.dense")
    return Kind(config, model, SIZES | POSITIONS | options, 2, 4, 2, _BERT, signature, outputs)


def _decoder(name: str, signature: str, weights: int = _GQA, *, sdpa: bool = True, **options: Any) -> Kind:
    made = GROUPED | NO_TOKENS | POSITIONS | options
    config = f"{name}TextConfig" if name == "Gemma3" else f"{name}Config"
    return Kind(config, f"{name}ForCausalLM", made, 2, 6, 2, weights, signature, _LLAMA_OUT, sort="decoder", sdpa=sdpa)


DEBERTA = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
_DEBERTA_OUT = _each("deberta.encoder.layer.{}.attention.output.dense")

ZOO: Mapping[str, Kind] = {
    "bert": _bert_like("Bert", "bert", "bert-2x4-b3c0d3fb"),
    "roberta": _bert_like("Roberta", "roberta", "roberta-2x4-1b4eb0a7", pad_token_id=0),
    "electra": _bert_like("Electra", "electra", "electra-2x4-b3d5453e", embedding_size=16),
    "distilbert": Kind(
        "DistilBertConfig",
        "DistilBertForSequenceClassification",
        {"vocab_size": V, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48} | POSITIONS,
        *(2, 4, 2, _BERT, "distilbert-2x4-9f59df24"),
        _each("distilbert.transformer.layer.{}.attention.out_lin"),
    ),
    "albert": Kind(
        "AlbertConfig",
        "AlbertForSequenceClassification",
        SIZES | POSITIONS | {"embedding_size": 16, "num_hidden_layers": 3},
        # One layer, used three times.
        *(1, 4, 1, _BERT // 2, "albert-1x4-d96a5fa4"),
        ("albert.encoder.albert_layer_groups.0.albert_layers.0.attention.dense",),
    ),
    "albert of two groups": Kind(
        "AlbertConfig",
        "AlbertForSequenceClassification",
        SIZES
        | POSITIONS
        | {"embedding_size": 16, "num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2},
        *(4, 4, 4, 2 * _BERT, "albert-4x4-dbfa9f71"),
        tuple(
            f"albert.encoder.albert_layer_groups.{g}.albert_layers.{i}.attention.dense" for g in (0, 1) for i in (0, 1)
        ),
    ),
    "deberta": Kind(
        "DebertaV2Config",
        "DebertaV2ForSequenceClassification",
        SIZES | POSITIONS | DEBERTA | {"share_att_key": False},
        # Two more matrices, of positions.
        *(2, 4, 2, _BERT + 2 * 2 * 32 * 32, "deberta-v2-2x4-6b9f0df9"),
        _DEBERTA_OUT,
        sdpa=False,
    ),
    "deberta of shared keys": Kind(
        "DebertaV2Config",
        "DebertaV2ForSequenceClassification",
        SIZES | POSITIONS | DEBERTA | {"share_att_key": True, "norm_rel_ebd": "layer_norm"},
        *(2, 4, 2, _BERT, "deberta-v2-2x4-fa22b026"),
        _DEBERTA_OUT,
        sdpa=False,
    ),
    "modernbert": Kind(
        "ModernBertConfig",
        "ModernBertForSequenceClassification",
        SIZES | NO_TOKENS | {"cls_token_id": 2, "sep_token_id": 3, "local_attention": 8},
        *(2, 4, 2, _GLU, "modernbert-2x4-9dad8290"),
        _each("model.layers.{}.attn.Wo"),
    ),
    "gpt2": Kind(
        "GPT2Config",
        "GPT2LMHeadModel",
        {"vocab_size": V, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 48, "n_positions": 40} | NO_TOKENS,
        *(2, 4, 2, _BERT, "gpt2-2x4-3895c63b"),
        _each("transformer.h.{}.attn.c_proj"),
        transposed=True,
        sort="decoder",
    ),
    "gpt_neox": Kind(
        "GPTNeoXConfig",
        "GPTNeoXForCausalLM",
        SIZES | NO_TOKENS | POSITIONS,
        *(2, 4, 2, _BERT, "gpt_neox-2x4-96757aed"),
        _each("gpt_neox.layers.{}.attention.dense"),
        sort="decoder",
    ),
    "opt": Kind(
        "OPTConfig",
        "OPTForCausalLM",
        SIZES | NO_TOKENS | POSITIONS | {"ffn_dim": 48, "word_embed_proj_dim": 32},
        *(2, 4, 2, _BERT, "opt-2x4-03a890f2"),
        _each("model.decoder.layers.{}.self_attn.out_proj"),
        sort="decoder",
    ),
    "llama": _decoder("Llama", "llama-2x6-8ffc57c9"),
    "mistral": _decoder("Mistral", "mistral-2x6-fac5af14", sliding_window=5),
    "qwen2": _decoder("Qwen2", "qwen2-2x6-d49a86f8"),
    "qwen3": _decoder("Qwen3", "qwen3-2x6-e19d0c3f", _WIDE, head_dim=16),
    # All heads share one key/value head.
    "gemma": _decoder("Gemma", "gemma-2x6-a1f9ff29", _WIDE - 2 * 2 * 16 * 48, head_dim=16, num_key_value_heads=1),
    "gemma2": _decoder("Gemma2", "gemma2-2x6-0263caeb", _WIDE, sdpa=False, head_dim=16, sliding_window=5),
    "gemma3": _decoder("Gemma3", "gemma3_text-2x6-a368e860", _WIDE, head_dim=16, sliding_window=5),
    "phi": Kind(
        "PhiConfig",
        "PhiForCausalLM",
        GROUPED | NO_TOKENS | POSITIONS | {"qk_layernorm": True},
        *(2, 6, 2, _GQA - 2 * 48 * 48, "phi-2x6-d97f5295"),
        _each("model.layers.{}.self_attn.dense"),
        sort="decoder",
    ),
    "phi3": _decoder("Phi3", "phi3-2x6-ea1a301a"),
    "t5": Kind(
        "T5Config",
        "T5ForConditionalGeneration",
        T5_SIZES | T5_TOKENS,
        *(6, 4, 4, 6 * 4 * 32 * 32 + 4 * 2 * 32 * 48, "t5-6x4-19e3b52d"),
        _T5_OUTPUTS,
        sort="t5",
    ),
    "t5 of version 1.1": Kind(
        "T5Config",
        "T5ForConditionalGeneration",
        T5_SIZES | T5_TOKENS | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        *(6, 4, 4, 6 * 4 * 32 * 32 + 4 * 3 * 32 * 48, "t5-6x4-65925e14"),
        _T5_OUTPUTS,
        sort="t5",
    ),
    "t5's encoder": Kind(
        "T5Config",
        "T5EncoderModel",
        T5_SIZES,
        *(2, 4, 2, _BERT, "t5-2x4-c67db268"),
        _each("encoder.block.{}.layer.0.SelfAttention.o"),
    ),
    "vit": Kind(
        "ViTConfig",
        "ViTForImageClassification",
        SIZES | {"image_size": 16, "patch_size": 8},
        *(2, 4, 2, _BERT, "vit-2x4-858a0645"),
        _each("vit.layers.{}.attention.o_proj"),
        sort="image",
    ),
    "clip": Kind(
        "CLIPTextConfig",
        "CLIPTextModel",
        SIZES | POSITIONS | {"eos_token_id": 63, "bos_token_id": 1},
        *(2, 4, 2, _BERT, "clip_text_model-2x4-29690588"),
        _each("encoder.layers.{}.self_attn.out_proj"),
    ),
    "clip with its projection": Kind(
        "CLIPTextConfig",
        "CLIPTextModelWithProjection",
        SIZES | POSITIONS | {"eos_token_id": 63, "bos_token_id": 1},
        *(2, 4, 2, _BERT, "clip_text_model-2x4-29690588"),
        _each("text_model.encoder.layers.{}.self_attn.out_proj"),
    ),
}

FIRST: Mapping[str, str] = {
    "bert": "encoder with biases, a matrix for each of query, key and value",
    "gpt2": "decoder with weights [in, out], in which query, key and value are one",
    "llama": "groups of heads that share a key/value head, gated MLP, no biases",
    "t5 of version 1.1": "encoder and decoder with attention across, gated MLP",
}
"""Families that every run of the tests meets, `make test-fast` too, and what each stands for."""

REPRESENTATIVE: Mapping[str, str] = {
    **FIRST,
    "albert": "one layer that is used several times",
    "deberta": "matrices of positions, no attention of PyTorch's own",
    "modernbert": "encoder in which projections are one, and gate and MLP too",
    "gpt_neox": "projections that are one head by head, MLP beside the attention",
    "gemma": "one key/value head for all",
    "gemma2": "norms behind the sublayers, attention in windows",
    "phi3": "groups of heads in one projection, gate and MLP in another",
    "vit": "images",
}
"""Families that `make test` meets, one of each structure; the others are left to `make test-all`."""


def sampled(names: Iterable[str] = ZOO) -> list[Any]:
    """Names of families for `parametrize`, marked by the first run of the tests that meets them."""
    beyond = {name: pytest.mark.slow if name in REPRESENTATIVE else pytest.mark.exhaustive for name in ZOO}
    return [name if name in FIRST else pytest.param(name, marks=beyond[name]) for name in names]


DECODERS = tuple(name for name, kind in ZOO.items() if kind.sort == "decoder")
GENERATORS = (*DECODERS, "t5", "t5 of version 1.1")


def under(subnetwork: Subnetwork | nn.Module, batch: int, call: Callable[[Any], Any]) -> Any:
    """What `call` gives of the model, with the gates that the subnetwork needs."""
    model = subnetwork.model if isinstance(subnetwork, Subnetwork) else subnetwork
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if isinstance(subnetwork, Subnetwork) and subnetwork.gated:
            gates = stack.enter_context(attach(model, subnetwork.anatomy, subnetwork.present, subnetwork.ticket))
            gates.open(batch, torch.device("cpu"), grad=False)
        return call(model)


def computed(subnetwork: Subnetwork | nn.Module, given: Mapping[str, Tensor]) -> Tensor:
    """Logits, or the last hidden state of a model without a head; zero at padding, where nothing is promised."""
    model = subnetwork.model if isinstance(subnetwork, Subnetwork) else subnetwork
    dtype = next(model.parameters()).dtype
    given = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in given.items()}
    output = under(subnetwork, len(next(iter(given.values()))), lambda model: model(**given))
    found = output.logits if "logits" in output else output.last_hidden_state
    assert isinstance(found, Tensor)
    assert found.dtype == dtype or torch.is_autocast_enabled("cpu")
    if found.ndim == 3 and "attention_mask" in given and "decoder_input_ids" not in given:
        found = found.where(given["attention_mask"].bool()[..., None], 0.0)
    return found


def tickets(model: nn.Module) -> dict[str, Ticket]:
    """Random tickets and the corners."""
    anatomy = dissect(model)
    rows, heads = anatomy.heads
    every, mlps = torch.ones(rows, heads), torch.ones(anatomy.mlps)
    emptied, one, uneven = every.clone(), torch.zeros(rows, heads), every.clone()
    emptied[0] = 0
    one[torch.arange(rows), torch.arange(rows) % heads] = 1
    # Groups of three become 3 and 1, and 2 and 3.
    uneven[0, heads - 2 :] = 0
    uneven[-1, 0] = 0
    found = {
        "first layer emptied": sites(model, emptied, mlps),
        "single heads": sites(model, one, mlps),
        "uneven groups": sites(model, uneven, mlps),
        "no MLP": sites(model, every, 0 * mlps),
        "last MLP gone": sites(model, every, mlps.flip(0).cumsum(0) > 1),
        "nothing": sites(model, 0 * every, 0 * mlps),
    }
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        random = torch.rand(rows, heads, generator=generator) < 0.6
        found[f"random {seed}"] = sites(model, random, torch.rand(anatomy.mlps, generator=generator) < 0.6)
        blocks = torch.rand(anatomy.mlps, 48 // (1, 4, 12)[seed], generator=generator) < 0.6
        if seed == 2:
            blocks[0] = False
        masks = {"heads": random, "neurons": blocks}
        found[f"random neurons {seed}"] = Ticket("heads+neurons", anatomy.signature, masks)
    found["neurons alone"] = Ticket("neurons", anatomy.signature, {"neurons": blocks})
    return found
