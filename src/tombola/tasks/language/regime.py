"""Language models as a regime: judged zero-shot by what they understand, trained again on text only if asked to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Self

from typing_extensions import override

from tombola.checkpoints.sources import configuration
from tombola.foundations.errors import TombolaError
from tombola.foundations.fingerprint import fingerprint
from tombola.foundations.settings import Count, Positive, Text, Whole, described, settings
from tombola.tasks.regime import Preset, Regime, RegimeSettings, TaskOptions, changed

if TYPE_CHECKING:
    from tombola.tasks.base import Task

_SHARED: Preset = MappingProxyType(
    {"model": "smollm2", "analyses": (), "refine": False, "curve_until": 0.05, "epochs": 1, "learning_rate": 1e-4}
)
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "quick": {
            **_SHARED,
            "methods": ("heads", "mlps", "weights", "wanda"),
            "controls": ("random",),
            "dev_rows": 80,
            "text_tokens": 3000,
            "heads_step": 0.15,
            "mlps_step": 2,
            "curve_until": 0.4,
            "sparsities": (0.2, 0.3, 0.4, 0.5, 0.6),
            "calibration_samples": 16,
            "sequence_length": 512,
            "importance_samples": 32,
        },
        "paper": {
            **_SHARED,
            "analyses": ("text-generation",),
            "methods": (
                *("heads", "mlps", "neurons", "kv-groups", "layers", "weights", "magnitude-matrix", "wanda"),
                *("sparsegpt", "random-weights", "magnitude-2of4", "wanda-2of4", "sparsegpt-2of4"),
            ),
            "sparsities": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
        },
    }
)
"""`quick`: a quarter of an hour on two cores with SmolLM2-135M. `paper`: every method, all examples, and the field's
128 x 2,048 tokens of calibration text."""
ADAPTER_LEARNING_RATE = 2e-4
"""Learning rate of QLoRA (Dettmers et al. 2023) up to 13 billion parameters: adapters start at nothing and need a
larger one than weights that are fine-tuned."""
_ENCODERS = frozenset(("bert", "roberta", "electra", "deberta-v2", "distilbert", "albert", "modernbert", "t5", "vit"))
_RETAIN = r"\s*(?:([^<>=\s]+)\s*>=\s*)?([0-9]*\.?[0-9]+)\s*"
_GROUP = "language models"
_setting = described(_GROUP)
_training = described("training")


@dataclass(frozen=True)
class RetentionThreshold:
    """Share of the full model's chance-corrected score that must hold: of an ability, or of the mean for None."""

    ability: str | None
    share: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `0.9`, or `ABILITY>=0.9`; a TombolaError where it is neither, or the share is out of range."""
        found = re.fullmatch(_RETAIN, text)
        if found is None:
            raise TombolaError(f"cannot read {text!r}; write what must be retained as grammar>=0.9, or as 0.9")
        if not 0 < (share := float(found[2])) <= 1:
            raise TombolaError(f"the share to retain must lie above 0 and at most at 1, not {found[2]}")
        return cls(found[1], share)


@settings
class LanguageSettings(RegimeSettings):
    """Settings of language models: what judges them, calibration text, and retraining of tickets."""

    files = ("text_file",)

    abilities: Annotated[tuple[Text, ...], _setting("what is measured", "grammar,knowledge")] = ()
    text_tokens: Annotated[Count | None, _setting("judge so many tokens of texts at most")] = None
    retain: Annotated[
        Text | None,
        _setting(
            "what a search must not lose, instead of the mean; of one ability, the score too: grammar>=0.9, or 0.9",
            pattern=f"^{_RETAIN}$",
        ),
    ] = None
    text_file: Annotated[
        Text | None, _setting("text file to calibrate, train and judge on, instead of plot summaries")
    ] = None
    bos_token: Annotated[
        Text, _setting("what every text begins with: none, bos, eos, a token, or auto for what suits the model best")
    ] = "auto"
    importance_samples: Annotated[Count, _setting("samples of text by whose loss heads and MLPs are ranked")] = 128
    importance_sequence_length: Annotated[Count, _setting("tokens of each of those samples")] = 128
    recovery_tokens: Annotated[Whole, _training("train tickets again on so many tokens; 0 for not at all")] = 0
    lora_rank: Annotated[
        Whole,
        _training("train them through low-rank adapters (LoRA) of this rank, merged afterwards; 0 for all weights"),
    ] = 0
    lora_learning_rate: Annotated[Positive, _training("of the adapters, in place of --learning-rate")] = (
        ADAPTER_LEARNING_RATE
    )

    to_retrain = "say with recovery_tokens on how many tokens"

    @property
    @override
    def retrains(self) -> bool:
        return self.recovery_tokens > 0

    @property
    @override
    def adapter(self) -> tuple[int, float] | None:
        return (self.lora_rank, self.lora_learning_rate) if self.lora_rank else None

    @override
    def threshold(self, share: float) -> float:
        return share if self.retain is None else RetentionThreshold.parse(self.retain).share

    @override
    def identity(self) -> dict[str, Any]:
        # A file of examples counts by its content too.
        parts = [one.partition("=") for one in self.abilities]
        abilities = tuple(f"{kind}={fingerprint(path)}" if path else kind for kind, _, path in parts)
        return {**super().identity(), "abilities": abilities}


class LanguageRegime(Regime):
    """Language models, judged zero-shot."""

    name = "language"
    subject = "language models (the task understanding)"
    judges = "language models"
    presets = MappingProxyType({"understanding": PRESETS})
    settings = LanguageSettings
    group = _GROUP
    help = (
        "Of the task understanding, which judges a model zero-shot. Abilities are grammar, language-modelling, "
        "knowledge and sentiment, or from files (cloze=FILE, grammar=FOLDER, inference=FILE, reasoning=FILE). The "
        "preset quick takes four methods and a sample of the examples, paper every method and all examples."
    )
    unfit = MappingProxyType({"attention": "attention patterns are of encoders"})
    trains = False

    @override
    def check(self, options: TaskOptions, own: LanguageSettings) -> None:
        if own.lora_rank and not own.recovery_tokens:
            raise TombolaError(f"lora_rank trains tickets again: {own.to_retrain}")
        if "lora_learning_rate" in changed(own) and not own.lora_rank:
            raise TombolaError("lora_learning_rate is that of adapters: say with lora_rank how large they are")

    @override
    def check_model(
        self, options: TaskOptions, own: LanguageSettings, source: str, *, trained: bool
    ) -> Mapping[str, Any]:
        said = configuration(source)
        kind = str(said.get("_class_name", said.get("model_type")))
        if "_class_name" in said or (kind in _ENCODERS and "auto_map" not in said and not said.get("is_decoder")):
            raise TombolaError(
                f"{source} is a {kind}, which is no causal language model; give one that predicts the next token"
            )
        return said

    @override
    def judged_by(self, options: TaskOptions, own: LanguageSettings) -> dict[str, Any]:
        names = ("dev_rows", "search_split", "abilities", "text_tokens", "text_file", "bos_token")
        found = super().judged_by(options, own)
        return {**{name: found[name] for name in names}, "retain": _retained(own)}

    @override
    def open(self, options: TaskOptions, own: LanguageSettings, name: str) -> "Task":
        # PyTorch takes seconds to import, which no list of settings should wait for.
        from tombola.tasks.language.abilities.catalog import DEFAULT
        from tombola.tasks.language.task import LanguageTask, Samples

        more: dict[str, Any] = {}
        if options.search_split == "train":
            # There are no training rows of abilities: half of the examples judge, the other half is searched on.
            more["held_out"] = 0.5
        if own.text_tokens is not None:
            more["text_tokens"] = own.text_tokens
        if own.recovery_tokens:
            more["train"] = Samples(max(1, own.recovery_tokens // options.max_length), options.max_length)
        return LanguageTask.open(
            options.model,
            own.abilities or DEFAULT,
            text_file=None if own.text_file is None else Path(own.text_file).expanduser(),
            rows=options.dev_rows,
            bos_token=own.bos_token,
            importance=Samples(own.importance_samples, own.importance_sequence_length),
            retain=_retained(own),
            name=name,
            trust_remote_code=options.trust_remote_code,
            **more,
        )


def _retained(own: LanguageSettings) -> str | None:
    """Ability whose score is the task's; None for the mean over all."""
    return None if own.retain is None else RetentionThreshold.parse(own.retain).ability


REGIME = LanguageRegime()
