"""Calibration text, read by a model while the sizes of its activations are taken.

Text is drawn as in the papers, in stretches of one long text. A language task draws its own
(`LanguageTask.calibration_text`); the blocks of its splits `train` and `importance`, which lie one after another, are
for gradients, and are plain text too. Its examples are not: several sequences share one row there, with a mask of their
own.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from tombola.foundations.errors import TombolaError
from tombola.tasks.base import Batch
from tombola.tasks.padding import padded_right

Calibration = Iterable[Batch | Mapping[str, Tensor] | Tensor]
"""Batches of a task, keyword arguments of the forward pass, or bare token ids, int64 [batch, tokens]."""


def calibration_inputs(calibration: Calibration | None, model: nn.Module) -> list[Mapping[str, Tensor]]:
    """The batches as keyword arguments of the forward pass of `model`.

    Raises:
        TombolaError: there is nothing in them, or nothing that the model could read.
    """
    if calibration is None:
        raise TombolaError("this method looks at activations: give it calibration text")
    if isinstance(calibration, Tensor | Mapping):
        calibration = [calibration]
    found = [given for one in calibration if (given := _inputs(one)) and all(t.numel() for t in given.values())]
    found = [padded_right(given) for given in found]
    if not found:
        raise TombolaError("the calibration text is empty; give at least one batch with tokens")
    for given in found:
        _check(given, model)
    return found


def count(inputs: Sequence[Mapping[str, Tensor]]) -> dict[str, int]:
    """Size of the calibration, for a ticket's record: batches, examples, and positions (of tokens, padding too)."""
    first = [next(iter(given.values())) for given in inputs]
    facts = {"batches": len(inputs), "examples": sum(len(tensor) for tensor in first)}
    if all(not tensor.is_floating_point() for tensor in first):
        facts["tokens"] = sum(tensor.numel() for tensor in first)
    return facts


def _inputs(one: Batch | Mapping[str, Tensor] | Tensor) -> Mapping[str, Tensor]:
    if not isinstance(one, Batch):
        return {"input_ids": one} if isinstance(one, Tensor) else one
    if "predicted" not in one.inputs:
        return one.inputs
    # A packed batch of a language task: each of its rows must be one text from end to end.
    ids = one.inputs["input_ids"]
    scored = torch.bincount(one.inputs["at"].cpu() // ids.shape[1], minlength=len(ids))
    if "ends" in one.inputs or not (scored == ids.shape[1]).all():
        raise TombolaError(
            "examples of a language task are no calibration text, as their choices share rows; calibrate on its "
            "calibration_text(), or on batches of its split train"
        )
    return {"input_ids": ids}


def _check(given: Mapping[str, Tensor], model: nn.Module) -> None:
    config = getattr(model, "config", None)
    ids = given.get("input_ids")
    if ids is not None:
        if ids.ndim != 2 or ids.is_floating_point():
            raise TombolaError(
                f"calibration ids must be whole numbers [batch, tokens], and one batch is {ids.dtype} {list(ids.shape)}"
            )
        size = getattr(config, "vocab_size", None)
        if size is not None and not 0 <= int(ids.min()) <= int(ids.max()) < size:
            raise TombolaError(
                f"the calibration text has token id {int(ids.max())}, and the model knows 0 to {size - 1}; use the "
                "model's own tokenizer"
            )
    if getattr(config, "is_encoder_decoder", False) and not {"decoder_input_ids", "labels"} & set(given):
        raise TombolaError("an encoder-decoder model is calibrated on decoder_input_ids too, and a batch has none")
