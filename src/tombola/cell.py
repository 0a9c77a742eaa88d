"""One seed of a study as a folder: where its models, tickets, scores and analyses lie."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tombola.ticket import TICKETS, Pruning

SAVED: Mapping[str, tuple[str, ...]] = {"none": (), "good": ("good",), "all": TICKETS}
"""For each `save`, the tickets whose retrained models are written."""

EVALUATION = "evaluation.safetensors"
SEARCH_EVALUATION = "evaluation-search.safetensors"
COST = "cost.json"
"""What the good ticket's retrained model costs dense, masked and shrunk, see `tombola.cost`."""


@dataclass(frozen=True)
class Cell:
    """One seed of a study: its folder, and what is read from it."""

    seed: int
    folder: Path

    @property
    def full(self) -> Path:
        """The fine-tuned model."""
        return self.folder / "full"

    def ticket(self, pruning: str, name: str) -> Path:
        """The folder of a ticket."""
        return self.folder / pruning / name

    def analysis(self, what: str, pruning: str = "") -> Path:
        """The file of an analysis: of the full model, or of the tickets of a pruning."""
        return self.folder / "analysis" / pruning / f"{what}.json"

    def scored(self, prunings: tuple[Pruning, ...]) -> Iterator[Path]:
        """The folder of every model that has a score, in the order of rows."""
        places = [self.folder / "majority", self.full]
        for pruning in prunings:
            for name in TICKETS:
                places += [self.ticket(pruning, name) / stage for stage in ("pruned", "retrained")]
        return (place for place in places if (place / "score.json").is_file())
