"""Log-probabilities of packed items under a model, read as fast as is exact for it, and the verdicts on the items."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from tombola.architectures.parameters import device_of, dtype_of, evaluating
from tombola.foundations.errors import TombolaError
from tombola.tasks.language.item import RULES, Item
from tombola.tasks.language.packing import LONGEST, mask, pack, packed_row_of

LOGITS_AT_ONCE = 2**24
"""Logits that are there at once: 64 MiB in fp32, whatever the batch."""
_PRECISE = (torch.float32, torch.float64)
TOLERANCE = 1e-3
"""Nats by which two ways may differ on one token in fp32, where rounding is near 1e-5 and a mistake near 1."""


@dataclass(frozen=True)
class Reading:
    """Way in which a model reads items.

    Attributes:
        trees: rows are trees, with a mask and positions of their own; otherwise every sequence is a plain row.
        sparing: logits are made only where something is predicted; otherwise for every token.
        window: tokens that a tree may have; None for any number.
    """

    trees: bool = False
    sparing: bool = False
    window: int | None = None


def read(model: nn.Module, inputs: Mapping[str, Tensor], reading: Reading) -> tuple[Tensor, Tensor | None]:
    """Run a model on what `pack` made, on the model's device.

    Returns:
        Log-probabilities [edges] with their graph, fp32, or fp64 of a model in fp64; and bool [edges], whether every
        other token is less probable: False where the logits are NaN, None where no item asks.
    """
    ids = inputs["input_ids"]
    given: dict[str, Any] = {"input_ids": ids, "use_cache": False}
    if "ends" in inputs:
        given |= {"position_ids": inputs["positions"], "attention_mask": mask(inputs["ends"], dtype_of(model))}
    else:
        # Padding at the end is never seen by what precedes it; where nothing is masked, the fastest attention serves.
        given["attention_mask"] = torch.ones_like(ids)
    at, predicted = inputs["at"], inputs["predicted"]
    # One more pass over all logits, which only some rules need.
    greedy = "exact" in inputs
    if reading.sparing:
        assert isinstance(model, PreTrainedModel)
        base, head = model.base_model, model.get_output_embeddings()
        if base is model or head is None:
            raise ValueError("no output layer of its own")
        return _scores(head, base(**given).last_hidden_state.flatten(0, 1)[at], predicted, greedy)
    return _scores(nn.Identity(), model(**given).logits.flatten(0, 1)[at], predicted, greedy)


def choose(model: nn.Module, items: Sequence[Item]) -> Reading:
    """The fastest reading that gives this model's own log-probabilities, found by computing items both ways.

    Args:
        model: a whole causal model.
        items: those that it will read. The longest of those that part is tried: a sliding window shows only when it is
            overstepped.

    Raises:
        TombolaError: the model is not causal, or its outputs are not finite.
    """
    causal(model)
    exact = model if dtype_of(model) in _PRECISE else copy.deepcopy(model).float()
    # Of those that will share a row with others; texts never do.
    parting = [item for item in items if len(item.sequences) > 1] or [item for item in items if item.rule != "text"]
    parting = parting or list(items[:1])
    if not parting:
        return Reading()
    window = _window(model)
    # The longest, in one row with another one if there is room.
    tried = sorted(parting, key=lambda one: one.positions)[-2:]
    if sum(len(one.tree) for one in tried) > min(window or LONGEST, LONGEST):
        del tried[:-1]
    ways = [Reading(True, True, window), Reading(True, False, window), Reading(sparing=True)]
    if window is not None and max(len(one.tree) for one in parting) > window:
        # A tree's own mask has no window, which counts what lies between two tokens in their sequence.
        ways = ways[2:]
    expected = _sums(exact, tried, Reading())
    for reading in ways:
        try:
            found = _sums(exact, tried, reading)
        except Exception:  # Whatever a model runs into that does not take masks or positions of one's own.
            continue
        if (expected - found).abs().max() <= TOLERANCE * max(1, tried[-1].positions ** 0.5):
            return reading
    return Reading()


def causal(model: nn.Module) -> None:
    """Raise a TombolaError unless the model's logits at a token depend on nothing that comes after it."""
    name = type(model).__name__
    config = getattr(model, "config", None)
    if not isinstance(model, PreTrainedModel) or getattr(config, "is_encoder_decoder", False):
        raise TombolaError(f"{name} is no causal language model; give one that predicts the next token")
    device, vocabulary = device_of(model), int(getattr(model.get_input_embeddings(), "num_embeddings", 0))
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary, (1, 8), generator=generator).to(device)
    other = ids.clone()
    other[0, -1] = (ids[0, -1] + 1) % vocabulary
    try:
        with evaluating(model):
            first, second = (model(input_ids=given).logits[0, :-1].float() for given in (ids, other))
    except (AttributeError, TypeError, ValueError) as error:
        raise TombolaError(
            f"{name} is no causal language model ({error}); give one that predicts the next token"
        ) from None
    if first.ndim != 2 or len(first) != 7:
        raise TombolaError(f"{name} gives no logits for each token; give a model that predicts the next token")
    if not (first.isfinite().all() and second.isfinite().all()):
        raise TombolaError(f"the outputs of {name} are not finite; load it in fp32, or give another checkpoint")
    # A causal model computes the same numbers for what comes before, but for rounding.
    if (first - second).abs().max() > (1e-4 if dtype_of(model) in _PRECISE else 1e-2) * first.abs().max():
        raise TombolaError(
            f"{name} is not causal: what it says of a token depends on later ones; give a model that was trained to "
            "predict the next token"
        )


def _sums(model: nn.Module, items: Sequence[Item], reading: Reading) -> Tensor:
    """The log-probability of each sequence of items, which are one row where trees are read, fp64 on the CPU."""
    packed_rows = [packed_row_of(items, range(len(items)))] if reading.trees else None
    packed = pack(items, trees=reading.trees, packed_rows=packed_rows)
    inputs = {name: tensor.to(device_of(model)) for name, tensor in packed.items()}
    with evaluating(model):
        return sums(read(model, inputs, reading)[0], inputs).flatten().double().cpu()


def read_plainly(model: nn.Module, items: Sequence[Item], at_once: int) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """Log-probabilities [edges] of items under a model, in plain rows without gradients, and each batch's inputs."""
    found = []
    with evaluating(model):
        for begin in range(0, len(items), at_once):
            packed = pack(items[begin : begin + at_once], trees=False)
            inputs = {name: tensor.to(device_of(model)) for name, tensor in packed.items()}
            found.append((read(model, inputs, Reading())[0], inputs))
    return found


def sums(log_probabilities: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
    """Log-probabilities of the sequences [items, groups, choices] from those of the edges; 0 where there is none."""
    shape = inputs["divisors"].shape
    total = log_probabilities.new_zeros(shape.numel())
    return total.index_add(0, inputs["slot"], log_probabilities[inputs["edge"]]).view(shape)


def _scores(head: nn.Module, hidden: Tensor, predicted: Tensor, greedy: bool) -> tuple[Tensor, Tensor | None]:
    """Scores of hidden states [edges, hidden], a slab of logits at a time, which are made again for the gradient."""
    rows = max(1, LOGITS_AT_ONCE // max(hidden.shape[-1], getattr(head, "out_features", 1)))

    def slab(states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        logits = head(states)
        # Softmax in 16 bits would round neighbouring sequences to ties.
        logits = logits if logits.dtype == torch.float64 else logits.float()
        chosen = logits.gather(-1, tokens[:, None])
        # Of several that are equally probable none is foreseen: a model that says the same of all knows nothing.
        best = (logits >= chosen).sum(-1) == 1 if greedy else None
        return (chosen - logits.logsumexp(-1, keepdim=True)).squeeze(-1), best

    parts = zip(hidden.split(rows), predicted.split(rows), strict=True) if len(predicted) else ()
    again = torch.is_grad_enabled() and len(predicted) > rows
    found = [checkpoint(slab, *part, use_reentrant=False) if again else slab(*part) for part in parts]
    logs = torch.cat([hidden.new_zeros(0), *(logs for logs, _ in found)])
    foreseen = [hidden.new_zeros(0, dtype=torch.bool), *(best for _, best in found if best is not None)]
    return logs, torch.cat(foreseen) if greedy else None


def _window(model: nn.Module) -> int | None:
    """The shortest sliding window of the model's attention; None where it has none."""
    config = getattr(model, "config", None)
    found = [getattr(config, name, None) for name in ("sliding_window", "attention_window", "window_size")]
    return min((one for one in found if isinstance(one, int) and one > 0), default=None)


def positions_of(config: object) -> int | None:
    """Tokens that a model can read at once, by its configuration; None where it does not say."""
    found = (getattr(config, name, None) for name in ("max_position_embeddings", "n_positions", "max_seq_len"))
    return next((one for one in found if isinstance(one, int) and one > 0), None)


def predictions(totals: Tensor, exact: Tensor, inputs: Mapping[str, Tensor], gold: Tensor) -> Tensor:
    """Verdicts, fp64 [items], from log-probabilities [items, groups, choices], and whether every token was foreseen."""
    divisors = inputs["divisors"].double()
    there = divisors > 0
    values = totals[:, 0] / divisors[:, 0].clamp(min=1)
    if totals.shape[1] > 1:
        # Contextual calibration (Zhao et al. 2021): divide by the mean probability of each label after no input.
        free = totals[:, 1:].masked_fill(~there[:, 1:], -torch.inf).softmax(-1)
        contexts = there[:, 1:].any(-1)
        likings = free.nan_to_num(0.0).sum(1) / contexts.sum(-1, keepdim=True).clamp(min=1)
        calibrated = contexts.any(-1, keepdim=True)
        unknown = (free.isnan().any(-1) & contexts).any(-1, keepdim=True)
        values = torch.where(calibrated, values - likings.clamp(min=1e-300).log(), values)
        values = values.masked_fill(unknown, torch.nan)
    values = values.masked_fill(~there[:, 0], -torch.inf)
    best = values.amax(-1, keepdim=True)
    ties = (values == best).sum(-1).clamp(min=1)
    won = (values == best).gather(1, gold[:, None]).squeeze(1) / ties
    bits = -totals[:, 0, 0] / np.log(2) / divisors[:, 0, 0].clamp(min=1)
    rules = inputs["rules"]
    # A logit that overflowed is no opinion either.
    broken = (~values.isfinite() & there[:, 0]).any(-1)
    found = torch.where(rules == RULES.index("exact"), exact.double(), won)
    return torch.where(rules == RULES.index("text"), bits, found).masked_fill(broken, torch.nan)
