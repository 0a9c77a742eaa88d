"""Locks of steps that studies in one folder make alike: one of them makes the result, and the others copy it."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from tombola.foundations.atomic_files import disk_errors
from tombola.study.claim import Claim
from tombola.study.renewal import Renewal
from tombola.study.step import StudyStep

LOCKS = ".locks"
"""Folder of the locks, beside the studies. They are files of the system's locks (`flock`): where a process ends,
however it does, what it held is free, also for machines that share the folder."""
CHEAP = 1.0
"""Cost of a step up to which each study makes its own."""


@dataclass(frozen=True)
class StepLocks:
    """Locks of the steps of a study.

    Args:
        folder: of the study.
        name: of its model and task: studies of others share no step.
        others: folders of the studies beside it, as there are now.
    """

    folder: Path
    name: str
    others: Callable[[], Sequence[Path]]

    def claim(self, step: StudyStep) -> Claim | None:
        """Claim a step that is not done; None while another study is at its own of this name.

        Whether the two are alike shows when that has ended: then it is copied, or made.

        Raises:
            TombolaError: the lock cannot be written.
        """
        if step.cost <= CHEAP and not step.in_passing:
            return Claim()
        place = f"{self.name}/{step.result.relative_to(self.folder).as_posix()}"
        path = self.folder.parent / LOCKS / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.lock"
        with disk_errors(path):
            path.parent.mkdir(exist_ok=True)
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                return None
        try:
            return Claim(lock, Renewal(self.folder, self.others()).bring(step))
        except BaseException:
            lock.release()
            raise
