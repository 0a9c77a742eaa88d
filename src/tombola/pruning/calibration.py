"""Calibration text, read by a model while the sizes of its activations are taken.

Text is drawn as in the papers, in stretches of one long text, by a task (`Task.calibration_text`). Batches of a task
will do too, as far as they are plain text (`Batch.calibration_inputs`).
"""

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from tombola.foundations.errors import TombolaError, check_type
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
    check_type(
        "the calibration text", calibration, Iterable, "[tokenizer(text, return_tensors='pt') for text in texts]"
    )
    found = [given for one in calibration if (given := _inputs(one)) and all(t.numel() for t in given.values())]
    found = [padded_right(given) for given in found]
    if not found:
        raise TombolaError("the calibration text is empty; give at least one batch with tokens")
    for given in found:
        _check(given, model)
    ids = [_real(given) for given in found if "input_ids" in given]
    if len(ids) == len(found) and not any(one.numel() for one in ids):
        raise TombolaError("the calibration text is padding alone; give at least one batch with tokens")
    if len(ids) == len(found) and len({token for one in ids for token in one.unique().tolist()}) == 1:
        warnings.warn(
            "the calibration text is one token again and again, which says nothing of real inputs; give text",
            stacklevel=2,
        )
    return found


def count(inputs: Sequence[Mapping[str, Tensor]]) -> dict[str, object]:
    """Size of the calibration, and of token ids which they are: JSON values for a ticket's record.

    `batches`, `examples`, and of token ids `tokens` (padding too), `window` (tokens of the longest example), `sha256`
    (of the ids, little-endian int64, example after example) and `first_token`, with which every example begins; None
    where they begin differently.
    """
    first = [next(iter(given.values())) for given in inputs]
    facts: dict[str, object] = {"batches": len(inputs), "examples": sum(len(tensor) for tensor in first)}
    if all(not tensor.is_floating_point() for tensor in first):
        digest = hashlib.sha256()
        for tensor in first:
            digest.update(tensor.cpu().numpy().astype("<i8").tobytes())
        begin = {token for tensor in first for token in tensor.flatten(1)[:, 0].tolist()}
        facts["tokens"] = sum(tensor.numel() for tensor in first)
        facts["window"] = max(tensor.flatten(1).shape[1] for tensor in first)
        facts["first_token"] = begin.pop() if len(begin) == 1 else None
        facts["sha256"] = digest.hexdigest()
    return facts


def _inputs(one: Batch | Mapping[str, Tensor] | Tensor) -> Mapping[str, Tensor]:
    if isinstance(one, str):
        raise TombolaError(
            "calibration is text in batches of token ids, not strings; encode it first, as "
            "[tokenizer(text, return_tensors='pt') for text in texts]"
        )
    if not isinstance(one, Batch):
        return {"input_ids": one} if isinstance(one, Tensor) else one
    return one.calibration_inputs


def _real(given: Mapping[str, Tensor]) -> Tensor:
    """Token ids that are no padding, [tokens]."""
    ids, mask = given["input_ids"], given.get("attention_mask")
    return ids[mask.bool()] if mask is not None and mask.shape == ids.shape else ids.flatten()


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
