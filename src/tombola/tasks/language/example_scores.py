"""Scores of examples from the log-probabilities of their choices: right or wrong, or bits per byte."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from tombola.tasks.language.item import RULES


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
    found = torch.where(
        rules == RULES.index("text"), bits, torch.where(rules == RULES.index("exact"), exact.double(), won)
    )
    return found.masked_fill(broken, torch.nan)
