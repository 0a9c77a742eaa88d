"""What a full model and its tickets write, prompt by prompt."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from tombola.creative_writing import Sampling, Writing
from tombola.records import read
from tombola.store import read_json, write_json


@dataclass(frozen=True)
class Author:
    """One model and what it wrote.

    Attributes:
        ticket: `full`, `good`, `random`, ...
        stage: `pruned`, `retrained`, or `none` of the full model.
        sparsity: share of the prunable weights that is gone.
        writing: its texts in numbers, and themselves.
    """

    ticket: str
    stage: str
    sparsity: float
    writing: Writing


@dataclass(frozen=True)
class WritingProfile:
    """What several models wrote on the same prompts.

    Attributes:
        prompts: what they continued.
        sampling: how.
        authors: the models; none of them if there was nobody to ask.
    """

    prompts: tuple[str, ...]
    sampling: Sampling
    authors: tuple[Author, ...]

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            TombolaError: the file is missing or damaged.
        """
        return read(cls, read_json(path), str(path), "delete it and run the study again")
