"""Optional capabilities of tasks, as protocols to ask for with `isinstance`, and the values that they speak in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tombola.foundations.errors import TombolaError
from tombola.foundations.json_dataclasses import JsonRecord
from tombola.tasks.base import Batch, Predictions

PROMPTS = (
    "Once upon a time, in a small village by the sea,",
    "The old man opened the letter and read it twice.",
    "It was raining when the train finally arrived.",
    "My grandmother always told me that",
    "The last thing I expected to find in the attic was",
    "In the year 2150, people no longer",
    "The dog looked at the door and waited, because",
    "She had never told anyone about the island, but",
)
"""Beginnings of stories."""


@dataclass(frozen=True)
class Measured:
    """Score of one ability of one model.

    Attributes:
        ability, title: its name for columns and flags, and for people.
        measure: `accuracy` or `bits per byte`.
        raw, raw_low, raw_high: the raw score with its 95 % bootstrap interval over examples.
        corrected: above chance: 0 for guessing, 1 for perfection.
        chance: what guessing reaches, of the raw score.
        learned: whether the model is clearly better than chance.
        n: examples.
    """

    ability: str
    title: str
    measure: str
    raw: float
    raw_low: float
    raw_high: float
    corrected: float
    chance: float
    learned: bool
    n: int


@dataclass(frozen=True)
class Retained:
    """Retention of one ability in a pruned model.

    Attributes:
        full, pruned: the ability of each.
        share: corrected score of the pruned model in shares of the full model's; None where the full model is at
            chance, as nothing can be retained that was never there.
        low, high: its 95 % interval, see `fieller_interval`; None with `share`, and where nothing bounds it.
    """

    full: Measured
    pruned: Measured
    share: float | None
    low: float | None
    high: float | None


@runtime_checkable
class HasAbilities(Protocol):
    """A task of several abilities, of which a model may lose one and keep another."""

    def retained(
        self, split: str, full: Predictions, pruned: Predictions, *, seed: int, resamples: int
    ) -> Sequence[Retained]:
        """Retention of each ability in a pruned model, from the predictions [examples] of both on `dev` or `search`."""


@dataclass(frozen=True)
class GenerationSettings:
    """Settings of text generation: how continuations are sampled.

    Attributes:
        seed: of all of them together.
        max_new_tokens: of a continuation at most.
        temperature: that logits are divided by.
        top_p: share of the probability that is drawn from, from the most probable tokens on (Holtzman et al. 2020).
        continuations: continuations of each prompt.
    """

    seed: int = 0
    max_new_tokens: int = 64
    temperature: float = 1.0
    top_p: float = 0.95
    continuations: int = 2

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.continuations < 1 or not self.temperature > 0 or not 0 < self.top_p <= 1:
            raise TombolaError(
                f"generation needs max_new_tokens, continuations and temperature above 0 and top_p to 1, not {self}"
            )


@dataclass(frozen=True)
class GeneratedTexts(JsonRecord):
    """Texts that a model generated, and how they look in numbers.

    Attributes:
        texts: the continuations, prompt by prompt.
        distinct: share of different 1-, 2- and 3-grams among all of the texts' tokens.
        repetition: mean share of a text's 4-grams that were in it before.
        length: mean tokens of a text.
        ended: share of the texts that the model ended itself.
        perplexity: of the continuations under the full model; None where that cannot be told.
    """

    texts: tuple[str, ...]
    distinct: tuple[float, float, float]
    repetition: float
    length: float
    ended: float
    perplexity: float | None


@runtime_checkable
class GeneratesTexts(Protocol):
    """A task whose models write."""

    def generate_texts(
        self, model: nn.Module, full: nn.Module, settings: GenerationSettings, prompts: Sequence[str] = PROMPTS
    ) -> GeneratedTexts:
        """Generate texts with a model, whole, shrunk or with zeroed weights; none where it is broken.

        Args:
            model: the one that writes.
            full: the full model, which says how surprising the texts are; it may be `model` itself.
            settings: the same for all models that are compared.
            prompts: what is continued.

        Raises:
            TombolaError: there are no prompts, or they do not fit.
        """


@runtime_checkable
class GeneratesImages(Protocol):
    """A task whose models draw images."""

    @property
    def seen(self) -> tuple[int, int, int]:
        """Channels, height and width of what the model sees: of the images or their latents."""

    @property
    def steps(self) -> int:
        """Passes of the model an image."""

    def image_grid(self, model: nn.Module | None, *, first: int = 0, count: int = 40) -> bytes | None:
        """Images of a model, or for None of what it is compared with, as a PNG; None where there is nothing to see.

        Each is drawn from noise of its own: image `first` and those after it, of every model from the same noise.
        """


@runtime_checkable
class ClassifiesTexts(Protocol):
    """A task whose models give texts a class, or a value, so that they can be asked about a text of one's own."""

    tokenizer: PreTrainedTokenizerBase
    max_length: int

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes; None where texts have values."""

    @property
    def parts(self) -> int:
        """Texts of an example: 2 of pairs, else 1."""

    def texts(self, split: str) -> Sequence[tuple[str, ...]]:
        """Text, or pair of texts, of every row of a split."""

    def batch_of(self, texts: Sequence[tuple[str, ...]]) -> Batch:
        """Batch of texts, or pairs of texts, that have no targets.

        Raises:
            TombolaError: the tokenizer cannot read one.
        """

    def answers(self, model: nn.Module, batch: Batch) -> Tensor:
        """Probabilities fp32 [batch, classes] in the order of `classes`, or values [batch, 1]."""
