"""Regimes as data: encoders of texts, language models, denoisers trained from nothing, and those of one's own images.

A regime differs from another only in its task, which `tasks/catalog.py` opens, and in where its sites live, which
`families.py` and `denoisers.py` know. Whatever else a study must know of it stands here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tombola.tasks.data.glue import GLUE
from tombola.tasks.presets import DIGITS_PRESETS, IMAGE_FOLDER_PRESETS, LANGUAGE_PRESETS, TEXT_PRESETS, Preset

OWN_TEXTS = ("validation_file", "text_column", "text_pair_column", "label_column", "metric", "regression")
"""Settings of texts of one's own, whose task is a path; tasks with a name have their own columns, rows and metric."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Regime:
    """What a study must know of a regime.

    Attributes:
        tasks: their names.
        judges: what they judge, to be said after the name of one.
        presets: settings that go together, by name.
        settings: settings of this regime alone.
        whose: what those are for, in words.
        needs: settings without which there is no task → what they name.
        unfit: analyses that cannot be asked → what they are of instead, as a clause.
        trains: whether the full model is trained on the task, so that there is something to rewind to; otherwise it is
            judged as it comes, and tickets are trained again on text only, if `recovery_tokens` says so.
        draws: whether its models are denoisers, which are judged by what they draw.
    """

    tasks: tuple[str, ...]
    judges: str
    presets: Mapping[str, Preset]
    settings: tuple[str, ...] = ()
    whose: str = ""
    needs: Mapping[str, str] = field(default_factory=dict)
    unfit: Mapping[str, str] = field(default_factory=dict)
    trains: bool = True
    draws: bool = False


_TEXT_GENERATION = {"text-generation": "text-generation is of language models"}
_DRAWN = _TEXT_GENERATION | {
    name: f"{name} is asked of models of text" for name in ("attention", "interactions", "representations")
}

TEXTS = Regime(
    tasks=(*GLUE, "rotten-tomatoes"),
    judges="models that label texts",
    presets=TEXT_PRESETS,
    unfit=_TEXT_GENERATION,
)
"""Encoders, and the sequence classifiers of decoders. A task without a name is a path of texts of one's own."""
LANGUAGE = Regime(
    tasks=("understanding",),
    judges="language models",
    presets=LANGUAGE_PRESETS,
    settings=(
        *("abilities", "text_tokens", "retain", "text_file", "bos_token"),
        *("importance_samples", "importance_sequence_length", "recovery_tokens", "lora_rank", "lora_learning_rate"),
    ),
    whose="language models (the task understanding)",
    unfit={"attention": "attention patterns are of encoders"},
    trains=False,
)
"""Language models, judged zero-shot."""
DIGITS = Regime(tasks=("digits",), judges="what is drawn", presets=DIGITS_PRESETS, unfit=_DRAWN, draws=True)
"""Denoisers of small real images, trained from nothing: the classical lottery ticket."""
IMAGES = Regime(
    tasks=("images",),
    judges="what is drawn",
    presets=IMAGE_FOLDER_PRESETS,
    settings=("image_size", "feature_model", "pipeline"),
    whose="the task images",
    needs={"data": "the folder of your images"},
    unfit=_DRAWN,
    draws=True,
)
"""Denoisers of one's own, and a folder of images."""

REGIMES = (TEXTS, LANGUAGE, DIGITS, IMAGES)
NAMED_TASKS = tuple(name for regime in REGIMES for name in regime.tasks)
"""Tasks that have a name; any other is a path."""


def regime_of(task: str) -> Regime:
    """The regime of a task, by its name or the path of texts of one's own."""
    return next((regime for regime in REGIMES if task in regime.tasks), TEXTS)
