"""What a study is: a frozen configuration with a canonical form and a short hash."""

import dataclasses
import difflib
import hashlib
import json
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from tombola.foundations.errors import TombolaError
from tombola.metrics.scores import metric
from tombola.metrics.statistics import RESAMPLES
from tombola.pruning.calibration import SAMPLES, SEQUENCE_LENGTH
from tombola.pruning.controls import names as control_names
from tombola.pruning.search import SearchOptions
from tombola.tasks.data.glue import GLUE
from tombola.tasks.language.retention_threshold import retained_share
from tombola.tasks.regimes import NAMED_TASKS, OWN_TEXTS, REGIMES, Regime, regime_of
from tombola.tickets.pruning_methods import METHODS, pruning_method
from tombola.tickets.ticket import BLOCK, TICKETS
from tombola.training.loop import Recipe
from tombola.training.lora import LEARNING_RATE, LowRank
from tombola.training.rewinding import Rewinding

ANALYSES = (
    *("survivors", "attention", "random-tickets", "interactions", "representations"),
    *("random-curve", "text-generation"),
)
"""What a study can ask of its tickets: the first two come by themselves, the others take minutes and are asked for."""
ALL = "all"
"""In place of their names: all that there are for the study's models."""


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Everything that decides what a study finds.

    Attributes:
        model: asset, local folder or hub id.
        task: a GLUE name, `rotten-tomatoes`, `understanding` of a language model, `digits` or `images` of a denoiser,
            or the path of one's own data.
        data: folder of GLUE's original TSV files, None for the hub; or of one's own images, of the task `images`.
        validation_file: file of dev rows, where `task` is a file of training rows.
        text_column, text_pair_column, label_column: columns of one's own data; None to guess the usual names.
        regression: the labels of one's own data are values.
        metric: of one's own data; None for accuracy or Pearson's r.
        train_rows, dev_rows: use a sample of so many rows; None for all.
        max_length: tokens a text of the task is cut to.
        search_split: `dev` as in the paper, or `train` to search on held-out training rows.
        search_rows: how many training rows are held out then; None for as many as dev has, at most a fifth.
        methods: pruning methods, each with a search of its own, see `tombola.tickets.pruning_methods.METHODS`; the
            paper's are `heads+mlps` and `weights`.
        threshold ... curve_until: see `SearchOptions`.
        normalise_layers: divide the importance of heads by their layer's norm; None for what serves the task.
        iterative: train between the cuts: a search of weights is iterative magnitude pruning then.
        rewind: `pretrained`, `init`, `step-K` or `final`.
        epochs ... max_grad_norm: see `Recipe`.
        eval_batch_size: examples at a time when scoring.
        precision: `auto`, `fp32` or `bf16`.
        analyses: what to ask of the tickets, see `ANALYSES`, or `all` alone for those that fit the study; no part of
            the hash, as the tickets stay the same.
        device: `auto`, or PyTorch's name of a device.
        bootstrap_resamples: of each bootstrap.
        trust_remote_code: run code that comes with a model.
        controls: tickets of the good one's size that it is compared with: `random`, `random-layerwise`, `bad`.
        abilities: of a language model, see `tombola.tasks.language.abilities.catalog`; none for those that need no
            files.
        text_tokens: judge so many tokens of texts at most; None for as many as rows are asked for.
        retain: what must not be lost, as `grammar>=0.9`; goes before the threshold.
        text_file: text file that a language model is calibrated, trained and judged on; None for plot summaries.
        bos_token: what every text begins with: `none`, `bos`, `eos`, a token, or `auto` for what suits the model best.
        calibration_samples, sequence_length: samples of text, and tokens of each, by whose activations Wanda and
            SparseGPT go; what the texts of the task are cut to is `max_length`.
        importance_samples, importance_sequence_length: samples of text, and tokens of each, by whose loss sites of a
            language model are ranked.
        recovery_tokens: tokens that the tickets of a language model are trained on again; 0 for none.
        lora_rank: train them through adapters of this rank, see `tombola.training.lora`; 0 to train all their weights.
        lora_learning_rate: of the adapters, in place of `learning_rate`.
        image_size: scale and crop one's own images to squares of so many pixels; None for images of one size.
        feature_model: folder or hub id of a vision network in whose space one's own images are compared; None for a
            space that needs no download.
        pipeline: folder or hub id of the pipeline around `model`, where that is a denoiser by itself.

    Raises:
        TombolaError: a value is none of those allowed.
    """

    model: str = "minilm"
    task: str = "rotten-tomatoes"
    data: str | None = None
    validation_file: str | None = None
    text_column: str | None = None
    text_pair_column: str | None = None
    label_column: str | None = None
    regression: bool = False
    metric: str | None = None
    train_rows: int | None = None
    dev_rows: int | None = None
    max_length: int = 128
    search_split: str = "dev"
    search_rows: int | None = None
    methods: tuple[str, ...] = ("heads+mlps", "weights")
    threshold: float = 0.9
    heads_step: float = 0.1
    mlps_step: int = 1
    neurons_step: float = 0.1
    neuron_block: int = BLOCK
    refine: bool = True
    refine_heads_step: float = 0.05
    refine_neurons_step: float = 0.05
    weights_step: float = 0.1
    sparsities: tuple[float, ...] = ()
    curve_until: float | None = None
    normalise_layers: bool | None = None
    iterative: bool = False
    rewind: str = "pretrained"
    epochs: int = 3
    learning_rate: float = 2e-5
    batch_size: int = 32
    weight_decay: float = 0.01
    warmup_ratio: float = 0.1
    max_grad_norm: float = 1.0
    eval_batch_size: int = 64
    precision: str = "auto"
    device: str = "auto"
    bootstrap_resamples: int = RESAMPLES
    analyses: tuple[str, ...] = ANALYSES[:2]
    trust_remote_code: bool = False
    controls: tuple[str, ...] = TICKETS[1:]
    abilities: tuple[str, ...] = ()
    text_tokens: int | None = None
    retain: str | None = None
    text_file: str | None = None
    bos_token: str = "auto"
    calibration_samples: int = SAMPLES
    sequence_length: int = SEQUENCE_LENGTH
    importance_samples: int = 128
    importance_sequence_length: int = 128
    recovery_tokens: int = 0
    lora_rank: int = 0
    lora_learning_rate: float = LEARNING_RATE
    image_size: int | None = None
    feature_model: str | None = None
    pipeline: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "methods", tuple(pruning_method(method).name for method in self.methods))
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise TombolaError(f"name at least one method, and each once, of {', '.join(METHODS)}")
        for control in self.controls:
            if control not in TICKETS[1:]:
                raise TombolaError(f"unknown control {control!r}; known: {', '.join(TICKETS[1:])}")
        if self.analyses == (ALL,):
            object.__setattr__(self, "analyses", tuple(one for one in ANALYSES if self._unfit(one) is None))
        for analysis in self.analyses:
            if analysis not in ANALYSES:
                raise TombolaError(f"unknown analysis {analysis!r}; known: {', '.join(ANALYSES)}")
            if (reason := self._unfit(analysis)) is not None:
                raise TombolaError(reason)
        if self.search_split not in ("dev", "train"):
            raise TombolaError(
                f"cannot search on {self.search_split!r}; choose dev, or train for held-out training rows"
            )
        self._check_regime()
        if self.metric is not None:
            _ = metric(self.metric)
        if self.search_rows is not None and self.search_split == "dev":
            raise TombolaError("search_rows is for search_split train; the search runs on dev")
        if self.iterative and not any(
            pruning_method(one).kind != "weights" or pruning_method(one).iterative for one in self.methods
        ):
            raise TombolaError(
                "iterative trains between cuts of weights or sites; the searches named begin with the full model each "
                "time: add --no-iterative"
            )
        if self.recovery_tokens < 0:
            raise TombolaError(f"recovery_tokens must be 0 or more tokens, not {self.recovery_tokens}")
        if self.lora_rank < 0:
            raise TombolaError(f"lora_rank must be 0 or more, not {self.lora_rank}")
        if self.lora_rank and not self.recovery_tokens:
            raise TombolaError("lora_rank trains tickets again: say with recovery_tokens on how many tokens")
        if self._changed(("lora_learning_rate",)) and not self.lora_rank:
            raise TombolaError("lora_learning_rate is that of adapters: say with lora_rank how large they are")
        for name in (
            *("train_rows", "dev_rows", "search_rows", "max_length", "eval_batch_size", "bootstrap_resamples"),
            *("text_tokens", "image_size"),
            *("calibration_samples", "sequence_length", "importance_samples", "importance_sequence_length"),
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise TombolaError(f"{name} must be 1 or more, not {value}")
        # Made once to be checked, so that a bad value is found before the first model is trained.
        _ = self.search_options, self.recipe, self.rewinding, self.low_rank

    def _check_regime(self) -> None:
        """Settings of another regime would be ignored, and those that its own needs must be there."""
        for other in REGIMES:
            if other is not self.regime and (foreign := self._changed(other.settings)):
                raise TombolaError(f"{foreign[0]} is for {other.whose}, not for {self.task!r}")
        for name, what in self.regime.needs.items():
            if getattr(self, name) is None:
                raise TombolaError(f"the task {self.task} needs {what}; give it as {name}")
        if self.data is not None and self.task not in GLUE and "data" not in self.regime.needs:
            raise TombolaError(
                f"data is for GLUE's TSV files, and {self.task!r} is no GLUE task; give your own data as task"
            )
        if self.task in NAMED_TASKS and (own := self._changed(OWN_TEXTS)):
            raise TombolaError(f"{own[0]} is for data of your own; {self.task} has its own columns, rows and metric")
        if not self.regime.trains and (self.iterative or self.rewinding != Rewinding()):
            raise TombolaError(f"{self.task} trains no full model, so that there is nothing to rewind to")

    def _changed(self, names: Sequence[str]) -> list[str]:
        """Those of the settings that differ from their defaults."""
        return [name for name in names if getattr(self, name) != getattr(StudyConfig, name)]

    def _unfit(self, analysis: str) -> str | None:
        """Why an analysis cannot be asked of this study; None where it can."""
        if analysis == "random-curve" and not self.sparsities:
            return "random-curve goes along the sparsities of a search: name them with sparsities"
        if analysis == "random-tickets" and not self.retrains:
            return "random-tickets trains tickets again: say with recovery_tokens on how many tokens"
        reason = self.regime.unfit.get(analysis)
        return None if reason is None else f"{reason}; {self.task} judges {self.regime.judges}"

    @classmethod
    def of(cls, preset: str = "quick", **settings: Any) -> Self:
        """A configuration from a preset and what differs from it.

        Raises:
            TombolaError: an unknown preset or setting, or a value of the wrong kind.
        """
        known = regime_of(settings.get("task", cls.task)).presets
        if preset not in tuple(known):
            raise TombolaError(f"unknown preset {preset!r}; known: {', '.join(known)}")
        values = {**known[preset], **settings}
        hints = typing.get_type_hints(cls)
        for name, value in values.items():
            if name not in hints:
                like = difflib.get_close_matches(name, hints, cutoff=0.5)
                meant = f"did you mean {' or '.join(like)}? " if like else ""
                raise TombolaError(f"unknown setting {name!r}; {meant}tombola study --help lists them all")
            values[name] = _checked(name, value, hints[name])
        return cls(**values)

    @classmethod
    def read(cls, path: Path, preset: str | None = None, **settings: Any) -> tuple[Self, tuple[int, ...] | None]:
        """A configuration from a YAML file of settings, which may also name a `preset` and `seeds`.

        Args:
            path: the file.
            preset: goes before the file's.
            settings: go before the file's.

        Returns:
            The configuration, and the file's seeds if it names any.

        Raises:
            TombolaError: the file is missing, is no YAML mapping, or has a setting that is unknown or wrong.
        """
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise TombolaError(
                f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}"
            ) from None
        except yaml.YAMLError as error:
            raise TombolaError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
        if not isinstance(values, dict):
            raise TombolaError(f"{path} must hold settings, one `name: value` a line")
        seeds = values.pop("seeds", None)
        if seeds is not None:
            seeds = tuple(seeds) if isinstance(seeds, list) else (seeds,)
            if not seeds or any(type(seed) is not int for seed in seeds):
                raise TombolaError(f"{path}: seeds must be a list of whole numbers")
        chosen = preset or values.pop("preset", "quick")
        values.pop("preset", None)
        try:
            return cls.of(chosen, **{**{str(key): value for key, value in values.items()}, **settings}), seeds
        except TombolaError as error:
            raise TombolaError(f"{path}: {error}") from None

    @property
    def search_options(self) -> SearchOptions:
        """Threshold and steps of the searches."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(SearchOptions)}
        return SearchOptions(**{**values, "threshold": retained_share(self.threshold, self.retain)})

    def controls_of(self, method: str) -> tuple[str, ...]:
        """The controls of a method that say something, see `tombola.pruning.controls.names`."""
        return tuple(name for name in control_names(method) if name in self.controls)

    @property
    def regime(self) -> Regime:
        """What kind of model it is about, and what goes with that."""
        return regime_of(self.task)

    @property
    def retrains(self) -> bool:
        """Whether tickets are trained again."""
        return self.regime.trains or self.recovery_tokens > 0

    @property
    def recipe(self) -> Recipe:
        """How models are fine-tuned."""
        return Recipe(**{item.name: getattr(self, item.name) for item in dataclasses.fields(Recipe)})

    @property
    def low_rank(self) -> LowRank | None:
        """The adapters that tickets are trained through; None where all their weights are trained."""
        return LowRank(self.lora_rank, self.lora_learning_rate) if self.lora_rank else None

    @property
    def rewinding(self) -> Rewinding:
        """Where tickets are rewound to."""
        return Rewinding.parse(self.rewind)

    @property
    def searched(self) -> str:
        """The split that searches run on: `dev`, or `search` for held-out training rows."""
        return "search" if self.search_split == "train" else "dev"

    @property
    def name(self) -> str:
        """Readable start of the study's folder."""
        return f"{_slug(Path(self.model).name)}-{self.task_name}"

    @property
    def task_name(self) -> str:
        """Short name of the task, for folders and rows."""
        return _slug(Path(self.task).name)

    def settings(self) -> dict[str, Any]:
        """All settings as JSON values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}

    def hash(self) -> str:
        """Eight hexadecimal digits over what differs from the defaults and over the content of local files.

        Defaults are left out, so that a setting that is new in a later version keeps the hashes of old studies.
        """
        values = self.settings()
        del values["analyses"]
        local = ["model", "data", "validation_file", "text_file", "feature_model", "pipeline"]
        if self.task not in NAMED_TASKS:
            local.append("task")
        for name in local:
            if values[name] is not None:
                values[name] = fingerprint(values[name])
        # A file of examples counts by its content too.
        parts = [one.partition("=") for one in values["abilities"]]
        values["abilities"] = [f"{kind}={fingerprint(path)}" if path else kind for kind, _, path in parts]
        defaults = StudyConfig().settings()
        different = {name: value for name, value in values.items() if value != defaults[name]}
        canonical = json.dumps(different, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def _checked(name: str, value: Any, hint: Any) -> Any:
    """The value, if it is of the setting's type; a whole number does for a float, a list for a tuple."""
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if isinstance(value, int) and not isinstance(value, bool) and float in allowed:
        return float(value)
    # YAML reads 2e-5 as text.
    if isinstance(value, str) and float in allowed:
        try:
            return float(value)
        except ValueError:
            pass
    if isinstance(value, list | tuple):
        inside = next((typing.get_args(kind)[0] for kind in allowed if typing.get_origin(kind) is tuple), None)
        if inside is not None and all(type(item) in ((int, float) if inside is float else (inside,)) for item in value):
            return tuple(inside(item) for item in value)
    elif any(type(value) is kind for kind in allowed):
        return value
    kinds = " or ".join(getattr(kind, "__name__", str(kind)) for kind in allowed)
    raise TombolaError(f"setting {name} must be {kinds}, not {value!r}")


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._" else "-" for letter in text).strip("-.") or "study"


def fingerprint(source: str) -> str:
    """Of a local file or folder SHA-256 over names and contents (not of hidden files), of anything else its name.

    What lies there counts, not how the path was typed.
    """
    path = Path(source).expanduser()
    if not path.exists():
        return source
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        if any(part.startswith(".") for part in file.relative_to(path).parts):
            continue
        digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()
