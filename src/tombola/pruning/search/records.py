"""Record of a search: every pass, the good ticket, and the files that both are kept in."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field
from safetensors.numpy import load_file, save
from torch import nn
from typing_extensions import TypedDict

from tombola.foundations.atomic_files import read_lines, write_bytes, write_lines
from tombola.foundations.errors import TombolaError, reading
from tombola.foundations.json_dataclasses import NotNegative, Share, Whole, read
from tombola.foundations.shown import Shown
from tombola.pruning.evaluation import Evaluation
from tombola.pruning.importance import Importance
from tombola.subnetworks.subnetwork import Subnetwork
from tombola.tasks.base import Predictions
from tombola.tickets.kinds import TicketKind
from tombola.tickets.ticket import Ticket

PREDICTIONS = "predictions.safetensors"
"""The file of what every iteration of a search predicts."""
GOOD = "good.safetensors"
"""The file of the evaluation of the good ticket's state."""
SEARCH_FILES = ("search.jsonl", PREDICTIONS, GOOD)
"""Files of a search, beside the folder of its ticket."""


class NoTicketWarning(UserWarning):
    """Warning of a search that found no ticket: no cut held, or nothing that is left holds as well."""


_Pair = Annotated[list[Whole], Field(min_length=2, max_length=2)]
_Grid = list[list[float | None]]


class _Removed(TypedDict, total=False):
    """Form of `SearchPass.removed` in a file."""

    weights: int
    heads: list[_Pair]
    mlps: list[Whole]
    neurons: list[_Pair]
    channels: list[_Pair]


class _Ranked(TypedDict, total=False):
    """Form of `SearchPass.importance` in a file."""

    heads: _Grid
    mlps: list[float | None]
    neurons: _Grid
    channels: _Grid


@dataclass(frozen=True)
class SearchPass:
    """Pass of a search, one iteration: a line of `search.jsonl`.

    Attributes:
        iteration: from 0, the full model.
        phase: `full`; of sites `joint`, `heads`, `mlps`, `neurons`, `channels`; of weights the criterion: `magnitude`.
        removed: what this iteration removed: `heads` as [row, head], `mlps` as layers, `neurons` as [layer, block]
            and `channels` as [residual block, group], least important first; or by how many `weights` fewer there are
            than before.
        heads, mlps, neurons, weights: survivors.
        sparsity: share of the prunable weights that is gone.
        score: on the search split.
        holds: whether the score holds the threshold, as all before it did; if not, the state before stands.
        seconds: of this pass.
        importance: normalised importance of the survivors in this state, as `Importance.lists`; None for weights.
        more: the task's further metrics, those of the search split.
        channels: surviving groups of channels.
        matrices: of a ticket of weights, how many survive in each matrix, in the order of the anatomy.
    """

    iteration: Whole
    phase: str
    removed: Mapping[str, Any]
    heads: Whole
    mlps: Whole
    neurons: Whole
    weights: Whole
    sparsity: Share
    score: float
    holds: bool
    seconds: NotNegative
    importance: Mapping[str, Any] | None = None
    more: Mapping[str, float] = field(default_factory=dict)
    channels: Whole = 0
    matrices: list[int] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Search(Shown):
    """A finished search.

    Attributes:
        good: the smallest ticket found whose score holds; the whole model where no cut held, see `found`.
        passes: every iteration, the full model first.
        predictions: [examples] of every iteration, from which intervals are drawn; none when it was read from disk.
        evaluation: of the good ticket's state, on the search split.
        model: what the good ticket keeps, where the method changed the values of the weights that survive.
        trained: the good ticket as it was trained, where the search trains between its cuts and found one.
    """

    good: Ticket
    passes: tuple[SearchPass, ...] = field(repr=False)
    predictions: tuple[Predictions, ...] = field(default=(), repr=False)
    evaluation: Evaluation | None = field(default=None, repr=False)
    model: nn.Module | None = field(default=None, repr=False)
    trained: Subnetwork | None = field(default=None, repr=False)

    @property
    def kind(self) -> TicketKind:
        """Kind of the good ticket: what was removed."""
        return self.good.kind

    @property
    def found(self) -> bool:
        """True if it found a ticket: some of the model is gone, and some is left."""
        return 0 < len(self.good) < self.good.total

    @property
    def full_score(self) -> float:
        """The full model's score on the search split."""
        return self.passes[0].score

    @property
    def last(self) -> SearchPass:
        """The iteration whose state is the good ticket."""
        return [one for one in self.passes if one.holds][-1]

    def states(self) -> tuple[Ticket, ...]:
        """Ticket of every iteration of a search of sites, the full model's first; none of weights, which name none."""
        if self.kind == "weights":
            return ()
        holding = state = self.good | ~self.good
        found, phase = [], self.passes[0].phase
        for one in self.passes:
            # A phase begins where the one before it last held, however far that went on for its curve.
            state, phase = (holding if one.phase != phase else state), one.phase
            state = state.without({kind: one.removed.get(kind, []) for kind in state.sites})
            holding = state if one.holds else holding
            found.append(state)
        return tuple(found)

    def least_useful_first(self, kind: str) -> list[Any]:
        """Every site of a kind: in the order of removal, then survivors by rising importance.

        Heads are [row, head], MLPs layers, neurons [layer, block].
        """
        removed = [site for one in self.passes if one.holds for site in one.removed.get(kind, [])]
        assert self.last.importance is not None
        return removed + Importance.from_lists(self.last.importance).least_first(kind)

    def save(self, folder: Path) -> None:
        """Write `search.jsonl` and predictions, then the ticket as `good/`: where that is, the search is complete."""
        write_lines(folder / "search.jsonl", (asdict(one) for one in self.passes))
        if self.predictions:
            write_bytes(folder / PREDICTIONS, save({str(index): one for index, one in enumerate(self.predictions)}))
        if self.evaluation is not None:
            self.evaluation.write(folder / GOOD)
        self.good.save(folder / "good")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a search that `save` wrote.

        Raises:
            TombolaError: a file is missing or damaged.
        """
        return cls(Ticket.load(folder / "good"), read_passes(folder / "search.jsonl"))


def read_predictions(path: Path) -> tuple[Predictions, ...]:
    """Read the predictions [examples] of every iteration that a search wrote as `PREDICTIONS`.

    Raises:
        TombolaError: the file is missing or damaged.
    """
    with reading(path, f"delete {path.parent} and start again"):
        arrays = load_file(path)
        return tuple(arrays[str(index)] for index in range(len(arrays)))


def read_passes(path: Path) -> tuple[SearchPass, ...]:
    """Read a `search.jsonl`, the full model first.

    Raises:
        TombolaError: it is missing or damaged.
    """
    mend = f"delete {path.parent} and start again"
    places = {f"{path}, line {number}": line for number, line in enumerate(read_lines(path), start=1)}
    passes = tuple(read(SearchPass, line, where, mend) for where, line in places.items())
    for one, where in zip(passes, places, strict=True):
        read(_Removed, one.removed, where, mend, "removed")
        read(_Ranked, one.importance or {}, where, mend, "importance")
    if [one.iteration for one in passes] != [*range(len(passes))]:
        raise TombolaError(f"{path} does not count its iterations from 0; {mend}")
    if not passes or not passes[0].holds:
        raise TombolaError(f"{path} does not begin with the full model; {mend}")
    return passes
