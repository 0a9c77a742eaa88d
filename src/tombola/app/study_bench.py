"""Study bench: the full model of one seed of a study, which visitors of a page share."""

import threading
from pathlib import Path
from typing import Any, Self

from torch import nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError, memory_errors
from tombola.report.study_data import StudyData, read_study, short_title
from tombola.study.folder_layout import SeedFolder
from tombola.study.session import Session
from tombola.study.transfer_study import FinishedStudy
from tombola.tasks.base import Task

FULL = "full"
COMPARED = ("good", "random", "bad")
"""Tickets of a method that stand beside the full model."""


class StudyBench:
    """Full model of one seed of a study. `open` makes it.

    Visitors share it: passes wait for one another.

    Attributes:
        data: the study's record, as its report reads it.
        task: the study's task.
        seed_folder: of the seed.
        model: the full model.
        anatomy: of the full model.
    """

    capability: type[Any]
    """Protocol of tasks that a bench is for."""
    does: str
    """Verb of what the models of such a task do."""

    def __init__(self, data: StudyData, session: Session, seed_folder: SeedFolder, model: nn.Module) -> None:
        self.data, self.seed_folder, self.model = data, seed_folder, model
        self.task: Task = session.task
        self.anatomy: Anatomy = dissect(model)
        self._session = session
        self._lock = threading.Lock()

    @classmethod
    @memory_errors()
    def open(cls, folder: Path, seed: int | None = None) -> Self:
        """Open the folder of a study, finished or not, with its first seed or another one.

        Raises:
            TombolaError: there is none, it has no full model yet, its data changed, or it is of another kind.
        """
        study, data = FinishedStudy.read(folder), read_study(folder)
        session = Session.open(study.config.replaced(device="auto"))
        if not isinstance(session.task, cls.capability):
            raise TombolaError(f"{folder} is a study of {session.task.title}, whose models do not {cls.does}")
        seed = data.seed_folders[0].seed if seed is None else seed
        place = study.seed_folder(seed)
        model = cls._full_model(study, session, place).to(session.device)
        return cls(data, session, place, model.eval())

    @classmethod
    def _full_model(cls, study: FinishedStudy, session: Session, place: SeedFolder) -> nn.Module:
        """The model that the study trained; a TombolaError where it has none yet."""
        if not session.task.saved(place.full):
            raise TombolaError(f"{study.folder} has no fine-tuned model of seed {place.seed} yet; run the study on")
        return session.task.load(str(place.full), seed=place.seed, state="trained")

    @property
    def title(self) -> str:
        """Model and task, in short."""
        return f"{short_title(self.data.model)} on {short_title(self.task.title)}"

    def _loaded(self, folder: Path) -> nn.Module:
        """A model that the study saved."""
        model = self.task.load(str(folder), seed=self.seed_folder.seed, state="trained")
        return model.to(self._session.device).eval()
