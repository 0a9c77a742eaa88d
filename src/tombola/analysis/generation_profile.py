"""What a full model and its tickets write, prompt by prompt."""

from dataclasses import dataclass

from tombola.foundations.json_dataclasses import JsonRecord
from tombola.tasks.language.text_generation import Sampling, Writing


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
class WritingProfile(JsonRecord):
    """What several models wrote on the same prompts.

    Attributes:
        prompts: what they continued.
        sampling: how.
        authors: the models; none of them if there was nobody to ask.
    """

    prompts: tuple[str, ...]
    sampling: Sampling
    authors: tuple[Author, ...]
