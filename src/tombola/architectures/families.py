"""Families as data: for each kind of model, where heads, MLPs and channels are and how projections are laid out.

A new architecture is one entry of [`FAMILIES`][tombola.architectures.families.FAMILIES] and one line in the tests that
run over all families. Paths are those of transformers 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Projection:
    """A linear map (or GPT-2's transposed `Conv1D`) whose output units belong to heads, or to an MLP's neurons.

    Attributes:
        path: from the layer.
        parts: what its output units hold, one block after the other: `query`, `key`, `value` for heads; for an MLP
            any names, of which each has one unit a neuron (`gate` and `up` in one matrix).
        interleaved: the parts alternate head by head instead (GPT-NeoX).
        optional: some configurations of the family lack it.
    """

    path: str
    parts: tuple[str, ...]
    interleaved: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Attention:
    """An attention sublayer.

    Attributes:
        module: path of the module that computes it, from the layer.
        inputs: role → projection whose output units belong to heads.
        output: path of the projection whose input units belong to heads.
        head_size: attribute of the module: units of one head; None where it has none, and they are counted.
        heads: attribute of the module: number of heads; None where the configuration says it for all layers.
        counts: attribute of the module that the forward pass reads → what it counts, to be set anew when heads are
            removed: `heads`, `width` (heads x head size), `kv_heads` or `group` (heads that share a key/value head).
        config_counts: the same for attributes that the module reads from the configuration.
        prefix: of its matrices' roles, where a layer has two of them (`cross_`).
        own_position_bias: the module is handed a bias that another layer made for its own heads (T5), and has to make
            one itself when heads are removed.
        may_be_empty: it runs without any heads. Otherwise an emptied one keeps one head of zeros: where heads are
            counted by division, and wherever there is a KV cache, which takes a layer without heads for one that has
            seen no tokens (`DynamicLayer.get_seq_length`).
        more_outputs: role → path of a further projection whose input units belong to the same heads, where two
            streams of tokens attend together and go on apart; some layers may lack it.
        shared_output: of the units of `output`, only the first belong to heads, the others to an MLP (Flux).
        norms: attributes of the module: norms of queries and keys. One that runs over all heads rules pruning out.
        fused: attribute of the module: whether it computes from a fused copy of its projections.
        optional: some layers of the stack lack it.
        unless: path of a module with which an optional one is another kind of attention, whose heads cannot be removed.
    """

    module: str
    inputs: Mapping[str, Projection]
    output: str
    head_size: str | None = "head_dim"
    heads: str | None = None
    counts: Mapping[str, str] = field(default_factory=dict)
    config_counts: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    own_position_bias: bool = False
    may_be_empty: bool = False
    more_outputs: Mapping[str, str] = field(default_factory=dict)
    shared_output: bool = False
    norms: tuple[str, ...] = ()
    fused: str | None = None
    optional: bool = False
    unless: str | None = None


@dataclass(frozen=True)
class MLP:
    """A feed-forward sublayer.

    Attributes:
        inputs: role → projection whose output units belong to neurons.
        output: path of the projection whose input units belong to neurons.
        gate: path of the module whose output is the sublayer's contribution to the residual stream, where that is not
            `output` itself: a norm after it (Gemma 2 and 3) would undo any gate before it but zero.
        prefix: of its matrices' roles, where a layer has two MLPs (`context_`).
        shared_output: of the input units of `output`, only the last belong to neurons, the others to heads (Flux). The
            gate multiplies them, and the bias stays.
        optional: some layers of the stack lack it.
    """

    inputs: Mapping[str, Projection]
    output: str
    gate: str | None = None
    prefix: str = ""
    shared_output: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Residual:
    """A residual block of two convolutions with a group norm between them.

    Attributes:
        input: path of the first convolution.
        norm: path of the norm.
        output: path of the second convolution.
        time: path of the linear map of the timestep, which goes to the channels between; a block may lack it.
    """

    input: str
    norm: str
    output: str
    time: str


@dataclass(frozen=True)
class Stack:
    """Stack of layers of one shape.

    Attributes:
        layers: path of the list of layers from the base model; `*` stands for every child.
        attentions: of one layer, in order.
        mlps: of one layer, in order.
        residual: where a layer is a residual block.
        matrices: role → path of further prunable matrices, which belong to no site; a layer may lack them.
        optional: some model classes of the family lack these layers (T5's encoder without its decoder).
    """

    layers: str
    attentions: tuple[Attention, ...] = ()
    mlps: tuple[MLP, ...] = ()
    residual: Residual | None = None
    matrices: Mapping[str, str] = field(default_factory=dict)
    optional: bool = False


@dataclass(frozen=True)
class Family:
    """Family of models of one architecture.

    Attributes:
        stacks: first to last.
        heads: the configuration's attribute for the number of heads.
        kv_heads: that for the number of key/value heads, where several heads share one.
    """

    stacks: tuple[Stack, ...]
    heads: str = "num_attention_heads"
    kv_heads: str | None = None


def _uniform(layers: str, attention: Attention, mlp: MLP, *, kv_heads: str | None = None) -> Family:
    return Family((Stack(layers, (attention,), (mlp,)),), kv_heads=kv_heads)


_QKV = ("query", "key", "value")
_MLP = ("neuron",)


def _apart(pattern: str) -> dict[str, Projection]:
    """Query, key and value in matrices of their own: `{}` stands for these words, `{:.1}` for their first letters."""
    return {kind: Projection(pattern.format(kind), (kind,)) for kind in _QKV}


def _joint(path: str, *, interleaved: bool = False) -> dict[str, Projection]:
    return {"query_key_value": Projection(path, _QKV, interleaved)}


def _self_attn(output: str, **options: Any) -> Attention:
    return Attention("self_attn", _apart("self_attn.{:.1}_proj"), f"self_attn.{output}", **options)


def _two(into: str, output: str, parts: tuple[str, ...] = _MLP) -> MLP:
    return MLP({"mlp_in": Projection(into, parts)}, output)


_LIKE_BERT: Mapping[str, Any] = {"head_size": "attention_head_size", "may_be_empty": True}
_BERT = _uniform(
    "encoder.layer",
    Attention("attention.self", _apart("attention.self.{}"), "attention.output.dense", **_LIKE_BERT),
    _two("intermediate.dense", "output.dense"),
)
_KV_HEADS = "num_key_value_heads"
_GROUPS = {"num_key_value_groups": "group"}
_GATED = MLP(
    {"mlp_gate": Projection("mlp.gate_proj", _MLP), "mlp_in": Projection("mlp.up_proj", _MLP)}, "mlp.down_proj"
)
_LLAMA_ATTENTION = _self_attn("o_proj", counts=_GROUPS)
_LLAMA = _uniform("layers", _LLAMA_ATTENTION, _GATED, kv_heads=_KV_HEADS)
_GEMMA_WITH_NORMS = _uniform(
    "layers", _LLAMA_ATTENTION, replace(_GATED, gate="post_feedforward_layernorm"), kv_heads=_KV_HEADS
)


def _t5_attention(name: str, prefix: str = "") -> Attention:
    return Attention(
        name,
        _apart(f"{name}.{{:.1}}"),
        f"{name}.o",
        head_size="key_value_proj_dim",
        counts={"n_heads": "heads", "inner_dim": "width"},
        prefix=prefix,
        own_position_bias=True,
    )


def _t5_mlp(name: str) -> MLP:
    # Version 1.0 has one matrix in, version 1.1 and its kin a gated pair: whichever is there counts.
    paths = {"mlp_in": "wi", "mlp_gate": "wi_0", "mlp_up": "wi_1"}
    inputs = {kind: Projection(f"{name}.{path}", _MLP, optional=True) for kind, path in paths.items()}
    return MLP(inputs, f"{name}.wo")


_KNOWN: dict[str, Family] = {
    "bert": _BERT,
    "roberta": _BERT,
    "electra": _BERT,
    "deberta-v2": _uniform(
        "encoder.layer",
        Attention(
            "attention.self",
            _apart("attention.self.{}_proj")
            | {
                # Positions are multiplied by matrices that go with the heads of the queries.
                f"position_{kind}": Projection(f"attention.self.pos_{kind}_proj", ("query",), optional=True)
                for kind in ("key", "query")
            },
            "attention.output.dense",
            head_size="attention_head_size",
            counts={"num_attention_heads": "heads"},
        ),
        _two("intermediate.dense", "output.dense"),
    ),
    "distilbert": _uniform(
        "transformer.layer",
        Attention("attention", _apart("attention.{:.1}_lin"), "attention.out_lin", **_LIKE_BERT),
        _two("ffn.lin1", "ffn.lin2"),
    ),
    # One layer used many times: its gates, and its cuts, hold for every use.
    "albert": _uniform(
        "encoder.albert_layer_groups.*.albert_layers",
        Attention("attention", _apart("attention.{}"), "attention.dense", **_LIKE_BERT),
        _two("ffn", "ffn_output"),
    ),
    "modernbert": _uniform(
        "layers",
        Attention("attn", _joint("attn.Wqkv"), "attn.Wo", may_be_empty=True),
        _two("mlp.Wi", "mlp.Wo", ("input", "gate")),
    ),
    "gpt2": _uniform(
        "h",
        Attention("attn", _joint("attn.c_attn"), "attn.c_proj", counts={"split_size": "width", "num_heads": "heads"}),
        _two("mlp.c_fc", "mlp.c_proj"),
    ),
    "gpt_neox": _uniform(
        "layers",
        Attention(
            "attention", _joint("attention.query_key_value", interleaved=True), "attention.dense", head_size="head_size"
        ),
        _two("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    ),
    "opt": _uniform("decoder.layers", _self_attn("out_proj", counts={"num_heads": "heads"}), _two("fc1", "fc2")),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": _GEMMA_WITH_NORMS,
    "gemma3_text": _GEMMA_WITH_NORMS,
    "phi": _uniform("layers", _self_attn("dense", counts=_GROUPS), _two("mlp.fc1", "mlp.fc2"), kv_heads=_KV_HEADS),
    "phi3": _uniform(
        "layers",
        Attention(
            "self_attn",
            _joint("self_attn.qkv_proj"),
            "self_attn.o_proj",
            counts={"num_key_value_heads": "kv_heads", **_GROUPS},
            config_counts={"num_attention_heads": "heads"},
        ),
        _two("mlp.gate_up_proj", "mlp.down_proj", ("gate", "up")),
        kv_heads=_KV_HEADS,
    ),
    "t5": Family(
        (
            Stack("encoder.block", (_t5_attention("layer.0.SelfAttention"),), (_t5_mlp("layer.1.DenseReluDense"),)),
            Stack(
                "decoder.block",
                (_t5_attention("layer.0.SelfAttention"), _t5_attention("layer.1.EncDecAttention", "cross_")),
                (_t5_mlp("layer.2.DenseReluDense"),),
                optional=True,
            ),
        ),
        heads="num_heads",
    ),
    "vit": _uniform(
        "layers",
        Attention("attention", _apart("attention.{:.1}_proj"), "attention.o_proj", may_be_empty=True),
        _two("mlp.fc1", "mlp.fc2"),
    ),
    "clip_text_model": _uniform(
        "encoder.layers",
        _self_attn("out_proj", counts={"num_heads": "heads"}, may_be_empty=True),
        _two("mlp.fc1", "mlp.fc2"),
    ),
}

# Of diffusers, by the name of the class. Its layers say themselves how many heads they have.

# A convolution, or a residual block whose channels are left alone.
_RESAMPLERS = {
    "resample": "conv",
    "conv_in": "conv1",
    "time": "time_emb_proj",
    "conv_out": "conv2",
    "shortcut": "conv_shortcut",
}
_RESIDUAL = Residual("conv1", "norm2", "conv2", "time_emb_proj")


def _diffusers_attention(name: str = "", prefix: str = "", *, optional: bool = False) -> Attention:
    """`to_q`, `to_k`, `to_v` and `to_out.0` of a module, which is the layer itself where it has no name."""
    path = f"{name}." if name else ""
    return Attention(
        name,
        _apart(f"{path}to_{{:.1}}"),
        f"{path}to_out.0",
        head_size=None,
        heads="heads",
        counts={"heads": "heads", "inner_dim": "width"},
        prefix=prefix,
        norms=("norm_q", "norm_k", "norm_added_q", "norm_added_k"),
        fused="fused_projections",
        optional=optional,
    )


def _unet(of_attentions: Mapping[str, Any], transformers: Mapping[str, Any] | None = None) -> Family:
    """The three parts of a U-net: residual blocks, what stands beside them, and the maps between resolutions."""
    stacks = []
    for part in ("down_blocks.*.", "mid_block.", "up_blocks.*."):
        stacks.append(
            Stack(f"{part}resnets", residual=_RESIDUAL, matrices={"shortcut": "conv_shortcut"}, optional=True)
        )
        stacks.append(Stack(f"{part}attentions", optional=True, **of_attentions))
        if transformers is not None:
            stacks.append(Stack(f"{part}attentions.*.transformer_blocks", optional=True, **transformers))
        if part != "mid_block.":
            samplers = "downsamplers" if part.startswith("down") else "upsamplers"
            stacks.append(Stack(f"{part}{samplers}", matrices=_RESAMPLERS, optional=True))
    return Family(tuple(stacks))


def _feed_forward(name: str, prefix: str = "", *, gated: bool = False, optional: bool = False) -> MLP:
    # GEGLU has both of its parts in one matrix.
    parts = ("input", "gate") if gated else _MLP
    return replace(_two(f"{name}.net.0.proj", f"{name}.net.2", parts), prefix=prefix, optional=optional)


_ATTENTION = _diffusers_attention("attn")
# Two streams of tokens, of which each has projections of its own.
_TWO_STREAMS = replace(
    _ATTENTION,
    inputs={
        **_ATTENTION.inputs,
        **{f"added_{kind}": Projection(f"attn.add_{kind[0]}_proj", ("query",), optional=True) for kind in _QKV},
    },
    more_outputs={"added_output": "attn.to_add_out"},
)
_TWO_FEED_FORWARDS = (_feed_forward("ff"), _feed_forward("ff_context", "context_", optional=True))
_SELF_AND_CROSS = (_diffusers_attention("attn1"), _diffusers_attention("attn2", "cross_", optional=True))

_KNOWN |= {
    "UNet2DModel": _unet({"attentions": (_diffusers_attention(),)}),
    "UNet2DConditionModel": _unet(
        # Beside blocks of transformers there may be ones of plain attentions. What attends to a text and the image at
        # once takes its heads to be as wide together as the image, so that none can be removed.
        {
            "attentions": (replace(_diffusers_attention(optional=True), unless="add_k_proj"),),
            "matrices": {"transformer_in": "proj_in", "transformer_out": "proj_out"},
        },
        {"attentions": _SELF_AND_CROSS, "mlps": (_feed_forward("ff", gated=True),)},
    ),
    "DiTTransformer2DModel": _uniform("transformer_blocks", _diffusers_attention("attn1"), _feed_forward("ff")),
    "PixArtTransformer2DModel": Family((Stack("transformer_blocks", _SELF_AND_CROSS, (_feed_forward("ff"),)),)),
    "SD3Transformer2DModel": Family(
        (
            Stack(
                "transformer_blocks",
                # Version 3.5 medium attends twice, the second time among the image's tokens alone.
                (_TWO_STREAMS, _diffusers_attention("attn2", "second_", optional=True)),
                _TWO_FEED_FORWARDS,
            ),
        )
    ),
    "FluxTransformer2DModel": Family(
        (
            Stack("transformer_blocks", (_TWO_STREAMS,), _TWO_FEED_FORWARDS),
            Stack(
                "single_transformer_blocks",
                (replace(_ATTENTION, output="proj_out", shared_output=True),),
                (replace(_two("proj_mlp", "proj_out"), shared_output=True),),
                optional=True,
            ),
        )
    ),
}

FAMILIES: Mapping[str, Family] = MappingProxyType(_KNOWN)
"""`config.model_type`, or for a model of diffusers the name of its class → where the parts are."""


def register(model_type: str, family: Family) -> None:
    """Add an architecture to the table, for this process; an entry that is there is replaced."""
    _KNOWN[model_type] = family


def unregister(model_type: str) -> None:
    """Take an architecture out of the table."""
    del _KNOWN[model_type]
