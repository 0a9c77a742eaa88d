"""Ready study, for those who have none: a tiny BERT and sentences about films, made on the spot without a network."""

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tombola.checkpoints.assets import cache, cached
from tombola.study.config import StudyConfig
from tombola.study.study import Study

GOOD = ("bright", "warm", "funny", "lovely", "moving", "clever")
BAD = ("dull", "cold", "boring", "ugly", "tired", "clumsy")
_THINGS = ("film", "story", "music", "cast", "ending", "plot")
_BEFORE = ("really", "very", "quite", "rather", "so")
_SMALL = ("the", "this", "that", "is", "was", "not", "never", "but")
_WORDS = (*_SMALL, *_THINGS, *_BEFORE, *GOOD, *BAD)
_ROWS = {"train": 1200, "dev": 240}
_VERSION = 1
"""Part of the folder's name in the cache: another one, whenever what is written changes."""
SETTINGS: Mapping[str, Any] = {
    "methods": ("heads+mlps",),
    "controls": ("random", "bad"),
    "analyses": (),
    "epochs": 4,
    "batch_size": 32,
    "learning_rate": 5e-3,
    "max_length": 32,
    "heads_step": 0.1,
    "bootstrap_resamples": 200,
    "precision": "fp32",
    "at_chance": "continue",
    "device": "cpu",
}


def ready_study() -> Path:
    """Folder of the ready study, made in seconds on first use and kept in the cache.

    Raises:
        TombolaError: the cache cannot be written.
    """
    source = cached(f"app-films-{_VERSION}", _write, "the ready study's model and sentences")
    settings = {"model": str(source / "tiny-bert"), "task": str(source / "films"), **SETTINGS}
    return Study(StudyConfig.of("quick", **settings), out=cache() / f"app-study-{_VERSION}", save="none").run()


def _write(folder: Path) -> None:
    """Write the model, which was never trained, and the task, both drawn from one seed."""
    draw = random.Random(0)
    for split, size in _ROWS.items():
        lines = ["sentence\tlabel", *(f"{text}\t{label}" for text, label in _rows(draw, size))]
        path = folder / "films" / f"{split}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _write_model(folder / "tiny-bert")


def _rows(draw: random.Random, size: int) -> Iterator[tuple[str, str]]:
    """Sentences with their labels: after `but` the second half counts, and `not` and `never` turn a word round."""
    for number in range(size):
        clauses = [_clause(draw)] if number % 3 else [_clause(draw), _clause(draw)]
        texts, praises = zip(*clauses, strict=True)
        yield " but ".join(texts), "praise" if praises[-1] else "blame"


def _clause(draw: random.Random) -> tuple[str, bool]:
    """A clause about one thing, and whether it praises it."""
    good, turned = draw.random() < 0.5, draw.random() < 0.3
    words = [draw.choice(("the", "this", "that")), draw.choice(_THINGS), draw.choice(("is", "was"))]
    words += [draw.choice(("not", "never"))] if turned else []
    words += [draw.choice(_BEFORE)] if draw.random() < 0.5 else []
    return " ".join([*words, draw.choice(GOOD if good else BAD)]), good != turned


def _write_model(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    vocabulary = {word: number for number, word in enumerate((*special.values(), *_WORDS))}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    core.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=32, **special).save_pretrained(folder)
    with torch.random.fork_rng([]):
        torch.manual_seed(8)
        # Weights wide enough that few steps of training move them.
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=32,
            initializer_range=0.1,
        )
        BertModel(config).save_pretrained(folder)
