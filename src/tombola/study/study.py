"""A study: every step is loaded if it is there, else computed and published whole; rows and verdicts come last."""

import dataclasses
import functools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import filelock

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.architectures.parameters import count_parameters
from tombola.foundations.atomic_files import disk_errors, read_json, sweep_drafts, write_json, write_lines
from tombola.foundations.errors import TombolaError
from tombola.foundations.precision import deterministic, resolve_device, resolve_precision
from tombola.foundations.progress import ProgressBars
from tombola.metrics import statistics
from tombola.pruning.evaluation import Evaluation
from tombola.pruning.prunable_weights import prunable_anatomy
from tombola.pruning.search.records import read_passes
from tombola.pruning.weight_criteria import WeightCut
from tombola.study.analysis_steps import AnalysisSteps
from tombola.study.config import ANALYSES, StudyConfig
from tombola.study.cross_seed_steps import CrossSeedSteps
from tombola.study.folder_layout import EVALUATION, SAVED, CrossSeedFolder, SeedFolder
from tombola.study.memory_needs import check_memory
from tombola.study.pool_size import threads, worker_count
from tombola.study.results import TicketVerdict
from tombola.study.scheduler import run_here, run_steps
from tombola.study.seed_context import SeedContext, Setting
from tombola.study.seed_steps import SeedSteps
from tombola.study.step import StudyStep
from tombola.study.study_facts import ArchitectureFacts, StudyFacts, machine_facts, versions
from tombola.study.time_estimate import announce, announcement, pass_seconds
from tombola.study.worker_pool import WorkerPool
from tombola.tasks.base import Task
from tombola.tasks.capabilities import GeneratesImages
from tombola.tickets.pruning_methods import in_words, pruning_method
from tombola.tickets.site_groups import fitted
from tombola.tickets.ticket import SUPER_TICKETS, TICKETS, Ticket

ASKED_FOR = frozenset(ANALYSES) - frozenset(StudyConfig().analyses)
"""Analyses that take so long that they say so first."""

_SUPER = {
    "super-survivors": "the ticket of the super-survivors",
    "super-random": "a random ticket of the super-survivors' size",
    "super-bad": "a bad ticket of the super-survivors' size",
}


class Study:
    """Fine-tune, search, draw controls, score, retrain, judge: for each seed, resumable at every step.

    Args:
        config: what to study.
        out: folder of studies; the study's own is `<out>/<name>-<hash>`.
        seeds: one full model and its tickets for each. Seeds add up: a study that is run again with other seeds
            keeps those it has.
        command: what the user typed, for the report.
        save: which retrained models are written: `none`, `good`, or `all`.
        workers: processes that run steps which do not need each other; with 1, this one runs all. `auto`: on a CPU as
            many as cores, memory and steps allow, else 1. No part of the hash: results differ by rounding at most, as
            the threads of each do.

    Raises:
        TombolaError: `out` is another study's folder, or the device does not exist.
    """

    def __init__(
        self,
        config: StudyConfig,
        *,
        out: Path | str = "runs",
        seeds: Sequence[int] = (0,),
        save: str = "good",
        command: str = "",
        workers: int | Literal["auto"] = 1,
    ) -> None:
        if workers != "auto" and workers < 1:
            raise TombolaError(f"workers must be auto, or 1 or more, not {workers}")
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise TombolaError(f"seeds must be different whole numbers from 0, not {list(seeds)}")
        self.device = resolve_device(config.device)
        self.precision = resolve_precision(config.precision, self.device)
        # Resolved before hashing: a study mixes neither precisions nor kinds of device, wherever it is resumed.
        self.config = dataclasses.replace(config, precision=self.precision, device=self.device.type)
        self.hash = self.config.hash()
        self.seeds = tuple(seeds)
        self.command = command
        if save not in SAVED:
            raise TombolaError(f"cannot save {save!r}; choose {', '.join(SAVED)}")
        self.save = save
        self.workers = workers
        self._opened: Task | None = None
        self.folder = self._folder(Path(out))

    def _folder(self, out: Path) -> Path:
        folder = out if (out / "study.json").is_file() else out / f"{self.config.name}-{self.hash}"
        if (folder / "study.json").is_file():
            there = read_json(folder / "study.json")
            if there.get("hash") != self.hash:
                raise TombolaError(
                    f"{folder} holds another study ({there.get('name')}-{there.get('hash')}, this one is "
                    f"{self.config.name}-{self.hash}); choose another folder with --out"
                )
        return folder

    @functools.cached_property
    def task(self) -> Task:
        """The study's task, loaded on first use."""
        self._opened = self.config.open_task()
        return self._opened

    @functools.cached_property
    def anatomy(self) -> Anatomy:
        """Anatomy of the whole model."""
        return self._model[0]

    @functools.cached_property
    def _model(self) -> tuple[Anatomy, int]:
        """Anatomy and parameters of the whole model."""
        model = self.task.load(self.config.model, seed=0)
        for one in map(pruning_method, self.config.methods):
            if one.pattern is not None:
                # Found out before anything is trained: a pattern must divide the inputs of every matrix.
                _ = prunable_anatomy(model, WeightCut(one.criterion, pattern=one.pattern))
        return dissect(model), count_parameters(model)

    def seed_folder(self, seed: int) -> SeedFolder:
        """The folder of one seed."""
        return SeedFolder(seed, self.folder / self.config.task_name / f"seed-{seed}")

    def run(self) -> Path:
        """Run what is missing, and return the folder: `tombola.report.build` makes its page.

        Raises:
            TombolaError: something the user can mend; whatever was finished stays.
        """
        # Data and model are opened before anything is written: bad input leaves no trace.
        _ = self.task, self.anatomy
        self._check_rewinding()
        for method in self.config.methods:
            _ = Ticket.full(
                self.anatomy, fitted(pruning_method(method), self.anatomy).kind, self.config.search.neuron_block
            )
        self._check_saved()
        self._check_memory()
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.folder / ".lock", timeout=0)
        try:
            with lock, deterministic(self.device):
                return self._run()
        except filelock.Timeout:
            raise TombolaError(f"another process is at work on {self.folder}; wait for it, or stop it") from None

    def _check_rewinding(self) -> None:
        if not self.config.retrains:
            return
        step, steps = self.config.rewinding.step, self.config.recipe.steps(self.task.size("train"))
        if step >= steps:
            raise TombolaError(f"cannot rewind to step {step}: the training has {steps} steps; choose an earlier one")

    def _check_saved(self) -> None:
        """A finished retraining left no model if none was asked for then, and is not done again unasked."""
        for seed in self.seeds if self.config.retrains else ():
            for method in self.config.methods:
                for name in SAVED[self.save]:
                    done = self.seed_folder(seed).ticket(method, name) / "retrained"
                    if done.is_dir() and not self.task.saved(done):
                        raise TombolaError(
                            f"{done} was retrained without saving the model; delete it to retrain, or change --save"
                        )

    def _check_memory(self) -> None:
        """Check once, before the first step, that the passes of models that draw images fit into memory."""
        if isinstance(self.task, GeneratesImages) and not all(step.done() for step in self.steps()):
            model = self.task.load(self.config.model, seed=0).to(self.device)
            # Every such study trains, and takes the importance of the full model's sites while it draws.
            check_memory(model, self.task, self.config, self.device, ("training", "importance", "sampling"))

    def _run(self) -> Path:
        sweep_drafts(self.folder)
        steps = self.steps()
        workers = self._worker_count(steps)
        self._describe(workers)
        self._announce([step for step in steps if step.analysis in ASKED_FOR and not step.done()])
        with ProgressBars("study", sum(step.cost for step in steps)) as bars:
            if workers == 1:
                run_here(steps, bars, self._collect)
            else:
                self._share(steps, bars, workers)
        self._collect()
        write_json(self.folder / "verdicts.json", {"verdicts": self.verdicts()})
        self._describe(workers)
        return self.folder

    def _collect(self) -> None:
        """Write the rows that there are so far."""
        write_lines(self.folder / "results.jsonl", self.rows())

    def _worker_count(self, steps: Sequence[StudyStep]) -> int:
        """Number of workers that run the steps; 1 for this process."""
        # A worker makes its study of the configuration, and cannot know what was put into this one by hand.
        if type(self) is not Study or self.task is not self._opened:
            if self.workers not in ("auto", 1):
                warnings.warn("the study runs in one process, as its task was not made from its settings", stacklevel=3)
            return 1
        if self.workers != "auto":
            return self.workers
        return worker_count(steps, self._model[1]) if self.device.type == "cpu" else 1

    def _share(self, steps: Sequence[StudyStep], bars: ProgressBars, workers: int) -> None:
        """Run the steps in worker processes."""
        job = {
            # The device by its full name: the configuration has only its kind.
            "config": {**self.config.settings(), "device": str(self.device)},
            "folder": str(self.folder),
            "seeds": list(self.seeds),
            "save": self.save,
            "shared_state": self.task.shared_state(),
        }
        try:
            run_steps(steps, bars, WorkerPool(job, workers, threads(workers)), self._collect)
        finally:
            # Of workers that were stopped in the middle of a step.
            sweep_drafts(self.folder)

    def steps(self) -> list[StudyStep]:
        """Steps, each after those that it needs: seed by seed, and then what is asked of all seeds."""
        setting = Setting(
            config=self.config,
            task=self.task,
            anatomy=self.anatomy,
            device=self.device,
            precision=self.precision,
            save=self.save,
            study=f"{self.config.name}-{self.hash}",
            seeds=len(self.seeds),
        )
        return list(self._steps(setting))

    def _steps(self, setting: Setting) -> Iterator[StudyStep]:
        for seed in self.seeds:
            context = SeedContext(setting, self.seed_folder(seed))
            yield from SeedSteps(context).steps()
            yield from AnalysisSteps(context).steps()
        # Others that the folder has count only with their tickets: a killed run may have left a full model alone.
        seeds = sorted({*self.seeds, *self.searched_seeds()})
        if "survivors" in self.config.analyses and len(seeds) > 1:
            contexts = [SeedContext(setting, self.seed_folder(seed)) for seed in seeds]
            across = CrossSeedFolder.of(seeds, self.folder / self.config.task_name)
            yield from CrossSeedSteps(contexts, across).steps()

    def _announce(self, steps: Sequence[StudyStep]) -> None:
        """Say beforehand how long the analyses take that do not come by themselves."""
        if steps:
            model = self.task.load(self.config.model, seed=0).to(self.device)
            announce(announcement(steps, pass_seconds(model, self.task, self.precision)))

    def survivors(self) -> CrossSeedFolder:
        """Folder of what is found across seeds: the most that were compared so far."""
        return CrossSeedFolder.compared(self.folder / self.config.task_name)

    def finished_seeds(self) -> list[int]:
        """Seeds of which the folder has a full model, of this run and of earlier ones."""
        home = self.folder / self.config.task_name
        return sorted(int(path.name.removeprefix("seed-")) for path in home.glob("seed-*") if (path / "full").is_dir())

    def searched_seeds(self) -> list[int]:
        """Finished seeds that have a good ticket of every method."""
        return [
            seed
            for seed in self.finished_seeds()
            if all(
                (self.seed_folder(seed).ticket(one, "good") / "ticket.json").is_file() for one in self.config.methods
            )
        ]

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of every scored model so far, in a fixed order (fields: `tombola.study.results.Row`)."""
        survivors, seed_folders = self.survivors(), [self.seed_folder(seed) for seed in self.finished_seeds()]
        places = [place for one in seed_folders for place in one.scored(self.config.methods)]
        places += [place for one in seed_folders for place in survivors.scored(self.config.methods, one.seed)]
        for place in places:
            yield read_json(place / "score.json")

    def verdicts(self) -> list[dict[str, object]]:
        """The verdict on every retrained ticket, over the seeds that have it: each a `TicketVerdict`."""
        found: list[dict[str, object]] = []
        references = self.task.references("dev")
        stage: Literal["pruned", "retrained"] = "retrained" if self.config.retrains else "pruned"
        survivors, seed_folders = self.survivors(), [self.seed_folder(seed) for seed in self.finished_seeds()]
        for method in self.config.methods:
            for name in (*TICKETS, *SUPER_TICKETS):
                places = {
                    one: (one.ticket(method, name) if name in TICKETS else survivors.scores(method, name, one.seed))
                    / stage
                    for one in seed_folders
                }
                have = {one: place for one, place in places.items() if (place / "score.json").is_file()}
                if not have:
                    continue
                full = [Evaluation.read(one.full / EVALUATION).predictions for one in have]
                ticket = [Evaluation.read(place / EVALUATION).predictions for place in have.values()]
                # Of seeds that share a model zero-shot, all judge alike; otherwise there is but one metric.
                metric = self.task.with_full_model(full[0]).metric
                resamples = self.config.bootstrap_resamples
                verdict = statistics.verdict(metric, full, ticket, references, seed=0, resamples=resamples)
                which = f"the {name.replace('-', ' ')} ticket" if name in TICKETS else _SUPER[name]
                what = f"{which} of {in_words(method)}"
                sentence = verdict.sentence(what, trained=self.config.retrains)
                found.append(TicketVerdict(method, name, stage, sentence, verdict).entry())
        return found

    def _describe(self, workers: int) -> None:
        """Write `study.json`: what is studied, and with what."""
        path = self.folder / "study.json"
        commands = StudyFacts.read(path).command.split("\n") if path.is_file() else []
        StudyFacts(
            name=self.config.name,
            hash=self.hash,
            command="\n".join(dict.fromkeys([*commands, self.command])).strip(),
            config=self.config.settings(),
            threshold=self.config.search_options.threshold,
            seeds=tuple(sorted({*self.seeds, *self.finished_seeds()})),
            versions=versions(),
            machine=machine_facts(self.device, workers),
            architecture=ArchitectureFacts.of(self.anatomy),
            task=dict(self._judging().facts()),
            seconds=self._seconds(),
        ).write(path)

    def _judging(self) -> Task:
        """The task as it judges what is made of the full model, once there is one."""
        found = (self.seed_folder(seed).full / EVALUATION for seed in self.finished_seeds())
        path = next((path for path in found if path.is_file()), None)
        return self.task if path is None else self.task.with_full_model(Evaluation.read(path).predictions)

    def _seconds(self) -> dict[str, float]:
        """Seconds of each kind of step, over all seeds and however often the study was resumed."""
        seconds: dict[str, float] = {}
        for row in self.rows():
            what = row["ticket"] if row["stage"] == "none" else row["stage"]
            seconds[what] = seconds.get(what, 0.0) + row["seconds"]
        for seed in self.finished_seeds():
            for method in self.config.methods:
                if (self.seed_folder(seed).ticket(method, "good") / "ticket.json").is_file():
                    steps = read_passes(self.seed_folder(seed).folder / method / "search.jsonl")
                    # The pass over the full model is counted with the full model; only a search of neurons, whose
                    # importance that pass does not have, makes one of its own.
                    own = (
                        steps
                        if "neurons" in pruning_method(method).sites or pruning_method(method).grouping
                        else steps[1:]
                    )
                    what = f"search {method}"
                    seconds[what] = seconds.get(what, 0.0) + sum(step.seconds for step in own)
        return {what: round(value, 2) for what, value in {"total": sum(seconds.values()), **seconds}.items()}
