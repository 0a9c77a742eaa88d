"""A tiny Llama in a GGUF file, as llama.cpp stores it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize, quantize
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

TOKENS = ["<unk>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz", "ab"]
SIZE, HEADS, KV_HEADS, MLP, LAYERS = 64, 4, 2, 96, 2
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write(file: Path, *, blocks: int | None = LAYERS, stored: int = LAYERS) -> LlamaForCausalLM:
    """A tiny Llama as llama.cpp stores it, its matrices in 4 bits, and the same model in transformers."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=SIZE,
        intermediate_size=MLP,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    model.eval()
    writer = GGUFWriter(file, "llama")
    if blocks is not None:
        writer.add_block_count(blocks)
    writer.add_context_length(64)
    writer.add_embedding_length(SIZE)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3] + [1] * (len(TOKENS) - 3))
    writer.add_token_merges(["a b"])
    for name, what in (("bos", 1), ("eos", 2), ("unk", 0)):
        getattr(writer, f"add_{name}_token_id")(what)

    def add(name: str, tensor: Tensor, heads: int = 0) -> None:
        """With its matrix rounded to 4 bits; llama.cpp pairs a head's rotary units otherwise than transformers."""
        values: Any = tensor.detach().numpy()
        if heads:
            values = values.reshape(heads, 2, -1, SIZE).swapaxes(1, 2).reshape(values.shape)
        if values.ndim == 1:
            writer.add_tensor(name, values)
            return
        packed = quantize(values.astype(np.float32), GGMLQuantizationType.Q4_1)
        writer.add_tensor(name, packed, raw_dtype=GGMLQuantizationType.Q4_1)
        rounded = dequantize(packed, GGMLQuantizationType.Q4_1)
        if heads:
            rounded = rounded.reshape(heads, -1, 2, SIZE).swapaxes(1, 2).reshape(values.shape)
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(rounded.copy()))

    add("token_embd.weight", model.model.embed_tokens.weight)
    add("output.weight", model.lm_head.weight)
    add("output_norm.weight", model.model.norm.weight)
    for index, layer in enumerate(model.model.layers[:stored]):
        for ours, theirs in NAMES.items():
            heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(theirs, 0)
            add(f"blk.{index}.{theirs}.weight", layer.get_parameter(f"{ours}.weight"), heads)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model
