"""Locks of steps that studies in one folder make alike: one of them makes the result, and the others copy it."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from tombola.foundations.atomic_files import disk_errors
from tombola.study.claim import Claim
from tombola.study.config import all_settings
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

    def _key(self, step: StudyStep) -> str:
        """Name of the lock: of what may be alike, as far as that is known before it is made.

        Nobody knows yet which settings the step will read. Those that all but searches leave alone are no part of it;
        others that it does not read give two locks to what is alike, so that each study makes its own.
        """
        what = step.what.rpartition(": ")[2]
        groups = {"the study"} if what.startswith("search") else {"the search", "the study"}
        left_alone = {name for name, one in all_settings().items() if one.group in groups} - {"full"}
        settings = {name: value for name, value in step.settings.items() if name not in left_alone}
        place = step.result.relative_to(self.folder).as_posix()
        text = json.dumps([self.name, place, step.needs_made(), settings], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def claim(self, step: StudyStep) -> Claim | None:
        """Claim a step that is not done; None while another study is at its own of this name.

        Whether the two are alike shows when that has ended: then it is copied, or made.

        Raises:
            TombolaError: the lock cannot be written.
        """
        if step.cost <= CHEAP and not step.in_passing:
            return Claim()
        path = self.folder.parent / LOCKS / f"{self._key(step)}.lock"
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
