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
from tombola.foundations.settings import setting_fields
from tombola.pruning.evaluation import Evaluation, evaluate
from tombola.pruning.search.records import GOOD
from tombola.study.config import StudyConfig
from tombola.study.folder_layout import EVALUATION, IMAGE_GRID, SCORE, SeedFolder, check_links, seeds_of
from tombola.study.results import read_row
from tombola.study.seed_context import Setting
from tombola.study.seed_run import SeedRun
from tombola.study.session import Session
from tombola.study.study_folder import Stage, StudyFolder
from tombola.subnetworks.subnetwork import Subnetwork, shrunk, whole
from tombola.tasks.registry import named_tasks
from tombola.tickets.kinds import SUPER_TICKETS, TICKETS
from tombola.tickets.pruning_methods import pruning_method
from tombola.tickets.site_groups import fitted
from tombola.tickets.ticket import Ticket
from tombola.training.recipe import Recipe

_SCORE = (SCORE, EVALUATION, IMAGE_GRID)
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
        self.setting = Setting(config, session.opened, session.device, anatomy, study=config.name)
        self.seed_folder = self.layout.seed_folder(seed)
        self.run = SeedRun(self.setting, self.seed_folder)

    def ticket(self, name: str) -> Path:
        """The folder of a ticket."""
        return self.seed_folder.ticket(self.method, name)

    def score_entry(self, place: Path) -> dict[str, Any]:
        """`Session.score_entry` of a scored model, by its folder."""
        return self.session.score_entry(Evaluation.read(place / EVALUATION), self.seed_folder.seed, self.run.task)

    def score_full(self, model: nn.Module, progress: Progress, *, importance: bool = False) -> Evaluation:
        """Score the full model, and guessing, on `dev`: a search's first pass where that goes by `importance`."""
        started = time.perf_counter()
        self.run.full_model = model
        self.run.guessing(progress)
        part, chosen = whole(model), fitted(pruning_method(self.method), self.setting.anatomy)
        # Groups of sites have one importance each, which their search measures itself.
        importance = importance and bool(chosen.sites) and chosen.grouping is None
        if importance:
            part = whole(model, chosen.kind, self.layout.config.search.neuron_block)
        options = self.setting.evaluation(progress, importance=importance)
        known = evaluate(part, self.setting.task, options, importance=importance)
        with publish(self.seed_folder.full) as draft:
            self.run.write_score(draft, whole(model), "full", "none", started, progress, known)
        return known

    def add_cut(self, ticket: Ticket, updated: nn.Module | None, progress: Progress) -> None:
        """Add the good ticket that a single cut gave, after the full model; `updated` has its new weights, if any."""
        if updated is not None:
            with publish(self.seed_folder.updated(self.method)) as draft:
                self.setting.task.save(updated, draft)
        part = shrunk(updated or self.run.model(), ticket)
        found = self.run.evaluate(part, "dev", progress)
        found.write(self.seed_folder.folder / self.method / GOOD)
        full = read_row(self.seed_folder.full)["score"]
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

    def take_over(self, ticket: Path, *, retrains: bool = False) -> bool:
        """Take over what the study, or the trail, that a ticket lies in knows of it and of the full model.

        True if there is such a study, of the same rows and seed, whose full model is that of this trail.

        Args:
            ticket: folder of the ticket.
            retrains: the ticket is going to be trained again, and its score as it was cut out counts; otherwise it is
                scored on the model, which must be the full model there.
        """
        seed = self.seed_folder.seed
        source = _Source.of(ticket, seed)
        if source is None or not (source.seed_folder.full / SCORE).is_file():
            return False
        if not retrains and not source.has_model(self.setting):
            return False
        if differences := source.differences(self.setting, seed, retrains=retrains):
            reasons = "; ".join(differences)
            warnings.warn(f"the scores in {source.folder} are not taken over: {reasons}", stacklevel=2)
            return False
        # The search was that of the source, with its threshold.
        self.layout = StudyFolder(self.layout.folder, replace(self.layout.config, search=source.config.search))
        here, there = self.seed_folder, source.seed_folder
        places = [(there.folder / "guessing", here.folder / "guessing"), (there.full, here.full)]
        if retrains:
            places.append((source.scores / "pruned", self.ticket(source.name) / "pruned"))
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
    """Study, or trail, that a ticket lies in, as the seed asked for, or else one that the ticket is of, has it."""

    folder: Path
    config: StudyConfig
    seeds: str  # that the ticket is of, in words
    seed_folder: SeedFolder
    scores: Path  # folder of the ticket's, of that seed
    method: str
    name: str
    trained: StudyConfig | None  # what the full model was trained with, where that is known

    @classmethod
    def of(cls, ticket: Path, seed: int) -> Self | None:
        """The study of a ticket; None where it lies in none, or in one that cannot be read."""
        parents = ticket.resolve().parents
        config = _config(parents[3]) if len(parents) > 3 else None
        own = seeds_of(parents[1].name) if config is not None else []
        if config is None or not own:
            return None
        method, home, folder = parents[0].name, parents[1], parents[3]
        chosen = seed if seed in own else own[0]
        seed_folder = SeedFolder(chosen, home.parent / f"seed-{chosen}")
        scores = ticket if home == seed_folder.folder else ticket / f"seed-{chosen}"
        whole = bool(read_json(folder / "study.json").get("hash"))
        trained = config if whole or (scores / "retrained").is_dir() else _trained(config.model)
        return cls(folder, config, home.name.replace("-", " ", 1), seed_folder, scores, method, ticket.name, trained)

    def differences(self, setting: Setting, seed: int, *, retrains: bool) -> list[str]:
        """Reasons why its scores say nothing about a ticket that is scored, or trained again, in this setting."""
        there, here = self.config.settings(), setting.config.settings()
        theirs, ours = _rows(self.config), _rows(setting.config)
        names = [name for name in ours if theirs.get(name) != ours[name]]
        if retrains and not setting.task.trained and not self.has_model(setting):
            names.append("model")
        if retrains and setting.task.trained and self.trained is not None:
            # The full model must have been trained as the ticket is going to be.
            there |= (trained := self.trained.settings())
            recipe = ("train_rows", *(one.name for one in setting_fields(Recipe) if not one.neutral))
            names += [name for name in recipe if trained[name] != here[name]]
            final = setting.config.rewinding.to == "final"
            if not (self.has_model(setting) if final else _same(setting.config.model, self.trained.model)):
                names.append("model")
            if setting.config.rewinding.initial_state != self.trained.rewinding.initial_state:
                names.append("rewind")
        reasons = [f"{name} is {_said(there.get(name))} there and {_said(here.get(name))} here" for name in names]
        if self.seed_folder.seed != seed:
            reasons.append(f"they are of {self.seeds}, not of seed {seed}")
        if not reasons and read_row(self.seed_folder.full)["n"] != setting.task.size("dev"):
            reasons.append("the data are not those any more")
        return reasons

    def has_model(self, setting: Setting) -> bool:
        """True if a setting's model is its full model, or that with the weights that the method left."""
        full = self.seed_folder.full if setting.task.saved(self.seed_folder.full) else self.config.model
        return any(_same(setting.config.model, one) for one in (full, self.seed_folder.updated(self.method)))


def _said(value: object) -> str:
    """A setting's value as a user writes it."""
    if value is None:
        return "not given"
    return ",".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _trained(model: str) -> StudyConfig | None:
    """The configuration that a model was trained with, if it is the full one of a study."""
    place = Path(model).expanduser().resolve()
    return _config(place.parents[2]) if place.name == "full" and len(place.parents) > 2 else None


def _config(folder: Path) -> StudyConfig | None:
    """The configuration of a study; None where there is none, or none that can be read."""
    try:
        found = StudyConfig.recorded(read_json(folder / "study.json")["config"])
        check_links(folder)
        return found
    except (TombolaError, KeyError, TypeError):
        return None


def _same(model: str, other: str | Path) -> bool:
    """True if two models have one name, or one folder."""
    given, known = Path(model).expanduser(), Path(other).expanduser()
    return model == str(other) or (given.exists() and given.resolve() == known.resolve())


def _rows(config: StudyConfig) -> dict[str, Any]:
    """Settings that decide which rows judge, and what is asked of them; local files by their content."""
    task = config.task if config.task in named_tasks() else fingerprint(config.task)
    return {"task": task, **config.regime.judged_by(config, config.regime_settings)}
