"""Texts that a full model and its tickets generate, prompt by prompt."""

from dataclasses import dataclass

from tombola.foundations.json_dataclasses import JsonRecord
from tombola.tasks.capabilities import GeneratedTexts, GenerationSettings


@dataclass(frozen=True)
class GeneratingModel:
    """Model that generated texts, and the texts.

    Attributes:
        ticket: `full`, `good`, `random`, ...
        stage: `pruned`, `retrained`, or `none` of the full model.
        sparsity: share of the prunable weights that is gone.
        generated: its texts in numbers, and themselves.
    """

    ticket: str
    stage: str
    sparsity: float
    generated: GeneratedTexts


@dataclass(frozen=True)
class GenerationProfile(JsonRecord):
    """Texts of several models on the same prompts; no models if there was nobody to ask."""

    prompts: tuple[str, ...]
    settings: GenerationSettings
    models: tuple[GeneratingModel, ...]
