"""Tiny real transformers models, a tokenizer and a learnable task, made without the hub."""

import contextlib
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)
from typing_extensions import override

from tombola.architectures.dissect import dissect
from tombola.subnetworks.gates import attach
from tombola.subnetworks.subnetwork import Subnetwork
from tombola.tasks.base import Batch, Output
from tombola.tasks.fine_tuned.text_classification import TextTask
from tombola.tickets.ticket import Ticket

LAYERS, HEADS, HIDDEN, MLP, VOCABULARY = 3, 4, 32, 48, 64
HEAD_SIZE = HIDDEN // HEADS
CPU = torch.device("cpu")

FAMILIES = ("bert", "roberta", "electra", "distilbert")

_CLASSES: Mapping[str, tuple[Any, Any]] = {
    "bert": (BertConfig, BertForSequenceClassification),
    "roberta": (RobertaConfig, RobertaForSequenceClassification),
    "electra": (ElectraConfig, ElectraForSequenceClassification),
    "distilbert": (DistilBertConfig, DistilBertForSequenceClassification),
}


def config(
    family: str,
    *,
    layers: int = LAYERS,
    heads: int = HEADS,
    hidden: int = HIDDEN,
    mlp: int = MLP,
    vocabulary: int = VOCABULARY,
    dropout: float = 0.1,
    **more: Any,
) -> Any:
    kind = _CLASSES[family][0]
    if family == "distilbert":
        sizes = {"dim": hidden, "n_layers": layers, "n_heads": heads, "hidden_dim": mlp}
        rates = dict.fromkeys(("dropout", "attention_dropout", "seq_classif_dropout"), dropout)
    else:
        sizes = {
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": mlp,
            "type_vocab_size": 2,
        }
        rates = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), dropout)
        if family == "electra":
            sizes["embedding_size"] = 16
    return kind(vocab_size=vocabulary, max_position_embeddings=40, pad_token_id=0, **sizes, **rates, **more)


def randomise(model: nn.Module, scale: float) -> None:
    """Random biases and norms too, as those of a fresh model would hide mistakes."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                norm = "norm" in name.casefold() and name.endswith("weight")
                parameter.copy_(torch.randn_like(parameter) * 0.2 + (1 if norm else 0))
            else:
                parameter.copy_(torch.randn_like(parameter) * scale)


def classifier(
    family: str = "bert", *, seed: int = 0, attention: str = "eager", dtype: torch.dtype = torch.float64, **sizes: Any
) -> PreTrainedModel:
    """A model whose biases and norms are random too, as those of a fresh one would hide mistakes."""
    torch.manual_seed(seed)
    made = config(family, **sizes)
    made._attn_implementation = attention
    model = _CLASSES[family][1](made)
    randomise(model, 0.25)
    assert isinstance(model, PreTrainedModel)
    model.eval().to(dtype)
    return model


def parts(model: nn.Module, family: str, layer: int) -> tuple[list[nn.Linear], nn.Linear, nn.Linear]:
    """Query, key and value; attention output; second linear map of the MLP: written out, not asked of the anatomy."""
    if family == "distilbert":
        block = model.get_submodule(f"distilbert.transformer.layer.{layer}")
        names = ["attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "ffn.lin2"]
    else:
        block = model.get_submodule(f"{family}.encoder.layer.{layer}")
        names = [f"attention.self.{kind}" for kind in ("query", "key", "value")]
        names += ["attention.output.dense", "output.dense"]
    q, k, v, out, mlp = [cast(nn.Linear, block.get_submodule(name)) for name in names]
    return [q, k, v], out, mlp


def inputs(*, padded: bool = True, batch: int = 5, length: int = 9, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, VOCABULARY, (batch, length), generator=generator)
    mask = torch.ones_like(ids)
    if padded:
        for row, cut in enumerate(torch.randint(0, length - 3, (batch,), generator=generator).tolist()):
            ids[row, length - cut :] = 0
            mask[row, length - cut :] = 0
        # At least one row is padded, and by much.
        ids[-1, 3:], mask[-1, 3:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask}


def logits(subnetwork: Subnetwork | nn.Module, given: Mapping[str, Tensor]) -> Tensor:
    model = subnetwork.model if isinstance(subnetwork, Subnetwork) else subnetwork
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if isinstance(subnetwork, Subnetwork) and subnetwork.gated:
            gates = stack.enter_context(
                attach(model, subnetwork.anatomy, present=subnetwork.present, values=subnetwork.ticket)
            )
            gates.open(len(given["input_ids"]), CPU, grad=False)
        found = model(**given).logits
    assert isinstance(found, Tensor)
    return found


def sites(model: nn.Module, heads: object, mlps: object) -> Ticket:
    """A ticket of sites from nested lists or tensors of truth values."""
    masks = {"heads": torch.as_tensor(heads, dtype=torch.bool), "mlps": torch.as_tensor(mlps, dtype=torch.bool)}
    return Ticket("heads+mlps", dissect(model).signature, masks)


def some_sites(model: nn.Module, seed: int, share: float = 0.5) -> Ticket:
    generator = torch.Generator().manual_seed(seed)
    layers, heads = dissect(model).heads
    return sites(
        model,
        torch.rand(layers, heads, generator=generator) < share,
        torch.rand(layers, generator=generator) < share,
    )


def some_weights(model: nn.Module, seed: int, share: float = 0.5) -> Ticket:
    anatomy = dissect(model)
    generator = torch.Generator().manual_seed(seed)
    masks = {f"{m.layer}.{m.role}": torch.rand(m.shape, generator=generator) < share for m in anatomy.matrices}
    return Ticket("weights", anatomy.signature, masks)


_WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *(f"fine{i}" for i in range(6)),
    *(f"poor{i}" for i in range(6)),
    *(f"word{i}" for i in range(VOCABULARY - 17)),
]


def tokenizer() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(_WORDS)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=32,
        model_input_names=["input_ids", "attention_mask"],
    )


def rows(count: int, seed: int, *, longest: int = 12) -> list[dict[str, Any]]:
    """Texts of neutral words with two or three words that give the class away."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        label = int(rng.integers(2))
        words = [f"word{i}" for i in rng.integers(0, VOCABULARY - 17, size=rng.integers(1, longest - 3))]
        words += [f"{('poor', 'fine')[label]}{i}" for i in rng.integers(0, 6, size=rng.integers(2, 4))]
        rng.shuffle(words)
        made.append({"text": " ".join(words), "label": ("bad", "good")[label]})
    return made


class Exact(TextTask):
    """Losses in the model's own precision, and a record of the order in which examples came."""

    order: list[list[int]]

    @override
    def output(self, model: nn.Module, batch: Batch) -> Output:
        self.order = [*getattr(self, "order", []), batch.indices.tolist()]
        found: Tensor = model(**batch.inputs).logits
        losses = nn.functional.cross_entropy(found, batch.targets, reduction="none")
        return Output(losses, found.argmax(-1))


def synthetic(train: int = 160, dev: int = 60, **options: Any) -> Exact:
    return Exact.from_rows(rows(train, 1), rows(dev, 2), tokenizer(), name="synthetic", **options)
