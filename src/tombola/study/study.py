"""A study: every step is loaded if it is there, else computed and published whole; rows and verdicts come last."""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.architectures.parameters import count_parameters
from tombola.foundations.atomic_files import clear_drafts, read_json, work_alone
from tombola.foundations.curves import check_tracker
from tombola.foundations.errors import StaleError, TombolaError, memory_errors, reason
from tombola.foundations.plurals import plural
from tombola.foundations.precision import Precision
from tombola.foundations.settings import settings_read
from tombola.foundations.shown import Shown
from tombola.pruning.importance_methods import IMPORTANCES
from tombola.pruning.search.guessing import check_labels
from tombola.pruning.weight_criteria import CRITERIA, WeightCut, prunable_anatomy
from tombola.study.analysis_steps import analysis_steps
from tombola.study.config import ALL, ANALYSES, TRUST, StudyConfig
from tombola.study.estimates import Plan, announce, announcement, pass_seconds, plan
from tombola.study.folder_layout import MOST_SEEDS, SAVED, CrossSeedFolder, SeedFolder, check_links
from tombola.study.renewal import SET_ASIDE, Renewal
from tombola.study.seed_context import SeedContext, Setting
from tombola.study.seed_run import SeedRun
from tombola.study.seed_steps import cross_seed_steps, seed_steps
from tombola.study.step import StudyStep
from tombola.study.step_list import STEPS, ListedStep, StepList
from tombola.study.step_locks import StepLocks
from tombola.study.studies_run import StudiesRun
from tombola.study.study_folder import Stage, StudyFolder
from tombola.study.worker_pool import address_of
from tombola.tasks.base import Task
from tombola.tasks.capabilities import GeneratesImages
from tombola.tasks.registry import is_installed
from tombola.tickets.pruning_methods import pruning_method
from tombola.tickets.site_groups import fitted
from tombola.tickets.ticket import Ticket


def _like_the_folder(config: StudyConfig, out: Path) -> StudyConfig:
    """The configuration with the precision that a study's folder has, where it does not name one."""
    if config.precision != "auto" or not (out / "study.json").is_file():
        return config
    there = read_json(out / "study.json").get("config", {})
    precision = there.get("precision") if isinstance(there, dict) else None
    return config.replaced(precision=precision) if precision in get_args(Precision) else config


ASKED_FOR = frozenset(ANALYSES) - frozenset(StudyConfig().analyses)
"""Analyses that take so long that they say so first."""


PASS_SECONDS: dict[str, float] = {}
"""Seconds of a pass, by what it is of."""

CHANGED = (
    "the model or the data changed while the study ran; start again: what was made before is kept, and made anew if it "
    "is of others"
)
"""Line that ends a study whose local files somebody writes."""


class Study(Shown):
    """Fine-tune, search, draw controls, score, retrain, judge: for each seed, resumable at every step.

    Args:
        config: what to study.
        out: folder of studies; the study's own is `<out>/<name>-<hash>`. Or the folder of a study of the same model
            and task: with other settings, what depends on them is made anew, and the rest is reused.
        seeds: one full model and its tickets for each. Seeds add up: a study that is run again with other seeds
            keeps those it has.
        command: what the user typed, for the report.
        save: which retrained models are written: `none`, `good`, or `all`.
        workers: processes that run steps which do not need each other; with 1, this one runs all. `auto`: on a CPU as
            many as cores, memory and steps allow, else one for each GPU. No part of the hash: results differ by
            rounding at most, as the threads of each do.
        label: before the names of its steps, where there are several studies.
        cluster: address of a Dask scheduler, `tls://HOST:8786`, or the path of a scheduler file: its workers, which see
            the same folders under the same names, run the steps in place of processes of this machine.
        track: name of one of accelerate's trackers (`tensorboard`, `wandb`, `mlflow`, `trackio`, ...) that is given
            the curves of trainings, searches and the whole study while they run; None for none.

    Raises:
        TombolaError: `out` is the folder of a study of another model or task, or the device does not exist.
    """

    # Many parameters: beside what is studied, where, by whom and for whose eyes, which no setting is.
    def __init__(
        self,
        config: StudyConfig,
        *,
        out: Path | str = "runs",
        seeds: Sequence[int] = (0,),
        save: str = "good",
        command: str = "",
        workers: int | Literal["auto"] = 1,
        cluster: str | None = None,
        label: str = "",
        track: str | None = None,
    ) -> None:
        if not isinstance(config, StudyConfig):
            raise TombolaError(f'give a configuration, as StudyConfig.of("quick"), not {config!r:.80}')
        if isinstance(seeds, int):
            raise TombolaError(f"seeds must be a list, as [{seeds}], not {seeds}")
        if workers != "auto" and not (isinstance(workers, int) and workers >= 1):
            raise TombolaError(f"workers must be auto, or 1 or more, not {workers}")
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise TombolaError(f"seeds must be different whole numbers from 0, not {list(seeds)}")
        if len(seeds) > MOST_SEEDS or max(seeds) >= 2**63:
            raise TombolaError(f"a study has at most {MOST_SEEDS:,} seeds, each below 2^63")
        # Resolved before hashing: a study mixes no precisions, wherever it is resumed.
        self.config, self.device = _like_the_folder(config, Path(out)).resolved()
        # Before their content is read: what is written after it is noticed.
        self._stamp = self.config.stamp(seeds)
        self._identity = self.config.identity()
        self.hash = self.config.hash(self._identity)
        self.seeds = tuple(seeds)
        self.command = command
        if save not in SAVED:
            raise TombolaError(f"cannot save {save!r}; choose {', '.join(SAVED)}")
        self.save = save
        self.label = label
        self.workers = workers
        self.cluster = None if cluster is None else address_of(cluster)
        self.track = track
        if track is not None:
            check_tracker(track)
        self._opened: Task | None = None
        self._shared: Mapping[str, Any] | None = None
        self._read = set[str]()
        self._inputs: dict[int, Mapping[str, object]] = {}
        self.folder = self._place(Path(out))
        self.layout = StudyFolder(self.folder, self.config)
        self._claim = StepLocks(self.folder, self.config.name, self._others).claim if self._is_ours else None
        self._workers, self._stale = 1, False
        self._renewed = Renewal(self.folder)
        self._listed = StepList(())

    def __repr__(self) -> str:
        return f"Study({self.folder.name}, seeds {', '.join(map(str, self.seeds))}, in {self.folder.parent})"

    def _place(self, out: Path) -> Path:
        folder = out if (out / "study.json").is_file() else out / f"{self.config.name}-{self.hash}"
        if (folder / "study.json").is_file():
            check_links(folder)
            there = read_json(folder / "study.json")
            if not there.get("hash"):
                raise TombolaError(f"{folder} holds a single step, and no study; choose another folder with --out")
            if there.get("name") != self.config.name:
                raise TombolaError(
                    f"{folder} holds another study ({there.get('name')}-{there.get('hash')}, this one is "
                    f"{self.config.name}-{self.hash}); choose another folder with --out"
                )
        return folder

    @functools.cached_property
    def task(self) -> Task:
        """The study's task, opened on first use, and again once it was closed."""
        with settings_read() as self._read:
            self._opened = self.config.open_task()
        if self._shared is not None:
            self._opened.load_shared_state(self._shared)
        return self._opened

    def close(self) -> None:
        """Let the task leave the memory until it is asked for again; one that was put in by hand stays."""
        if self._opened is not None and not self._by_hand:
            self._shared = self._opened.shared_state()
            self._opened = None
            del vars(self)["task"]

    @property
    def _by_hand(self) -> bool:
        """True if the task is one that somebody put in, and not made from the settings."""
        return vars(self).get("task", self._opened) is not self._opened

    @functools.cached_property
    def anatomy(self) -> Anatomy:
        """Anatomy of the whole model."""
        return self._model[0]

    @functools.cached_property
    def _model(self) -> tuple[Anatomy, int]:
        model = self.task.load(self.config.model, seed=0)
        for one in map(pruning_method, self.config.methods):
            if one.pattern is not None:
                # Found out before anything is trained: a pattern must divide the inputs of every matrix.
                _ = prunable_anatomy(model, WeightCut(one.criterion, pattern=one.pattern))
        return dissect(model), count_parameters(model)

    def seed_folder(self, seed: int) -> SeedFolder:
        """The folder of one seed."""
        return self.layout.seed_folder(seed)

    @memory_errors()
    def plan(self) -> Plan:
        """Plan of what `run` would do, after all that it checks first; nothing is written.

        Raises:
            TombolaError: something the user can mend.
        """
        self.check()
        if not self._changed():
            self._check_saved()
        steps = self.steps()
        return plan(steps, self.worker_count(steps), self.pass_seconds(), 4 * self.parameters)

    @memory_errors()
    def run(self) -> Path:
        """Run what is missing, and return the folder: `tombola.report.build` makes its page.

        Raises:
            TombolaError: something the user can mend; whatever was finished stays.
        """
        self.check()
        with self.at_work() as steps:
            self._alone.run({self.folder: steps})
        return self.folder

    @property
    def _alone(self) -> StudiesRun:
        return StudiesRun([self], self.folder, self.workers, self.cluster, track=self.track)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[list[StudyStep]]:
        """Hold the folder of a study that was checked, and yield its steps; in the end rows and verdicts are written.

        Raises:
            BusyError: another process is at work on it.
            TombolaError: what is there is not what was written.
        """
        with work_alone(self.folder):
            clear_drafts(self.folder)
            self._renewed = self._renew()
            self._check_saved()
            self._stale = False
            try:
                yield self.steps()
            except Exception:
                # Of what does not need what failed there are results too.
                if not self._stale:
                    with contextlib.suppress(TombolaError):
                        self._finish()
                raise
            self._finish()

    def check(self) -> None:
        """Open data and model, before anything is written: bad input leaves no trace."""
        _ = self.task, self.anatomy
        for split in dict.fromkeys(("dev", self.config.searched)):
            check_labels(self.task, split)
        if self.config.retrains:
            step, steps = self.config.rewinding.step, self.config.recipe.steps(self.task.size("train"))
            if step >= steps:
                raise TombolaError(
                    f"cannot rewind to step {step}: the training has {plural(steps, 'step')}; choose an earlier one"
                )
        for method in self.config.methods:
            _ = Ticket.full(
                self.anatomy, fitted(pruning_method(method), self.anatomy).kind, self.config.search.neuron_block
            )
        self._check_full()
        self._check_memory()

    def _changed(self) -> bool:
        """True if the folder is of another configuration so far."""
        there = self._described()
        return bool(there) and there.get("hash") != self.hash

    def _described(self) -> dict[str, Any]:
        """Contents of `study.json` so far; empty for a new study."""
        path = self.folder / "study.json"
        return read_json(path) if path.is_file() else {}

    def _check_saved(self) -> None:
        """A finished retraining left no model if none was asked for then, and is not done again unasked."""
        seeds = self.seeds if self.config.retrains else ()
        for seed, method, name in itertools.product(seeds, self.config.methods, SAVED[self.save]):
            done = self.seed_folder(seed).ticket(method, name) / "retrained"
            if done.is_dir() and not self.task.saved(done):
                raise TombolaError(
                    f"{done} was retrained without saving the model; delete it to retrain, or change --save"
                )

    def _check_memory(self) -> None:
        """Check once, before the first step, that the passes of models that draw images fit into memory."""
        finished = not self._changed() and all(step.done() for step in self.steps())
        if isinstance(self.task, GeneratesImages) and not finished:
            model = self.task.load(self.config.model, seed=0).to(self.device)
            # Every such study trains, and takes the importance of the full model's sites while it draws.
            self._setting.check_memory(model, "training", "importance", "sampling")

    def _check_full(self) -> None:
        """A model that is given as fine-tuned must fit the task and the model; found out before anything is written."""
        for seed in self.seeds if self.config.full is not None else ():
            full = self.config.full_of(seed)
            # Of a model that all seeds share once.
            known = self.seed_folder(seed).full.is_dir() and not self._changed()
            if (seed == self.seeds[0] or self.config.full_varies) and not known:
                try:
                    signature = dissect(self.task.load(full, seed=seed, state="trained")).signature
                except TombolaError as error:
                    raise TombolaError(f"full: {full}: {error}" if full not in str(error) else str(error)) from None
                if signature != self.anatomy.signature:
                    raise TombolaError(
                        f"full: {full} is a model {signature}, and {self.config.model} is {self.anatomy.signature}; "
                        "give as model what it was fine-tuned from"
                    )

    def _renew(self) -> Renewal:
        """Set aside what was made from other settings, by any seed that the folder has: nothing mixes."""
        found = Renewal(self.folder, self._others())
        seeds, across = sorted({*self.seeds, *self.layout.seeds_begun()}), CrossSeedFolder.all(self.layout.home)
        # Analyses add up: those that nobody asks for now stay as long as they are true.
        setting = dataclasses.replace(self._setting, config=dataclasses.replace(self.config, analyses=(ALL,)))
        steps = [step for seed in seeds for step in self._seed_steps(setting, seed)]
        steps += [step for one in across for step in self._cross_seed_steps(setting, one)]
        homes = [self.seed_folder(seed).folder for seed in seeds] + [one.folder for one in across]
        methods = self.config.methods
        scored = [place for seed in seeds for place in self.seed_folder(seed).scored(methods)]
        scored += [place for one in across for seed in seeds for place in one.scored(methods, seed)]
        found.keep_only(homes, (step.result for step in steps), scored)
        found.check(steps)
        if there := self._described():
            now = self.config.settings()
            found.changed |= {name for name, value in there.get("config", {}).items() if value != now.get(name, value)}
            found.changed -= {"analyses"}
        if found or self._changed():
            found.forget()
        return found

    @property
    def _is_ours(self) -> bool:
        """True if the folder is named by Tombola and not by the user."""
        return self.folder.name == f"{self.config.name}-{self.hash}"

    def _others(self) -> list[Path]:
        """Folders of other studies beside this one's, where others may be looked for."""
        if not self._is_ours:
            return []
        beside = sorted(path for path in self.folder.parent.glob("*/") if path != self.folder)
        beside = [path for path in beside if (path / "study.json").is_file()]
        return [*beside, *(room for path in beside for room in sorted(path.glob(f"{SET_ASIDE}/*/")))]

    def begin(self, steps: Sequence[StudyStep], workers: int) -> None:
        """Write what is studied before the first step, which so many workers run, and say what there is to do."""
        self._workers, done = workers, sum(step.done() for step in steps)
        self._describe()
        self._listed = StepList([ListedStep(self._plain(one), self._inner(one.result)) for one in steps])
        self._listed.write(self.folder / STEPS)
        # Whoever looks before the first step is done finds what is true of these settings.
        self.layout.write_rows()
        if done < len(steps):
            (self.folder / "verdicts.json").unlink(missing_ok=True)
        label = f"{self.label}: " if self.label else ""
        if self._renewed:
            announce(f"{label}{self._renewed.line(steps)}")
        elif done:
            parts = f"{done} of {len(steps)} steps are done" if done < len(steps) else f"all {done} steps are done"
            announce(f"{label}{parts}")
        if long := [step for step in steps if step.analysis in ASKED_FOR and not step.done()]:
            announce(f"{label}{announcement(long, self.pass_seconds())}")

    def heard(self, step: StudyStep, error: Exception | None) -> None:
        """Keep the files at the top up to date with a step that is done, or that failed."""
        if error is None:
            self.layout.write_rows()
            if not step.there():
                self._listed = self._listed.with_left_out(self._inner(step.result))
                self._listed.write(self.folder / STEPS)
            return
        self._stale |= isinstance(error, StaleError)
        self._listed = self._listed.with_failure(self._plain(step), reason(error, 300).removeprefix(f"{self.label}: "))
        self._listed.write(self.folder / STEPS)

    @property
    def failed(self) -> bool:
        """True if a step failed in the last run."""
        return bool(self._listed.failed)

    def _plain(self, step: StudyStep) -> str:
        return step.what.removeprefix(f"{self.label}: ")

    def _inner(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _describe(self) -> None:
        """Write what is studied, and with what: as it begins, and in the end with the rows that there are then."""
        self.layout.describe(self._setting, self.seeds, self.command, self._workers, self.hash)

    def _finish(self) -> None:
        self.layout.write_rows()
        self.layout.write_verdicts(self.task, self._judged)
        self._describe()

    def pass_seconds(self) -> float:
        """Seconds of a forward pass of one example, as measured once in this process for a model and its task."""
        task, precision = self.task, self._setting.precision
        values = self.config.inputs(self._identity, self.seeds[0])
        read = {name: values.get(name) for name in {*self._read, "model"}}
        key = json.dumps([str(self.device), precision, read], sort_keys=True)
        if self._by_hand or key not in PASS_SECONDS:
            model = task.load(self.config.model, seed=0).to(self.device)
            PASS_SECONDS[key] = pass_seconds(model, task, precision)
        return PASS_SECONDS[key]

    def worker_count(self, steps: Sequence[StudyStep]) -> int:
        """Number of workers that run the steps; 1 for this process."""
        return self._alone.worker_count(steps)

    def only_here(self) -> str | None:
        """Reason, as a clause, why no other process can run the study: of what was put in here alone; or None."""
        # A worker makes its study of the configuration, and cannot know what was put into this one by hand.
        if type(self) is not Study or self._by_hand:
            return "its task was not made from its settings"
        criteria = {one.criterion for one in map(pruning_method, self.config.methods)} - {""}
        if not is_installed(self.config.regime):
            return "its regime is in no other"
        if not IMPORTANCES.is_installed(self.config.search.importance):
            return "its importance is in no other"
        return None if all(map(CRITERIA.is_installed, criteria)) else "its criterion is in no other"

    @property
    def parameters(self) -> int:
        """Number of parameters of the whole model."""
        return self._model[1]

    def made_of(self) -> dict[str, object]:
        """JSON values of which a worker makes the same study, see `tombola.study.worker_steps.run_step`."""
        return {
            # The device by its full name: the configuration has only its kind.
            "config": {**self.config.settings(), "device": str(self.device), TRUST: self.config.trust_remote_code},
            "folder": str(self.folder),
            "label": self.label,
            "seeds": list(self.seeds),
            "save": self.save,
            "digest": self.digest,
            "shared_state": self.task.shared_state() if self._shared is None else self._shared,
        }

    def steps(self) -> list[StudyStep]:
        """Steps, each after those that it needs: seed by seed, and then what is asked of all seeds."""
        setting = self._setting
        found = [step for seed in self.seeds for step in self._seed_steps(setting, seed)]
        # Others that the folder has count only with their tickets: a killed run may have left a full model alone.
        seeds = sorted({*self.seeds, *self.layout.searched_seeds()})
        if "survivors" in self.config.analyses and len(seeds) > 1:
            found += self._cross_seed_steps(setting, CrossSeedFolder.of(seeds, self.layout.home))
        return found

    def _seed_steps(self, setting: Setting, seed: int) -> Iterator[StudyStep]:
        run = SeedRun(setting, self.seed_folder(seed))
        label = "".join(f"{one}: " for one in (self.label, f"seed {seed}" if len(self.seeds) > 1 else "") if one)
        for step in (*seed_steps(run), *analysis_steps(run)):
            yield dataclasses.replace(self._with_inputs(step, seed), what=label + step.what)

    def _cross_seed_steps(self, setting: Setting, survivors: CrossSeedFolder) -> Iterator[StudyStep]:
        contexts = [SeedContext(setting, one) for one in survivors.seed_folders]
        for step in cross_seed_steps(contexts, survivors):
            found = self._with_inputs(step, (step.context or contexts[0]).seed_folder.seed)
            yield dataclasses.replace(found, what=f"{self.label}: {step.what}") if self.label else found

    def _with_inputs(self, step: StudyStep, seed: int) -> StudyStep:
        if seed not in self._inputs:
            self._inputs[seed] = self.config.inputs(self._identity, seed)
        settings = self._inputs[seed]
        # A task that was put in by hand may depend on any.
        read = settings if self._by_hand else self._read
        read = {*read, *(f"criterion of {part}" for part in step.result.parts)}
        return dataclasses.replace(
            step,
            settings=settings,
            read=frozenset(read),
            unchanged=self._unchanged,
            study=self.folder,
            claim=self._claim,
        )

    def _unchanged(self) -> None:
        if (stamp := self.config.stamp(self.seeds)) == self._stamp:
            return
        now = self.config.identity()
        if now != self._identity or any(known != self.config.inputs(now, seed) for seed, known in self._inputs.items()):
            raise StaleError(CHANGED)
        self._stamp = stamp

    @property
    def digest(self) -> str:
        """Hash of the settings of every seed with the content of local files: equal in every process of the study."""
        inputs = [self.config.inputs(self._identity, seed) for seed in self.seeds]
        return hashlib.sha256(json.dumps([self.hash, inputs], sort_keys=True).encode()).hexdigest()

    @property
    def _setting(self) -> Setting:
        return Setting(self.config, lambda: self.task, self.device, self.anatomy, self.save, self.config.name)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of every scored model so far, in a fixed order (fields: `tombola.study.results.Row`)."""
        return self.layout.rows()

    def verdicts(self) -> list[dict[str, object]]:
        """The verdict on every ticket, retrained where any is, over the seeds that have it: each a `TicketVerdict`."""
        return self.layout.verdicts(self.task, self._judged)

    @property
    def _judged(self) -> Stage:
        return "retrained" if self.config.retrains else "pruned"
