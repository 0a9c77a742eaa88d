"""Trail of a single step: what `prune`, `retrain` and `score` write, laid out as a study of one seed.

`report`, `compare` and the next step read it like a study. What the steps before it found, such as the scores of the
full model and the search, a step takes over from the folder that its ticket lies in.
"""

import shutil
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from torch import nn

from tombola.architectures.anatomy import Anatomy
from tombola.foundations.atomic_files import publish, read_json
from tombola.foundations.errors import TombolaError
from tombola.foundations.fingerprint import fingerprint
from tombola.foundations.progress import Progress
from tombola.pruning.evaluation import Evaluation, evaluate
from tombola.pruning.search.records import GOOD
from tombola.study.config import StudyConfig
from tombola.study.folder_layout import EVALUATION, IMAGE_GRID, SeedFolder
from tombola.study.seed_context import Setting
from tombola.study.seed_run import SeedRun
from tombola.study.session import Session
from tombola.study.study_folder import Stage, StudyFolder
from tombola.subnetworks.subnetwork import Subnetwork, shrunk, whole
from tombola.tasks.base import Task
from tombola.tasks.registry import named_tasks
from tombola.tickets.pruning_methods import pruning_method
from tombola.tickets.site_groups import fitted
from tombola.tickets.ticket import SUPER_TICKETS, TICKETS, Ticket

_SCORE = ("score.json", EVALUATION, IMAGE_GRID)
"""Files of a scored model."""


class Trail:
    """Folder of one step, in the layout of a study of one seed.

    Args:
        session: task and settings of the command.
        folder: a draft, which the caller publishes.
        anatomy: of the whole model.
        method: of the ticket.
        seed: which folders and rows are named after.
    """

    def __init__(self, session: Session, folder: Path, anatomy: Anatomy, method: str, seed: int) -> None:
        self.session, self.method = session, method
        self.layout = StudyFolder(folder, replace(session.config, methods=(method,)))
        config = self.layout.config
        self.setting = Setting(config, session.task, session.device, anatomy, study=config.name)
        self.seed_folder = self.layout.seed_folder(seed)
        self.run = SeedRun(self.setting, self.seed_folder)

    def ticket(self, name: str) -> Path:
        """The folder of a ticket."""
        return self.seed_folder.ticket(self.method, name)

    def score_entry(self, place: Path) -> dict[str, Any]:
        """`Session.score_entry` of a scored model, by its folder."""
        return self.session.score_entry(Evaluation.read(place / EVALUATION), self.run.task)

    def score_full(self, model: nn.Module, progress: Progress, *, importance: bool = False) -> None:
        """Score the full model, and guessing; its pass is a search's first where that goes by `importance`."""
        started = time.perf_counter()
        self.run.cache(model)
        self.run.guessing(progress)
        part, chosen = whole(model), fitted(pruning_method(self.method), self.setting.anatomy)
        # Groups of sites have one importance each, which their search measures itself.
        importance = importance and bool(chosen.sites) and chosen.grouping is None
        if importance:
            part = whole(model, chosen.kind, self.layout.config.search.neuron_block)
        known = evaluate(part, self.setting.task, self.setting.evaluation(progress), importance=importance)
        with publish(self.seed_folder.full) as draft:
            self.run.write_score(draft, whole(model), "full", "none", started, progress, known)

    def add_cut(self, ticket: Ticket, updated: nn.Module | None, progress: Progress) -> None:
        """Add the good ticket that a single cut gave, after the full model; `updated` has its new weights, if any."""
        if updated is not None:
            with publish(self.seed_folder.updated(self.method)) as draft:
                self.setting.task.save(updated, draft)
        part = shrunk(updated or self.run.model(), ticket)
        found = self.run.evaluate(part, "dev", progress)
        found.write(self.seed_folder.folder / self.method / GOOD)
        full = read_json(self.seed_folder.full / "score.json")["score"]
        facts = {"metric": self.run.task.metric.name, "split": "dev", "stage": "pruned", "full_score": full}
        ticket = self.run.with_provenance(ticket.with_provenance(**facts, score=found.score), "good", self.method)
        ticket.save(self.ticket("good"))

    def add_ticket(self, ticket: Ticket) -> str:
        """Add somebody's ticket, and return the name that it has here."""
        name = str(ticket.provenance.get("ticket"))
        name = name if name in (*TICKETS, *SUPER_TICKETS) else "good"
        seed, config = self.seed_folder.seed, self.layout.config
        facts = {"task": config.task_name, "method": self.method, "seed": seed, **ticket.provenance, "ticket": name}
        ticket.with_provenance(**facts).save(self.ticket(name))
        return name

    def score(self, part: Subnetwork, name: str, progress: Progress) -> None:
        """Score a ticket that is cut out of the model."""
        started = time.perf_counter()
        with publish(self.ticket(name) / "pruned") as draft:
            self.run.write_score(draft, part, name, "pruned", started, progress)

    def take_over(self, ticket: Path, *, model: str | None = None) -> bool:
        """Take over what the study, or the trail, that a ticket lies in knows of it and of the full model.

        Args:
            ticket: folder of the ticket.
            model: the model that the ticket is going to be cut out of, which must be the full model there; None where
                it is not, and the ticket's score there counts.

        Returns:
            True if there is such a study, of the same rows and seed.
        """
        source = _Source.of(ticket)
        if source is None or not source.fits(self.setting, self.seed_folder.seed):
            return False
        if model is not None and not source.has_model(model, self.setting.task):
            return False
        # The search was that of the source, with its threshold.
        self.layout = StudyFolder(self.layout.folder, replace(self.layout.config, search=source.config.search))
        here, there = self.seed_folder, source.seed_folder
        places = [(there.folder / "guessing", here.folder / "guessing"), (there.full, here.full)]
        if model is None:
            places.append((ticket / "pruned", self.ticket(source.name) / "pruned"))
        files = [(old / name, new / name) for old, new in places for name in _SCORE]
        if source.name == "good":
            files.append((ticket.parent / "search.jsonl", here.folder / self.method / "search.jsonl"))
        for old, new in files:
            if old.is_file():
                new.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(old, new)
        return True

    def finish(self, command: str, stage: Stage) -> None:
        """Write rows, verdicts on tickets of a stage, and `study.json`."""
        seeds = [self.seed_folder.seed]
        self.layout.write_rows(seeds)
        self.layout.write_verdicts(self.setting.task, stage)
        self.layout.describe(self.setting, seeds, command, workers=1)


@dataclass(frozen=True)
class _Source:
    """Study, or trail, that a ticket lies in."""

    folder: Path
    config: StudyConfig
    seed_folder: SeedFolder
    method: str
    name: str

    @classmethod
    def of(cls, ticket: Path) -> Self | None:
        """The study of a ticket; None where it lies in none, or in one that cannot be read."""
        parents = ticket.resolve().parents
        if len(parents) < 4 or not (parents[3] / "study.json").is_file():
            return None
        try:
            seed = int(parents[1].name.removeprefix("seed-"))
            config = StudyConfig.of(None, **read_json(parents[3] / "study.json")["config"])
        except (TombolaError, KeyError, TypeError, ValueError):
            return None
        return cls(parents[3], config, SeedFolder(seed, parents[1]), parents[0].name, ticket.name)

    def fits(self, setting: Setting, seed: int) -> bool:
        """True if its scores are of the same rows and seed; says so where they are not."""
        theirs, ours = _rows(self.config), _rows(setting.config)
        path = self.seed_folder.full / "score.json"
        if not path.is_file():
            return False
        there, here = self.config.settings(), setting.config.settings()
        different = [name for name in ours if theirs.get(name) != ours[name]]
        reasons = [f"{name} is {there.get(name)} there and {here.get(name)} here" for name in different]
        if self.seed_folder.seed != seed:
            reasons.append(f"they are of seed {self.seed_folder.seed}, not {seed}")
        if read_json(path).get("n") != setting.task.size("dev"):
            reasons.append("the data are not those any more")
        if reasons:
            warnings.warn(f"the scores in {self.folder} are not taken over: {reasons[0]}", stacklevel=2)
        return not reasons

    def has_model(self, model: str, task: Task) -> bool:
        """True if a model is its full model, or that with the weights that the method left."""
        if not task.saved(self.seed_folder.full) and model == self.config.model:
            return True
        places = [self.seed_folder.updated(self.method)]
        places.append(self.seed_folder.full if task.saved(self.seed_folder.full) else Path(self.config.model))
        given = Path(model).expanduser()
        return given.exists() and given.resolve() in [place.expanduser().resolve() for place in places]


def _rows(config: StudyConfig) -> dict[str, Any]:
    """Settings that decide which rows judge, and what is asked of them; local files by their content."""
    values: dict[str, Any] = {name: getattr(config, name) for name in ("dev_rows", "max_length")}
    values |= {name: getattr(config, name) for name in ("search_split", "search_rows")}
    task = config.task if config.task in named_tasks() else fingerprint(config.task)
    return {"task": task, **values, **config.regime_settings.identity()}
