"""Tickets of one task retrained on another: for each two studies of one model, resumable cell by cell."""

import functools
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tombola.analysis.transfer import Scored, Transfer, TransferScores, transferred
from tombola.architectures.dissect import dissect
from tombola.foundations.atomic_files import clear_drafts, publish, read_json, work_alone, write_json, write_lines
from tombola.foundations.errors import TombolaError, memory_errors
from tombola.foundations.fingerprint import fingerprint
from tombola.foundations.precision import deterministic, resolve_device
from tombola.foundations.progress import Progress, ProgressBars
from tombola.pruning import controls
from tombola.pruning.evaluation import Evaluation
from tombola.study.config import StudyConfig
from tombola.study.estimates import Plan, announce, in_words
from tombola.study.folder_layout import EVALUATION, SCORE, TRANSFER, check_not_renewed
from tombola.study.renewal import Renewal
from tombola.study.results import read_row
from tombola.study.scheduler import run_here
from tombola.study.seed_context import SeedContext, Setting
from tombola.study.step import TRAINING_COST, StudyStep
from tombola.study.step_record import StepRecord
from tombola.study.study_folder import StudyFolder
from tombola.study.study_record import NAME, check_together, read_record
from tombola.study.training_folder import training_folder
from tombola.tasks.base import Task
from tombola.tickets.pruning_methods import in_words as method_in_words
from tombola.tickets.site_groups import site_groups_of
from tombola.tickets.ticket import Ticket

TICKETS = ("transferred", "random")
"""Tickets that are retrained in each cell: that of the other task, and a random one of its size."""


@dataclass(frozen=True)
class FinishedStudy(StudyFolder):
    """A finished study, as another one sees it."""

    signature: str
    seeds: tuple[int, ...]
    identity: Mapping[str, Any]

    @property
    def task(self) -> str:
        """Its task's short name."""
        return self.config.task_name

    def retrained(self, seed: int, method: str) -> bool:
        """True if it has the retrained good ticket of a seed."""
        return (self.seed_folder(seed).ticket(method, "good") / "retrained" / SCORE).is_file()

    @classmethod
    def read(cls, folder: Path, *, trust_remote_code: bool = False) -> Self:
        """Read a study's folder.

        Args:
            folder: of the study.
            trust_remote_code: let its task run code that comes with its model; what the folder says is not heeded.

        Raises:
            TombolaError: it holds no study, or a damaged one.
        """
        check_not_renewed(folder)
        path, values = folder / NAME, read_record(folder, whole=True)
        try:
            config = StudyConfig.recorded(values["config"], trust_remote_code=trust_remote_code)
            identity, signature = config.identity(), str(values["architecture"]["signature"])
            found = cls(folder, config, signature, tuple(values["seeds"]), identity)
            digest = values["hash"]
        except (KeyError, TypeError) as error:
            raise TombolaError(f"{path} is damaged ({error!r}); run the study again") from None
        # Of full models by a pattern, the hash has the pattern alone.
        fulls = [StepRecord.of(found.seed_folder(seed).full) for seed in found.seeds if config.full is not None]
        given = [fingerprint(config.full_of(seed)) for seed in found.seeds if config.full is not None]
        others = [one for one, full in zip(fulls, given, strict=True) if one and one.settings.get("full") != full]
        # The hash is over the content of local files: other data would be judged by the wrong answers.
        if config.hash(identity) != digest or others:
            raise TombolaError(
                f"the model or the data of {folder} are not there any more as the study saw them; run it again, or "
                "call this from the folder that the study was called from"
            )
        return found

    def made_from(self, seed: int, source: "FinishedStudy", method: str) -> dict[str, object]:
        """Settings that a ticket of another study, trained again on this one's task, is made from."""
        records = {
            "full model": StepRecord.of(self.seed_folder(seed).full),
            "ticket": StepRecord.of(source.seed_folder(seed).ticket(method, "good")),
        }
        return self.config.inputs(self.identity, seed) | {
            name: None if record is None else record.identity for name, record in records.items()
        }


class TransferStudy:
    """Retrain every study's good tickets on every other study's task, beside random tickets of their sizes.

    The target's own retrained good ticket is the other end of the scale, and is not trained again (Chen et al. 2020,
    The Lottery Ticket Hypothesis for Pre-trained BERT Networks).

    Args:
        folders: of two or more finished studies of one architecture, of different tasks.
        out: folder of the results.
        methods, seeds: which; by default all that every study has.
        trust_remote_code: run code that comes with their model.

    Raises:
        TombolaError: the studies do not go together.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        out: Path,
        *,
        methods: Sequence[str] = (),
        seeds: Sequence[int] = (),
        trust_remote_code: bool = False,
    ) -> None:
        self.out = out
        check_together(folders)
        self.studies = [FinishedStudy.read(folder, trust_remote_code=trust_remote_code) for folder in folders]
        models = {fingerprint(study.config.model): study.config.model for study in self.studies}
        if len(models) > 1:
            raise TombolaError(
                f"the studies are of different models ({', '.join(sorted(models.values()))}); a ticket transfers "
                "between tasks of one pre-trained model"
            )
        self.methods = tuple(methods) or _common([study.config.methods for study in self.studies])
        done = [[s for s in one.seeds if all(one.retrained(s, m) for m in self.methods)] for one in self.studies]
        self.seeds = tuple(seeds) or _common(done) or _common([study.seeds for study in self.studies])
        for what, given in (("seeds", self.seeds), ("methods", self.methods)):
            if len(set(given)) < len(given):
                raise TombolaError(f"{what} must be different, not {', '.join(map(str, given))}")
        if not self.methods or not self.seeds:
            what = "method" if not self.methods else "seed"
            raise TombolaError(f"the studies have no {what} in common; run one of them for those of the other too")
        for study, method, seed in itertools.product(self.studies, self.methods, self.seeds):
            if not study.retrained(seed, method):
                raise TombolaError(
                    f"{study.folder} has no retrained good ticket of {method_in_words(method)} for seed {seed}; let "
                    "`tombola study` finish it"
                )

    def plan(self) -> Plan:
        """Plan of what is left: each step takes as long as the target's own retraining took."""
        left, done = list[tuple[str, float]](), 0
        for target, source, method, seed in self._cells():
            took = read_row(target.seed_folder(seed).ticket(method, "good") / "retrained")["seconds"]
            for name in TICKETS:
                if (self._home(target, source, method, seed) / name).is_dir():
                    done += 1
                else:
                    left.append((_step_title(target, source, method, seed, name), took))
        return Plan.of(left, done=done)

    @memory_errors()
    def run(self) -> Path:
        """Train what is missing, and return the path of `transfer.json`.

        Raises:
            TombolaError: something the user can mend; whatever was finished stays.
        """
        tasks = {study.task: study.config.open_task() for study in self.studies}
        with work_alone(self.out), deterministic(resolve_device(self.studies[0].config.device)):
            self._check_out()
            clear_drafts(self.out)
            steps = [step for target in self.studies for step in self._steps(target, tasks[target.task])]
            renewed = Renewal(self.out)
            # Made of tickets, or of models, that are others now.
            renewed.check(steps)
            if renewed:
                announce(renewed.line(steps))
            if seconds := self.plan().seconds:
                announce(f"expected time of the transfer: {in_words(seconds)}")
            with ProgressBars("transfer", sum(step.cost for step in steps)) as bars:
                run_here(steps, bars)
            found = self._found(tasks)
            write_lines(self.out / "results.jsonl", self._rows())
            found.write(self.out / TRANSFER)
        return self.out / TRANSFER

    def _check_out(self) -> None:
        """Cells of other studies must not be taken for those of these."""
        path = self.out / "studies.json"
        mine: dict[str, object] = {study.task: study.config.hash(study.identity) for study in self.studies}
        there = read_json(path) if path.is_file() else mine
        if any(mine.get(task, digest) != digest for task, digest in there.items()):
            raise TombolaError(f"{self.out} holds a transfer between other studies; choose another folder with --out")
        write_json(path, {**there, **mine})

    def _cells(self) -> Iterator[tuple[FinishedStudy, FinishedStudy, str, int]]:
        for target, source in itertools.permutations(self.studies, 2):
            for method, seed in itertools.product(self.methods, self.seeds):
                yield target, source, method, seed

    def _home(self, target: FinishedStudy, source: FinishedStudy, method: str, seed: int) -> Path:
        return self.out / method / target.task / source.task / f"seed-{seed}"

    def _steps(self, target: FinishedStudy, task: Task) -> Iterator[StudyStep]:
        anatomy, device = dissect(task.load(target.config.model, seed=0)), resolve_device(target.config.device)
        setting = Setting(target.config, lambda: task, device, anatomy, study=target.folder.name)
        for to, source, method, seed in self._cells():
            if to is not target:
                continue
            context = SeedContext(setting, target.seed_folder(seed))
            cost = TRAINING_COST * target.config.recipe.epochs * task.size("train") + task.size("dev")
            for name in TICKETS:
                place = self._home(target, source, method, seed) / name
                what = _step_title(target, source, method, seed, name)
                run = functools.partial(self._retrain, context, source, method, name, place)
                made_from = target.made_from(seed, source, method)
                read = frozenset(made_from)
                yield StudyStep(what, cost, TRAINING_COST, place, run, settings=made_from, read=read)

    def _retrain(
        self, context: SeedContext, source: FinishedStudy, method: str, name: str, place: Path, progress: Progress
    ) -> None:
        started = time.perf_counter()
        ticket = Ticket.load(source.seed_folder(context.seed_folder.seed).ticket(method, "good"))
        if name == "random":
            anatomy = context.setting.anatomy
            ticket = controls.random(ticket, context.seed_folder.seed, site_groups_of(anatomy, method), anatomy)
        trained = context.trained(ticket, progress, training_folder(place))
        with publish(place) as draft:
            context.write_score(draft, trained, name, "retrained", started, progress)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for target, source, method, seed in self._cells():
            for name in TICKETS:
                yield {"source": source.task, **read_row(self._home(target, source, method, seed) / name)}

    def _found(self, tasks: dict[str, Task]) -> Transfer:
        cells = []
        for method, (target, source) in itertools.product(self.methods, itertools.permutations(self.studies, 2)):
            homes = [self._home(target, source, method, seed) for seed in self.seeds]
            moved, random = (_scored([home / name for home in homes]) for name in TICKETS)
            own = _scored([target.seed_folder(seed).ticket(method, "good") / "retrained" for seed in self.seeds])
            full = [float(read_row(target.seed_folder(seed).full)["score"]) for seed in self.seeds]
            scores, task = TransferScores(moved, own, random, full), tasks[target.task]
            resamples = target.config.bootstrap_resamples
            cells.append(transferred(method, source.task, target.task, scores, task, resamples=resamples))
        config = self.studies[0].config
        return Transfer(
            model=config.model,
            tasks=tuple(study.task for study in self.studies),
            seeds=self.seeds,
            metrics={study.task: tasks[study.task].metric.name for study in self.studies},
            cells=tuple(cells),
        )


def _common(lists: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """Values that all lists have, in the order of the first."""
    return tuple(one for one in lists[0] if all(one in other for other in lists[1:]))


def _scored(places: Sequence[Path]) -> list[Scored]:
    rows = [read_row(place) for place in places]
    return [
        Scored(Evaluation.read(place / EVALUATION).predictions, float(row["score"]), float(row["sparsity"]))
        for place, row in zip(places, rows, strict=True)
    ]


def _step_title(target: FinishedStudy, source: FinishedStudy, method: str, seed: int, name: str) -> str:
    """Title of the step that trains a ticket of one task on another."""
    ticket = f"{'its' if name == 'transferred' else 'a random'} ticket of {method_in_words(method)}"
    return f"seed {seed}: {source.task} to {target.task}, {ticket}"
