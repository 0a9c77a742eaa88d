"""Configuration of a study: frozen, with a canonical form and a short hash."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from tombola.checkpoints.sources import check_source
from tombola.foundations.errors import TombolaError, check_choice, did_you_mean
from tombola.foundations.fingerprint import code_fingerprint, fingerprint, stamp
from tombola.foundations.settings import Count, Flag, SettingField, Text, described, setting_fields, settings, unnoticed
from tombola.foundations.slug import slug
from tombola.metrics.resampling import RESAMPLES
from tombola.pruning.importance_methods import IMPORTANCES
from tombola.pruning.search.options import SearchOptions
from tombola.tasks.regime import Regime, RegimeSettings, TaskOptions
from tombola.tasks.registry import check_task, is_ours, named_tasks, open_task, owners, regime_of, regimes
from tombola.tickets.kinds import TICKETS, controls_of
from tombola.tickets.pruning_methods import METHODS, OUR_CRITERIA, pattern_names, pruning_method
from tombola.training.recipe import Recipe, Rewinding

if TYPE_CHECKING:
    # They take PyTorch, seconds to import, which no list of settings and no error in one should wait for.
    import torch

    from tombola.tasks.base import Task
    from tombola.training.lora import LowRank

ANALYSES = (
    *("survivors", "attention", "random-tickets", "interactions", "representations"),
    *("random-curve", "text-generation"),
)
"""Analyses of a study: the first two come by themselves, the others take minutes and are asked for."""
ALL = "all"
"""Name that stands for all controls, or for all analyses that there are for the study's models."""
PRESETS = ("quick", "full", "paper")
"""Presets of every task; `full`, all rows and the usual recipe, is `paper` where a regime has none of its own."""
TRUST = "trust_remote_code"
"""The setting that is given with each call: no file holds it, and no hash is over it."""
SEED = "{seed}"
"""Placeholder of the seed in the name of a full model."""
START = "start of training"
"""Name under which `inputs` has what a full model depends on of `rewind`: weights it begins with, step it keeps."""
_study = described("the study")
_search = described("the search")
_training = described("training")
_running = described("running")
# A pattern is also written with its colon: wanda-2:4.
_methods = _study(
    f"searches to run, of {', '.join(METHODS)}, or of any other pattern (wanda-1:4)",
    "heads+mlps,weights",
    items={"anyOf": [{"enum": [*METHODS]}, {"type": "string", "pattern": f"^{pattern_names()}$"}]},
    minItems=1,
    uniqueItems=True,
)
_controls = _study(
    f"tickets of the good one's size that it is compared with: all, none, or of {', '.join(TICKETS[1:])}",
    "random,bad",
    anyOf=[{"items": {"enum": [*TICKETS[1:]]}}, {"const": ["all"]}],
)
_analyses = _study(
    f"what to ask of the tickets: all, none, or of {', '.join(ANALYSES)}",
    "survivors,attention",
    # Each step of an analysis is made or is not.
    neutral=True,
    anyOf=[{"items": {"enum": [*ANALYSES]}}, {"const": [ALL]}],
)


@settings
class StudyConfig(TaskOptions):
    """Configuration of a study: shared settings, those of search and training, those of its regime.

    All have names of their own, so that YAML keys and flags are flat: `StudyConfig.of("quick", task="cola", epochs=2)`.
    """

    methods: Annotated[tuple[Text, ...], _methods] = ("heads+mlps", "weights")
    controls: Annotated[tuple[Text, ...], _controls] = TICKETS[1:]
    analyses: Annotated[tuple[Text, ...], _analyses] = ANALYSES[:2]
    random_draw: Annotated[
        Literal["exact", "bernoulli"],
        _study("random tickets of exactly the good one's size; or each site by itself, and anew to be retrained"),
    ] = "exact"
    bad_draw: Annotated[
        Literal["least", "pruned"], _study("bad tickets of the sites that went first, or of any that went, at random")
    ] = "least"
    super_random: Annotated[
        Literal["anywhere", "outside"],
        _study("random tickets of the super-survivors' size from all sites, or from neither super-survivors nor bad"),
    ] = "anywhere"
    at_chance: Annotated[
        Literal["stop", "continue"],
        _search(
            "before a search: stop where the full model, or the threshold, is no better than guessing, or continue",
            neutral=True,
        ),
    ] = "stop"
    iterative: Annotated[Flag, _training("train between the cuts; of weights, this is iterative magnitude pruning")] = (
        False
    )
    rewind: Annotated[
        Text,
        _training(
            "retrain from: pretrained, init, step-K, or final for the trained weights",
            pattern="^(pretrained|init|final|step-0*[1-9][0-9]*)$",
        ),
    ] = "pretrained"
    full: Annotated[
        Text | None,
        _study("model that is fine-tuned already, instead of fine-tuning one; {seed} in its name stands for the seed"),
    ] = None
    eval_batch_size: Annotated[Count, _running("examples at a time when scoring")] = 64
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        _running("of forward passes; auto takes bf16 where it is fast; fp16 is for GPUs"),
    ] = "auto"
    bootstrap_resamples: Annotated[Count, _running("resamples of each bootstrap interval")] = RESAMPLES
    search: SearchOptions = SearchOptions()
    recipe: Recipe = Recipe()
    regime_settings: RegimeSettings = RegimeSettings()

    def __post_init__(self) -> None:
        if type(self.regime_settings) is RegimeSettings:
            object.__setattr__(self, "regime_settings", self.regime.settings())
        self._check_methods()
        self._check_analyses()
        if self.search_rows is not None and self.search_split == "dev":
            raise TombolaError("search_rows is for search_split train; the search runs on dev")
        self.regime.check(self, self.regime_settings)
        if not self.regime.trains and (self.iterative or self.rewinding != Rewinding()):
            raise TombolaError(f"{self.task} trains no full model, so that there is nothing to rewind to")
        self._check_full()
        # Made once to be checked, so that a bad value is found before the first model is trained.
        _ = self.search_options, self.rewinding, self.low_rank

    def _check_methods(self) -> None:
        try:
            chosen = [pruning_method(name) for name in self.methods]
        except TombolaError as error:
            raise TombolaError(f"methods: {error}") from None
        object.__setattr__(self, "methods", tuple(one.name for one in chosen))
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise TombolaError(f"name at least one method, and each once, of {', '.join(METHODS)}")
        if self.iterative and not any(one.kind != "weights" or one.iterative for one in chosen):
            raise TombolaError(
                "iterative trains between cuts of weights or sites; the searches named begin with the full model each "
                "time: add --no-iterative"
            )
        if self.bad_draw == "pruned" and (together := [one.name for one in chosen if one.grouping]):
            raise TombolaError(f"bad_draw pruned draws site by site, and {together[0]} prunes groups; leave one out")
        if self.controls == (ALL,):
            object.__setattr__(self, "controls", TICKETS[1:])
        for control in self.controls:
            check_choice("control", control, TICKETS[1:], setting="controls")

    def _check_full(self) -> None:
        if self.full is None:
            return
        if not self.regime.trains:
            raise TombolaError(f"full: {self.task} fine-tunes no model, it judges one as it comes; give it as model")
        if self.rewinding.to in ("init", "step"):
            raise TombolaError(
                f"full: nobody knows where the training of {self.full} stood at {self.rewind}; rewind to pretrained or "
                "final"
            )

    def _check_analyses(self) -> None:
        if self.analyses == (ALL,):
            object.__setattr__(self, "analyses", tuple(one for one in ANALYSES if self._unfit(one) is None))
        for analysis in self.analyses:
            check_choice("analysis", analysis, ANALYSES, setting="analyses")
            if (reason := self._unfit(analysis)) is not None:
                raise TombolaError(reason)

    def _unfit(self, analysis: str) -> str | None:
        """Reason why an analysis cannot be asked of this study; None where it can."""
        if analysis == "random-curve" and not self.search.sparsities:
            return "random-curve goes along the sparsities of a search: name them with sparsities"
        if analysis == "random-tickets" and not self.retrains:
            return f"random-tickets trains tickets again: {self.regime_settings.to_retrain}"
        reason = self.regime.unfit.get(analysis)
        return None if reason is None else f"{reason}; {self.task} judges {self.regime.judges}"

    @classmethod
    def of(cls, preset: str | None = "quick", **flat: Any) -> Self:
        """A configuration from a preset (None: the settings' own defaults) and what differs, all by their flat names.

        Raises:
            TombolaError: an unknown preset or setting, or a value of the wrong kind.
        """
        task = flat.get("task", cls.task)
        if isinstance(task, Path):
            flat["task"] = task = str(task)
        regime = regime_of(task)
        if preset is not None:
            check_choice("preset", preset, PRESETS)
            flat = {**_preset(regime, task if isinstance(task, str) else cls.task, preset), **flat}
        return cls._assembled(regime, flat)

    @classmethod
    def _assembled(cls, regime: Regime, flat: dict[str, Any]) -> Self:
        flat = {"analyses": _fitting(regime), **flat}
        parts: dict[str, dict[str, Any]] = {part: {} for part in ("", "search", "recipe", "regime_settings")}
        homes: dict[str, str] = {}
        for part, kind in _parts(cls, regime).items():
            for one in setting_fields(kind):
                if one.name in homes:
                    raise TombolaError(
                        f"the regime {regime.name} has a setting {one.name} of its own, as every study has; rename it"
                    )
                homes[one.name] = part
        for name, value in flat.items():
            if name not in homes:
                raise TombolaError(_unknown(name, str(flat.get("task", cls.task)), list(homes)))
            parts[homes[name]][name] = value
        made = {part: kind(**parts[part]) for part, kind in _parts(cls, regime).items() if part}
        return cls(**parts[""], **made)

    def replaced(self, **flat: Any) -> Self:
        """Copy of the configuration with some settings changed, by their flat names."""
        return self._assembled(self.regime, {**dict(self._values()), **flat})

    @classmethod
    def recorded(cls, values: Mapping[str, Any], *, trust_remote_code: bool = False) -> Self:
        """The configuration that `settings` gave, as `study.json` has it; whatever it says of trust is not heeded.

        Raises:
            TombolaError: an unknown setting, or a value of the wrong kind.
        """
        return cls.of(None, **{**values, TRUST: trust_remote_code})

    @property
    def search_options(self) -> SearchOptions:
        """Options of the searches, with the threshold of what the regime says must not be lost."""
        threshold = self.regime_settings.threshold(self.search.threshold)
        # A search of weights goes by no step of heads: it would read every setting here.
        with unnoticed():
            return dataclasses.replace(self.search, threshold=threshold)

    def controls_of(self, method: str) -> tuple[str, ...]:
        """Controls of a pruning method that say something, see `tombola.tickets.kinds.controls_of`."""
        return tuple(name for name in controls_of(method) if name in self.controls)

    @property
    def regime(self) -> Regime:
        """The kind of models that it is about, and what goes with that."""
        return regime_of(self.task)

    @property
    def retrains(self) -> bool:
        """True if tickets are trained again."""
        return self.regime_settings.retrains

    @property
    def low_rank(self) -> "LowRank | None":
        """Adapters that tickets are trained through; None where all their weights are trained."""
        adapter = self.regime_settings.adapter
        if adapter is None:
            return None
        from tombola.training.lora import LowRank

        return LowRank(*adapter)

    @property
    def full_varies(self) -> bool:
        """True if each seed has a full model of its own; else all judge tickets of one and the same."""
        return self.regime.trains and (self.full is None or SEED in self.full)

    def full_of(self, seed: int) -> str:
        """The fine-tuned model that a seed begins with, where `full` names one."""
        return (self.full or "").replace(SEED, str(seed))

    @property
    def rewinding(self) -> Rewinding:
        """Rewinding of tickets."""
        return Rewinding.parse(self.rewind)

    @property
    def searched(self) -> str:
        """The split that searches run on: `dev`, or `search` for held-out training rows."""
        return "search" if self.search_split == "train" else "dev"

    @property
    def name(self) -> str:
        """Readable start of the study's folder."""
        return f"{slug(Path(self.model).name, 'model')}-{self.task_name}"

    @property
    def task_name(self) -> str:
        """Short name of the task, for folders and rows."""
        return slug(Path(self.task).name, "study")

    def resolved(self) -> "tuple[Self, torch.device]":
        """The configuration with its precision, and kind of device, as they are here; and the device.

        Raises:
            TombolaError: the device does not exist.
        """
        from tombola.foundations.precision import resolve_device, resolve_precision

        device = resolve_device(self.device)
        precision = resolve_precision(self.precision, device)
        return dataclasses.replace(self, precision=precision, device=device.type), device

    def check_names(self, seeds: Sequence[int] = ()) -> None:
        """Raise a TombolaError where the task, or a model, is nowhere; nothing is loaded, nor asked of the hub."""
        check_task(self.task)
        # What PyTorch itself would say, after the seconds that it takes to be imported.
        if not re.fullmatch(r"[a-z_]+(:\d+)?", self.device) or self.device.startswith("gpu"):
            raise TombolaError(
                f"device {self.device!r} is none; give auto, cpu, cuda, cuda:1, mps, or PyTorch's other names"
            )
        check_source(self.model)
        for seed in seeds if self.full is not None else ():
            check_source(self.full_of(seed))

    def check_models(self, seeds: Sequence[int] = (), *, trained: bool = False) -> Mapping[str, Any]:
        """Configuration of the model, after a look at it, and at those of the seeds' full models.

        Args:
            seeds: whose full models are looked at too, where `full` names them.
            trained: the model has to be fine-tuned already.

        Raises:
            TombolaError: a model cannot be found, or its configuration is not one of this task's.
        """
        for seed in seeds if self.full is not None else ():
            self.regime.check_model(self, self.regime_settings, self.full_of(seed), trained=True)
        return self.regime.check_model(self, self.regime_settings, self.model, trained=trained)

    def open_task(self) -> "Task":
        """The study's task: its data, with what its model needs to read it.

        Raises:
            TombolaError: unknown task, or its data or tokenizer cannot be loaded.
        """
        return open_task(self, self.regime_settings, self.task_name)

    def settings(self) -> dict[str, Any]:
        """Settings by their flat names, as JSON values, but for the trust that is given with each call."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in self._values()}
        del values[TRUST]
        return values

    def _values(self) -> Iterator[tuple[str, Any]]:
        for part, kind in _parts(type(self), self.regime).items():
            home = getattr(self, part) if part else self
            yield from ((one.name, getattr(home, one.name)) for one in setting_fields(kind))

    def identity(self) -> dict[str, Any]:
        """Settings that say which study it is, by their flat names: local files by their content."""
        values = dict(self._values()) | self.regime_settings.identity()
        # What is asked of the results, and what they rest on, changes none of them.
        del values["analyses"], values["at_chance"], values[TRUST]
        for name in ("model",) if self.task in named_tasks() else ("model", "task"):
            values[name] = fingerprint(values[name])
        if self.full is not None and not self.full_varies:
            values["full"] = fingerprint(self.full)
        return values | self._own_code(values)

    def _own_code(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Settings that name a ranking, a criterion or a regime of somebody else's, by what it does too."""
        found: dict[str, Any] = {}
        if not IMPORTANCES.is_ours(name := self.search.importance):
            found["importance"] = f"{name} {code_fingerprint(IMPORTANCES[name])}"
        if codes := self.own_criteria():
            found["methods"] = tuple(f"{one} {codes[one]}" if one in codes else one for one in self.methods)
        if not is_ours(self.regime):
            found["task"] = f"{values['task']} {code_fingerprint(self.regime)}"
        return found

    def own_criteria(self) -> dict[str, str]:
        """Methods by a criterion of somebody else's → fingerprint of its code."""
        names = {one: pruning_method(one).criterion for one in self.methods}
        if names.keys() and not {*names.values()} <= {"", *OUR_CRITERIA}:
            from tombola.pruning.weight_criteria import CRITERIA

            return {
                one: code_fingerprint(CRITERIA[name])
                for one, name in names.items()
                if name not in OUR_CRITERIA and name
            }
        return {}

    def stamp(self, seeds: Sequence[int]) -> tuple[object, ...]:
        """Stamps of the local files that `identity` and `inputs` read: equal as long as nobody wrote any."""
        texts = [one for _, value in self._values() for one in (value if isinstance(value, tuple) else (value,))]
        # Of an ability that is a file, `kind=path`.
        named = [text.rpartition("=")[2] for text in texts if isinstance(text, str)]
        fulls = [self.full_of(seed) for seed in seeds] if self.full is not None else []
        return tuple(stamp(one) for one in dict.fromkeys((*named, *fulls)) if one)

    def hash(self, identity: Mapping[str, Any] | None = None) -> str:
        """Eight hexadecimal digits over what differs from the defaults in its `identity`, which may be given.

        Defaults are left out, so that a setting that is new in a later version keeps the hashes of old studies.
        """
        values = self.identity() if identity is None else identity
        defaults = {one.name: one.default for one in self._fields()}
        different = {name: value for name, value in values.items() if value != defaults[name]}
        canonical = json.dumps(different, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    def inputs(self, identity: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Settings that a seed's results can depend on, as JSON values: the `identity` without what is neutral."""
        neutral = {one.name for one in self._fields() if one.neutral}
        values = {name: value for name, value in identity.items() if name not in neutral}
        if self.full is not None:
            values["full"] = fingerprint(self.full_of(seed))
        values[START] = f"{self.rewinding.initial_state} {self.rewinding.step}"
        values |= {f"criterion of {method}": code for method, code in self.own_criteria().items()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def _fields(self) -> Iterator[SettingField]:
        return (one for kind in _parts(type(self), self.regime).values() for one in setting_fields(kind))


def all_settings() -> dict[str, SettingField]:
    """Settings of all regimes by name; a name that several have, as `data`, has the descriptions of all."""
    merged: dict[str, SettingField] = {}
    shared = [one for kind in SHARED for one in setting_fields(kind)]
    own = [one for regime in regimes() for one in setting_fields(regime.settings)]
    for one in (*shared, *own):
        if (first := merged.get(one.name)) is not None:
            one = dataclasses.replace(first, description=f"{first.description}; or {one.description}")
        merged[one.name] = one
    return merged


def setting_groups() -> dict[str, tuple[str, list[SettingField]]]:
    """Heading of each group of settings, the shared ones first: a text, and the settings under it."""
    helps, found = {regime.group: regime.help for regime in regimes()}, dict[str, tuple[str, list[SettingField]]]()
    for one in all_settings().values():
        found.setdefault(one.group, (helps.get(one.group, ""), []))[1].append(one)
    return found


def shared_groups() -> frozenset[str]:
    """Headings of the settings that every study has; a regime's own may stand there too."""
    return frozenset(one.group for kind in SHARED for one in setting_fields(kind))


def preset_settings(preset: str, task: str) -> dict[str, Any]:
    """Settings of a task's preset by their flat names, those that it does not name by their defaults."""
    regime = regime_of(task)
    fields = [one for kind in _parts(StudyConfig, regime).values() for one in setting_fields(kind)]
    named = {"analyses": _fitting(regime), **_preset(regime, task, preset)}
    return {one.name: named.get(one.name, one.default) for one in fields}


def preset_seeds(preset: str | None, task: str) -> tuple[int, ...]:
    """Seeds of a study that names none."""
    return regime_of(task).seeds.get(preset or "", (0,))


SHARED = (StudyConfig, SearchOptions, Recipe)
"""Classes of the settings that every study has."""


def _preset(regime: Regime, task: str, name: str) -> Mapping[str, Any]:
    presets = regime.presets_of(task)
    return presets[name if name in presets else "paper"]


def _fitting(regime: Regime) -> tuple[str, ...]:
    """Analyses that come by themselves: those that can be asked of the regime's models."""
    return tuple(one for one in StudyConfig.analyses if one not in regime.unfit)


def _parts(cls: type[StudyConfig], regime: Regime) -> dict[str, type]:
    """Parts of a configuration, by the names of their fields; the shared settings, which have none, first."""
    return {"": cls, "search": SearchOptions, "recipe": Recipe, "regime_settings": regime.settings}


def _unknown(name: str, task: str, known: list[str]) -> str:
    if others := list(owners(name)):
        return f"{name} is for {others[0].subject}, not for {task!r}"
    return f"unknown setting {name!r}; {did_you_mean(name, known)}tombola study --help lists them all"
