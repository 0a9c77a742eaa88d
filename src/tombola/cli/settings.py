"""The settings of a study as flags: in groups, with help, and read back."""

import argparse
import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from tombola.cli.argument_types import names, numbers

GROUPS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "what to study": (
        (
            *("model", "task", "data", "validation_file", "text_column", "text_pair_column", "label_column"),
            *("regression", "metric"),
            *("image_size", "feature_model", "pipeline"),
        ),
        "A model is an asset (minilm, smollm2), a local folder or a hub id. A task is a GLUE name (cola, sst2, mrpc, "
        "stsb, qqp, mnli, qnli, rte, wnli), rotten-tomatoes, understanding (of a language model), digits (of a "
        "denoiser), images (the same with --data FOLDER of your own), or a folder or file of your own (TSV, CSV, JSON "
        "lines).",
    ),
    "how much data": (("train_rows", "dev_rows", "max_length", "search_split", "search_rows"), ""),
    "the search": (
        (
            "threshold",
            "heads_step",
            "mlps_step",
            "neurons_step",
            "neuron_block",
            "refine",
            "refine_heads_step",
            "refine_neurons_step",
            "weights_step",
            "sparsities",
            "curve_until",
            "normalise_layers",
            "calibration_samples",
            "sequence_length",
            "controls",
        ),
        "Defaults are the paper's, which prunes no neurons.",
    ),
    "language models": (
        (
            *("abilities", "text_tokens", "text_file", "bos_token", "importance_samples", "importance_sequence_length"),
            *("retain", "recovery_tokens", "lora_rank", "lora_learning_rate"),
        ),
        "Of the task understanding, which judges a model zero-shot. Abilities are grammar, language-modelling, "
        "knowledge and sentiment, or from files (cloze=FILE, grammar=FOLDER, inference=FILE, reasoning=FILE).",
    ),
    "training": (
        (
            *("epochs", "learning_rate", "batch_size", "weight_decay", "warmup_ratio", "max_grad_norm"),
            *("rewind", "iterative"),
        ),
        "",
    ),
    "running": (("eval_batch_size", "precision", "device", "bootstrap_resamples", "trust_remote_code"), ""),
}
"""Title of each group: its settings, and a text."""

_HELP: Mapping[str, str] = {
    "model": "asset, local folder or hub id",
    "task": "GLUE name, rotten-tomatoes, understanding, digits, images, or path of your own data",
    "data": "folder of GLUE's original TSV files, instead of the hub; or of your images",
    "validation_file": "file of dev rows, where --task is a file of training rows",
    "text_column": "column of the text",
    "text_pair_column": "column of the second text",
    "label_column": "column of the label",
    "regression": "the labels are values, not classes",
    "metric": "score of your own data",
    "image_size": "scale and crop your images to squares of so many pixels",
    "feature_model": "compare your images in the space of this vision network (CLIP, DINOv2, ...): folder or hub id",
    "pipeline": "what stands around a --model that is a denoiser by itself: folder or hub id of its pipeline",
    "train_rows": "train on a sample of so many rows",
    "dev_rows": "judge on a sample of so many rows",
    "max_length": "tokens that a text to train and judge on is cut to; of calibration, see --sequence-length",
    "search_split": "dev as in the paper, or train for held-out training rows",
    "search_rows": "training rows held out for the search",
    "threshold": "share of the full score that must hold",
    "heads_step": "share of all heads removed in an iteration",
    "mlps_step": "MLPs removed in an iteration",
    "neurons_step": "share of all blocks of neurons removed in an iteration",
    "neuron_block": "neurons of a block; 1 for prune --density, else",
    "refine": "go on with heads alone, then MLPs or neurons alone",
    "refine_heads_step": "share of all heads removed in a refining iteration",
    "refine_neurons_step": "share of all blocks of neurons removed in a refining iteration",
    "weights_step": "share of the remaining weights removed in an iteration",
    "sparsities": "sparsities that a search of weights passes through, instead of steps",
    "curve_until": "go on, for the curve, until the score falls under this share of the full score",
    "normalise_layers": "divide the importance of heads by their layer's norm; by default as serves the task",
    "calibration_samples": "calibration samples, by whose activations Wanda and SparseGPT go",
    "sequence_length": "tokens of each of them; of the texts to train and judge on, see --max-length",
    "abilities": "what is measured",
    "text_tokens": "judge so many tokens of texts at most",
    "controls": "tickets that the good one is compared with",
    "retain": "what must not be lost: 0.9 of the mean over abilities, or of one of them, as grammar>=0.9",
    "text_file": "text file to calibrate, train and judge on, instead of plot summaries",
    "bos_token": "what every text begins with: none, bos, eos, a token, or what suits the model best",
    "importance_samples": "samples of text by whose loss heads and MLPs are ranked",
    "importance_sequence_length": "tokens of each of them",
    "recovery_tokens": "tokens that tickets are trained on again",
    "lora_rank": "train them through low-rank adapters (LoRA) of this rank, merged afterwards; 0 for all weights",
    "lora_learning_rate": "of the adapters, in place of --learning-rate",
    "epochs": "passes over the training rows",
    "learning_rate": "peak of the schedule",
    "batch_size": "training examples in a step",
    "weight_decay": "of AdamW",
    "warmup_ratio": "share of the steps that warm up",
    "max_grad_norm": "largest norm of the gradient",
    "rewind": "retrain from: pretrained, init, step-K, or final for the trained weights",
    "iterative": "train between the cuts; of weights, this is iterative magnitude pruning",
    "eval_batch_size": "examples at a time when scoring",
    "precision": "auto, fp32 or bf16",
    "device": "auto, or PyTorch's name of a device",
    "bootstrap_resamples": "of each bootstrap",
    "trust_remote_code": "run code that comes with a model",
}


_LISTS: Mapping[str, tuple[str, str]] = {
    "sparsities": ("0.2", "0.5"),
    "abilities": ("grammar", "knowledge"),
    "controls": ("random", "bad"),
}
"""Settings that are lists, with an example."""


def _listed(values: Any) -> str:
    return ",".join(map(str, values))


def add_settings(parser: argparse.ArgumentParser, groups: Sequence[str], preset: str) -> None:
    """Add `--preset` and a flag for each setting of the groups; imports PyTorch for the defaults."""
    from tombola.study.config import StudyConfig
    from tombola.tasks.presets import TEXT_PRESETS

    parser.add_argument(
        "--preset",
        choices=sorted(TEXT_PRESETS),
        help=f"quick: a sample of the rows, one epoch; paper: all rows, three epochs ({preset})",
    )
    hints = typing.get_type_hints(StudyConfig)
    defaults = {field.name: field.default for field in dataclasses.fields(StudyConfig)} | dict(TEXT_PRESETS[preset])
    for title in groups:
        members, text = GROUPS[title]
        group = parser.add_argument_group(title, text)
        for name in members:
            default = defaults[name]
            shown = "" if default is None or isinstance(default, bool) else f" ({default})"
            options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": f"{_HELP[name]}{shown}"}
            kinds = typing.get_args(hints[name]) or (hints[name],)
            if typing.get_origin(hints[name]) is tuple:
                options["type"] = numbers if float in kinds else names
                options["metavar"] = ",".join(_LISTS[name])
                shown = f" ({_listed(default)})" if default else ""
                options["help"] = f"{_HELP[name]}{shown}"
            elif bool in kinds:
                options["action"] = argparse.BooleanOptionalAction
            else:
                options["type"] = next(kind for kind in (int, float, str) if kind in kinds)
                options["metavar"] = name.rsplit("_", maxsplit=1)[-1].upper()
            group.add_argument(f"--{name.replace('_', '-')}", **options)


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given as flags, by their names in a `StudyConfig`."""
    from tombola.study.config import StudyConfig

    names = {field.name for field in dataclasses.fields(StudyConfig)}
    return {name: value for name, value in vars(options).items() if name in names and value is not None}
