"""Made-up scores and importances, in place of evaluated models, and the order of sites that follows from them."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tombola.pruning.evaluation import STANDARD, Evaluation, EvaluationOptions
from tombola.pruning.importance import Importance
from tombola.subnetworks.subnetwork import Subnetwork
from tombola.tasks.base import Task
from tombola.tickets.ticket import Ticket

Site = tuple[int, int]


Scores = Callable[[Ticket], float]


def made_up_importance(ticket: Ticket, seed: int) -> Importance:
    """Few values, so that ties abound; other ones for every ticket."""
    rng = np.random.default_rng([seed, len(ticket), *next(iter(ticket.masks.values())).flatten().long().tolist()])
    values = {kind: torch.from_numpy(rng.integers(0, 6, mask.shape) / 4) for kind, mask in ticket.masks.items()}
    return Importance({kind: value.where(ticket.masks[kind], math.nan) for kind, value in values.items()})


class Fake:
    """Stands in for `evaluate`: scores by a function of the ticket, and keeps what it was asked."""

    def __init__(self, score: Scores, seed: int = 0) -> None:
        self.score, self.seed = score, seed
        self.asked = list[tuple[Subnetwork, EvaluationOptions, dict[str, Any]]]()

    def __call__(
        self, subnetwork: Subnetwork, task: Task, options: EvaluationOptions = STANDARD, **more: Any
    ) -> Evaluation:
        self.asked.append((subnetwork, options, more))
        ticket = subnetwork.ticket
        importance = made_up_importance(ticket, self.seed) if ticket.sites else None
        nothing = np.zeros(0)
        return Evaluation(self.score(ticket), nothing, nothing.astype(np.float32), importance, 0.0)


def made_up_scores(seed: int, kind: str) -> Scores:
    """Scores that fall with the ticket's size, or at random, or never."""

    def score(ticket: Ticket) -> float:
        if kind == "never falls":
            return 0.8
        rng = np.random.default_rng([seed, len(ticket), int(ticket.masks[next(iter(ticket.masks))].sum())])
        share = len(ticket) / ticket.total
        return float(0.5 + 0.3 * share + 0.2 * rng.random()) if kind == "falls" else float(rng.random())

    return score


def unit(values: dict[Any, float]) -> dict[Any, float]:
    if not values:
        return {}
    low, high = min(values.values()), max(values.values())
    return {site: (value - low) / (high - low) if high > low else 0.0 for site, value in values.items()}


def least(ticket: Ticket, seed: int) -> dict[str, list[Any]]:
    """Living sites of each kind, least important first, by the protocol's normalisation and then by index."""
    found: dict[str, list[Any]] = {}
    for kind, importance in made_up_importance(ticket, seed).sites.items():
        rows = importance.reshape(len(importance), -1)
        # PyTorch's norm, so that both roads round alike and agree about what is a tie.
        norms = rows.nan_to_num().norm(dim=1).tolist() if kind == "heads" else [1.0] * len(rows)
        values: dict[Site, float] = {}
        for layer, (row, norm) in enumerate(zip(rows.tolist(), norms, strict=True)):
            values |= {(layer, index): v / (norm or 1.0) for index, v in enumerate(row) if not math.isnan(v)}
        scaled = unit(values)
        order = sorted(scaled, key=lambda site, by=scaled: (by[site], site))  # type: ignore[misc]
        found[kind] = [layer if kind == "mlps" else [layer, index] for layer, index in order]
    return found
