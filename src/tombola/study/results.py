"""The records of a study: a row for every scored model, a verdict on every ticket."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from tombola.foundations.json_dataclasses import read
from tombola.metrics import statistics


@dataclass(frozen=True)
class Row:
    """Result row: a line of `results.jsonl`.

    Attributes:
        model, task, seed: of the study.
        method: `none`, or the pruning method: `heads+mlps`, `weights`, `wanda`, ...
        ticket: `full`, `good`, `random`, `random-layerwise`, `bad` or `guessing`.
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
    n: int
    heads: int
    mlps: int
    neurons: int
    channels: int
    weights: int
    sparsity: float
    parameters: int
    bytes: int
    loss: float | None
    seconds: float
    more: Mapping[str, float]


@dataclass(frozen=True)
class TicketVerdict:
    """Verdict on a ticket: an entry of `verdicts.json`.

    Attributes:
        method, ticket, stage: as in `Row`.
        sentence: the verdict in words.
        verdict: on that ticket; in JSON its fields stand among the entry's own.
    """

    method: str
    ticket: str
    stage: str
    sentence: str
    verdict: statistics.Verdict

    def entry(self) -> dict[str, object]:
        """JSON object."""
        place = {"method": self.method, "ticket": self.ticket, "stage": self.stage}
        return {**place, **asdict(self.verdict), "sentence": self.sentence}

    @classmethod
    def of_entry(cls, values: Mapping[str, object], where: str) -> "TicketVerdict":
        """Read what `entry` made.

        Raises:
            TombolaError: a field is missing or of another type.
        """
        return read(cls, {**values, "verdict": values}, where)
