"""Random tickets along a search of weights: at each of its sparsities one with as many weights in every matrix.

It is the control of the classical lottery ticket (Frankle & Carbin 2019, section 2): where the found tickets stay at
the full model's score and random ones of the same size do not, it matters *which* weights survive.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tombola.architectures.anatomy import Anatomy
from tombola.foundations.errors import TombolaError
from tombola.foundations.json_dataclasses import JsonRecord
from tombola.foundations.random_streams import random_stream
from tombola.pruning import controls
from tombola.pruning.search.records import SearchPass
from tombola.tickets.ticket import Ticket

NAME = "random-curve"


@dataclass(frozen=True)
class RandomPoint(JsonRecord):
    """A random ticket of the size of one of a search's tickets.

    Attributes:
        sparsity: share of the prunable weights that is gone.
        stage: `retrained`, or `pruned` where the search trains nothing between its cuts.
        score: on the split that was searched.
        score_low, score_high: 95 % bootstrap interval over examples.
        seed: of the draw, and of the model.
    """

    sparsity: float
    stage: str
    score: float
    score_low: float
    score_high: float
    seed: int


def read_points(folder: Path) -> tuple[RandomPoint, ...]:
    """The points in a folder, those of low sparsity first; none where there are none."""
    found = (RandomPoint.read(path) for path in folder.glob(f"{NAME}-*.json"))
    return tuple(sorted(found, key=lambda point: point.sparsity))


def at(passes: Sequence[SearchPass], sparsity: float) -> SearchPass:
    """The iteration of a search that stands at a sparsity.

    Raises:
        TombolaError: the search did not go so far.
    """
    nearest = min(passes[1:], key=lambda search_pass: abs(search_pass.sparsity - sparsity), default=None)
    # A count of weights is rounded.
    if nearest is None or abs(nearest.sparsity - sparsity) > 5e-3:
        raise TombolaError(f"the search did not go on to a sparsity of {sparsity:g}")
    return nearest


def random_like(search_pass: SearchPass, anatomy: Anatomy, seed: int) -> Ticket:
    """A ticket with as many weights in every matrix as an iteration left, drawn uniformly.

    Raises:
        TombolaError: the iteration is not of weights, or of another model.
    """
    if len(search_pass.matrices) != len(anatomy.matrices):
        raise TombolaError(
            f"the search left weights in {len(search_pass.matrices)} matrices, the model has {len(anatomy.matrices)}; "
            "delete its folder and start again"
        )
    generator = random_stream(seed, "random-curve", search_pass.sparsity)
    masks = {
        matrix.name: controls.draw(matrix.size, kept, generator).view(matrix.shape)
        for matrix, kept in zip(anatomy.matrices, search_pass.matrices, strict=True)
    }
    return Ticket("weights", anatomy.signature, masks, {"ticket": "layer-matched", "method": "weights", "seed": seed})
