"""The records of a study: a row for every scored model, a verdict on every ticket of the stage that is judged."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tombola.foundations.atomic_files import read_json
from tombola.foundations.json_dataclasses import NotNegative, Share, Whole, read
from tombola.metrics import statistics
from tombola.metrics.statistics import signed
from tombola.study.folder_layout import SCORE


@dataclass(frozen=True)
class Row:
    """Result row: a line of `results.jsonl`.

    Attributes:
        model, task, seed: of the study.
        method: `none`, or the pruning method: `heads+mlps`, `weights`, `wanda`, ...
        ticket: `full`, `good`, `random`, `layer-matched`, `bad` or `guessing`.
        stage: `pruned`, `retrained` or `none`.
        metric, score: the task's metric on the dev split.
        score_low, score_high: 95 % bootstrap interval over examples.
        n: dev examples.
        heads, mlps, neurons, channels, weights: survivors; of channels, groups; weights are the prunable ones.
        sparsity: share of the prunable weights that is gone, 0 to 1; 1 for guessing, whose other sizes are 0.
        parameters: parameters of the whole model that are not pruned, embeddings and output layer included.
        bytes: memory of the parameters as the model runs: removed sites take none, zeroed weights still do.
        loss: mean loss of the dev examples; None where nothing was computed.
        seconds: to make and score the model: training included where it was trained.
        more: the task's further metrics.
    """

    model: str
    task: str
    seed: int
    method: str
    ticket: str
    stage: str
    metric: str
    score: float
    score_low: float
    score_high: float
    n: Annotated[int, Field(ge=1)]
    heads: Whole
    mlps: Whole
    neurons: Whole
    channels: Whole
    weights: Whole
    sparsity: Share
    parameters: Whole
    bytes: Whole
    loss: float | None
    seconds: NotNegative
    more: Mapping[str, float]


def read_row(place: Path) -> dict[str, Any]:
    """The fields of the `Row` of a scored model, from the `score.json` in its folder.

    Raises:
        TombolaError: it is missing or damaged.
    """
    path = place / SCORE
    values = read_json(path)
    read(Row, values, str(path), f"delete {place} and start again")
    return values


Difference = tuple[float, float, float]
"""Difference by which a ticket is better than another on the same examples, with the ends of its 95 % interval."""

_CONTROLS = {
    "random": "random",
    "layer-matched": "layer-matched random",
    "bad": "bad",
    "super-random": "random",
    "super-bad": "bad",
}
"""Control → what kind of ticket it is."""


def standings(against: Mapping[str, Difference]) -> dict[str, list[str]]:
    """Relation of a ticket to its controls, `better than` and so on → kinds of controls that it stands so to."""
    found: dict[str, list[str]] = {}
    for control, (_, low, high) in against.items():
        word = "better than" if low > 0 else "worse than" if high < 0 else "not clearly better or worse than"
        found.setdefault(word, []).append(_CONTROLS[control])
    return found


def beside_controls(against: Mapping[str, Difference]) -> str:
    """Sentence on how a ticket stands to its controls; empty where there are none."""
    numbers = {
        _CONTROLS[one]: f"{signed(gap)}, {signed(low)} to {signed(high)}" for one, (gap, low, high) in against.items()
    }
    parts = [
        f"{word} {' and '.join(f'the {kind} ticket ({numbers[kind]})' for kind in kinds)}"
        for word, kinds in standings(against).items()
    ]
    how = "differences on the same examples, with 95 % intervals"
    return f"With as many sites or weights it is {'; '.join(parts)}: {how}." if parts else ""


@dataclass(frozen=True)
class TicketVerdict:
    """Verdict on a ticket: an entry of `verdicts.json`.

    Attributes:
        method, ticket, stage: as in `Row`.
        sentence: the verdict in words, both halves: against the full model, and against the controls.
        verdict: on that ticket; in JSON its fields stand among the entry's own.
        against: control → the difference from it; of good tickets and super-survivors, as far as controls are scored.
    """

    method: str
    ticket: str
    stage: str
    sentence: str
    verdict: statistics.Verdict
    against: Mapping[str, Difference] = field(default_factory=dict)

    def entry(self) -> dict[str, object]:
        """JSON object."""
        place = {"method": self.method, "ticket": self.ticket, "stage": self.stage}
        return {**place, **asdict(self.verdict), "sentence": self.sentence, "against": dict(self.against)}

    @classmethod
    def of_entry(cls, values: Mapping[str, object], where: str) -> "TicketVerdict":
        """Read what `entry` made.

        Raises:
            TombolaError: a field is missing or of another type.
        """
        return read(cls, {**values, "verdict": values}, where)
