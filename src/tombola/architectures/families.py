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
        inputs: matrix kind → projection whose output units belong to heads.
        output: path of the projection whose input units belong to heads.
        head_size: attribute of the module: units of one head; None where it has none, and they are counted.
        heads: attribute of the module: number of heads; None where the configuration says it for all layers.
        counts: attribute of the module that the forward pass reads → what it counts, to be set anew when heads are
            removed: `heads`, `width` (heads x head size), `kv_heads` or `group` (heads that share a key/value head).
        config_counts: the same for attributes that the module reads from the configuration.
        prefix: of its matrices' kinds, where a layer has two of them (`cross_`).
        own_position_bias: the module is handed a bias that another layer made for its own heads (T5), and has to make
            one itself when heads are removed.
        may_be_empty: it runs without any heads. Otherwise an emptied one keeps one head of zeros: where heads are
            counted by division, and wherever there is a KV cache, which takes a layer without heads for one that has
            seen no tokens (`DynamicLayer.get_seq_length`).
        more_outputs: matrix kind → path of a further projection whose input units belong to the same heads, where two
            streams of tokens attend together and go on apart; some layers may lack it.
        shared_output: of the units of `output`, only the first belong to heads, the others to an MLP (Flux).
        norms: attributes of the module: norms of queries and keys. One that runs over all heads rules pruning out.
        fused: attribute of the module: whether it computes from a fused copy of its projections.
        optional: some layers of the stack lack it.
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


@dataclass(frozen=True)
class MLP:
    """A feed-forward sublayer.

    Attributes:
        inputs: matrix kind → projection whose output units belong to neurons.
        output: path of the projection whose input units belong to neurons.
        gate: path of the module whose output is the sublayer's contribution to the residual stream, where that is not
            `output` itself: a norm after it (Gemma 2 and 3) would undo any gate before it but zero.
        prefix: of its matrices' kinds, where a layer has two MLPs (`context_`).
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
        matrices: matrix kind → path of further prunable matrices, which belong to no site; a layer may lack them.
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
    """A family whose layers are all alike, with one attention each."""
    return Family((Stack(layers, (attention,), (mlp,)),), kv_heads=kv_heads)


def _apart(query: str, key: str, value: str, **more: str) -> dict[str, Projection]:
    """Query, key and value in matrices of their own; `more` are further ones that go with the query or key heads."""
    paths = {"query": query, "key": key, "value": value}
    found = {kind: Projection(path, (kind,)) for kind, path in paths.items()}
    return found | {kind: Projection(path, ("query",), optional=True) for kind, path in more.items()}


_QKV = ("query", "key", "value")
_MLP = ("neuron",)


def _two(into: str, output: str) -> MLP:
    return MLP({"mlp_in": Projection(into, _MLP)}, output)


def _gated(gate: str, up: str, output: str, contribution: str | None = None) -> MLP:
    return MLP({"mlp_gate": Projection(gate, _MLP), "mlp_in": Projection(up, _MLP)}, output, contribution)


_BERT = _uniform(
    "encoder.layer",
    Attention(
        "attention.self",
        _apart("attention.self.query", "attention.self.key", "attention.self.value"),
        "attention.output.dense",
        head_size="attention_head_size",
        may_be_empty=True,
    ),
    _two("intermediate.dense", "output.dense"),
)

_DEBERTA = _uniform(
    "encoder.layer",
    Attention(
        "attention.self",
        _apart(
            "attention.self.query_proj",
            "attention.self.key_proj",
            "attention.self.value_proj",
            position_key="attention.self.pos_key_proj",
            position_query="attention.self.pos_query_proj",
        ),
        "attention.output.dense",
        head_size="attention_head_size",
        counts={"num_attention_heads": "heads"},
    ),
    _two("intermediate.dense", "output.dense"),
)


def _separate(
    layers: str,
    output: str,
    mlp: MLP,
    *,
    counts: Mapping[str, str] | None = None,
    kv_heads: str | None = None,
    may_be_empty: bool = False,
) -> Family:
    """`self_attn.{q,k,v}_proj`, as most decoders have it."""
    attention = Attention(
        "self_attn",
        _apart("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        f"self_attn.{output}",
        counts=counts or {},
        may_be_empty=may_be_empty,
    )
    return _uniform(layers, attention, mlp, kv_heads=kv_heads)


_GATED = _gated("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
_GROUPS = {"num_key_value_groups": "group"}
_LLAMA = _separate("layers", "o_proj", _GATED, counts=_GROUPS, kv_heads="num_key_value_heads")
_GEMMA_WITH_NORMS = _separate(
    "layers",
    "o_proj",
    _gated("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "post_feedforward_layernorm"),
    counts=_GROUPS,
    kv_heads="num_key_value_heads",
)


def _t5_attention(name: str, prefix: str = "") -> Attention:
    return Attention(
        name,
        _apart(f"{name}.q", f"{name}.k", f"{name}.v"),
        f"{name}.o",
        head_size="key_value_proj_dim",
        counts={"n_heads": "heads", "inner_dim": "width"},
        prefix=prefix,
        own_position_bias=True,
    )


def _t5_mlp(name: str) -> MLP:
    # Version 1.0 has one matrix in, version 1.1 and its kin a gated pair: whichever is there counts.
    return MLP(
        {
            "mlp_in": Projection(f"{name}.wi", _MLP, optional=True),
            "mlp_gate": Projection(f"{name}.wi_0", _MLP, optional=True),
            "mlp_up": Projection(f"{name}.wi_1", _MLP, optional=True),
        },
        f"{name}.wo",
    )


_KNOWN: dict[str, Family] = {
    "bert": _BERT,
    "roberta": _BERT,
    "electra": _BERT,
    "deberta-v2": _DEBERTA,
    "distilbert": _uniform(
        "transformer.layer",
        Attention(
            "attention",
            _apart("attention.q_lin", "attention.k_lin", "attention.v_lin"),
            "attention.out_lin",
            head_size="attention_head_size",
            may_be_empty=True,
        ),
        _two("ffn.lin1", "ffn.lin2"),
    ),
    # One layer used many times: its gates, and its cuts, hold for every use.
    "albert": _uniform(
        "encoder.albert_layer_groups.*.albert_layers",
        Attention(
            "attention",
            _apart("attention.query", "attention.key", "attention.value"),
            "attention.dense",
            head_size="attention_head_size",
            may_be_empty=True,
        ),
        _two("ffn", "ffn_output"),
    ),
    "modernbert": _uniform(
        "layers",
        Attention(
            "attn",
            {"query_key_value": Projection("attn.Wqkv", _QKV)},
            "attn.Wo",
            may_be_empty=True,
        ),
        MLP({"mlp_in": Projection("mlp.Wi", ("input", "gate"))}, "mlp.Wo"),
    ),
    "gpt2": _uniform(
        "h",
        Attention(
            "attn",
            {"query_key_value": Projection("attn.c_attn", _QKV)},
            "attn.c_proj",
            counts={"split_size": "width", "num_heads": "heads"},
        ),
        _two("mlp.c_fc", "mlp.c_proj"),
    ),
    "gpt_neox": _uniform(
        "layers",
        Attention(
            "attention",
            {"query_key_value": Projection("attention.query_key_value", _QKV, interleaved=True)},
            "attention.dense",
            head_size="head_size",
        ),
        _two("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    ),
    "opt": _separate("decoder.layers", "out_proj", _two("fc1", "fc2"), counts={"num_heads": "heads"}),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": _GEMMA_WITH_NORMS,
    "gemma3_text": _GEMMA_WITH_NORMS,
    "phi": _separate("layers", "dense", _two("mlp.fc1", "mlp.fc2"), counts=_GROUPS, kv_heads="num_key_value_heads"),
    "phi3": _uniform(
        "layers",
        Attention(
            "self_attn",
            {"query_key_value": Projection("self_attn.qkv_proj", _QKV)},
            "self_attn.o_proj",
            counts={"num_key_value_heads": "kv_heads", "num_key_value_groups": "group"},
            config_counts={"num_attention_heads": "heads"},
        ),
        MLP({"mlp_in": Projection("mlp.gate_up_proj", ("gate", "up"))}, "mlp.down_proj"),
        kv_heads="num_key_value_heads",
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
        Attention(
            "attention",
            _apart("attention.q_proj", "attention.k_proj", "attention.v_proj"),
            "attention.o_proj",
            may_be_empty=True,
        ),
        _two("mlp.fc1", "mlp.fc2"),
    ),
    "clip_text_model": _separate(
        "encoder.layers", "out_proj", _two("mlp.fc1", "mlp.fc2"), counts={"num_heads": "heads"}, may_be_empty=True
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


def _diffusers_attention(name: str = "", prefix: str = "", *, optional: bool = False, **more: Any) -> Attention:
    """`to_q`, `to_k`, `to_v` and `to_out.0` of a module, which is the layer itself where it has no name."""
    path = f"{name}." if name else ""
    options: dict[str, Any] = {
        "head_size": None,
        "heads": "heads",
        "counts": {"heads": "heads", "inner_dim": "width"},
        "norms": ("norm_q", "norm_k", "norm_added_q", "norm_added_k"),
        "fused": "fused_projections",
    }
    inputs = _apart(f"{path}to_q", f"{path}to_k", f"{path}to_v")
    return Attention(name, inputs, f"{path}to_out.0", prefix=prefix, optional=optional, **options | more)


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


def _joint(name: str, prefix: str = "", *, optional: bool = False) -> Attention:
    """Attention of two streams of tokens, of which each has projections of its own."""
    found = _diffusers_attention(name, prefix, optional=optional)
    added = {f"added_{kind}": f"{name}.add_{kind[0]}_proj" for kind in _QKV}
    inputs = {kind: Projection(path, ("query",), optional=True) for kind, path in added.items()}
    more_outputs = {"added_output": f"{name}.to_add_out"}
    return replace(found, inputs={**found.inputs, **inputs}, more_outputs=more_outputs)


def _feed_forward(name: str, prefix: str = "", *, gated: bool = False, optional: bool = False) -> MLP:
    # GEGLU has both of its parts in one matrix.
    parts = ("input", "gate") if gated else _MLP
    return MLP({"mlp_in": Projection(f"{name}.net.0.proj", parts)}, f"{name}.net.2", prefix=prefix, optional=optional)


_SELF_AND_CROSS = (_diffusers_attention("attn1"), _diffusers_attention("attn2", "cross_", optional=True))

_KNOWN |= {
    "UNet2DModel": _unet({"attentions": (_diffusers_attention(),)}),
    "UNet2DConditionModel": _unet(
        {"matrices": {"transformer_in": "proj_in", "transformer_out": "proj_out"}},
        {"attentions": _SELF_AND_CROSS, "mlps": (_feed_forward("ff", gated=True),)},
    ),
    "DiTTransformer2DModel": Family(
        (Stack("transformer_blocks", (_diffusers_attention("attn1"),), (_feed_forward("ff"),)),)
    ),
    "PixArtTransformer2DModel": Family((Stack("transformer_blocks", _SELF_AND_CROSS, (_feed_forward("ff"),)),)),
    "SD3Transformer2DModel": Family(
        (
            Stack(
                "transformer_blocks",
                # Version 3.5 medium attends twice, the second time among the image's tokens alone.
                (_joint("attn"), _diffusers_attention("attn2", "second_", optional=True)),
                (_feed_forward("ff"), _feed_forward("ff_context", "context_", optional=True)),
            ),
        )
    ),
    "FluxTransformer2DModel": Family(
        (
            Stack(
                "transformer_blocks",
                (_joint("attn"),),
                (_feed_forward("ff"), _feed_forward("ff_context", "context_", optional=True)),
            ),
            Stack(
                "single_transformer_blocks",
                (replace(_diffusers_attention("attn"), output="proj_out", shared_output=True),),
                (MLP({"mlp_in": Projection("proj_mlp", _MLP)}, "proj_out", shared_output=True),),
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
