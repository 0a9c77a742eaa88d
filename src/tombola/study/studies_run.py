"""Run of one study or of several: all that they miss as one graph of steps, here or in workers."""

import contextlib
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import torch

from tombola.foundations.atomic_files import clear_drafts
from tombola.foundations.curves import tracked
from tombola.foundations.errors import TombolaError
from tombola.foundations.launcher import process_count
from tombola.foundations.precision import deterministic
from tombola.foundations.progress import ProgressBars
from tombola.study.estimates import stretch, worker_count
from tombola.study.scheduler import Budget, run_here, run_steps
from tombola.study.step import StudyStep
from tombola.study.worker_pool import Job, WorkerPool
from tombola.tickets.kinds import TICKETS

MOST_WORKERS = 1000
"""Workers of a cluster that a run takes, at most."""


class RunnableStudy(Protocol):
    """Study as a run sees it, see `tombola.study.study.Study`."""

    folder: Path
    seeds: tuple[int, ...]
    device: torch.device

    @property
    def parameters(self) -> int:
        """Number of parameters of the whole model."""

    def only_here(self) -> str | None:
        """Reason why no other process can run it; None where others can."""

    def made_of(self) -> dict[str, object]:
        """JSON values of which a worker makes it."""

    def pass_seconds(self) -> float:
        """Seconds of a forward pass of one example."""

    def begin(self, steps: Sequence[StudyStep], workers: int) -> None:
        """Write what is studied before the first step."""

    def heard(self, step: StudyStep, error: Exception | None) -> None:
        """Take note of a step that is done, or that failed."""

    def close(self) -> None:
        """Let its data leave the memory until they are asked for again."""


@dataclass
class StudiesRun:
    """Run of studies that were checked, on one kind of device.

    Attributes:
        studies: in folders of their own.
        folder: of the whole, after which a tracker names the run.
        workers: processes; see `Study`.
        cluster: address of a Dask scheduler whose workers run the steps; None for processes of this machine.
        what: it is, above the bars.
        track: name of a tracker of curves; None for none.
    """

    studies: Sequence[RunnableStudy]
    folder: Path
    workers: int | Literal["auto"] = 1
    cluster: str | None = None
    what: str = "study"
    track: str | None = None
    _of: Mapping[Path, RunnableStudy] = field(init=False, repr=False)
    _last: Path | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._of = {one.folder: one for one in self.studies}

    def run(self, steps: Mapping[Path, Sequence[StudyStep]], until: float | None = None) -> int:
        """Run what is missing of the steps of each study, by its folder, that is at work.

        Args:
            steps: of each study.
            until: on the clock of `time.monotonic`; no step begins that is not expected to end by then.

        Returns:
            Number of steps that the budget left.

        Raises:
            TombolaError: a step failed; whatever was finished stays.
        """
        if process_count() > 1:
            raise TombolaError(
                f"a {self.what} is one process, whose workers are its own; start it without the launcher"
            )
        every = [step for study in self.studies for step in steps[study.folder]]
        workers = self.worker_count(every)
        for study in self.studies:
            study.begin(steps[study.folder], workers)
            self._close(study)
        # Steps of a GPU, or of other machines, do not share this one's cores.
        alike = self._device.type == "cpu" and self.cluster is None
        budget = None if until is None else self._budget(until, stretch(workers) if alike else 1.0)
        done, cost = sum(step.done() for step in every), sum(step.cost for step in every)
        with (
            deterministic(self._device),
            tracked(self.track, self.folder) as curves,
            ProgressBars(self.what, cost, curves=curves, done=done) as bars,
        ):
            if workers == 1:
                return run_here(every, bars, self._heard, budget)
            # What workers need for themselves is in a folder that nobody else is at work on.
            job = Job({one.folder: one.made_of() for one in self.studies}, self.studies[0].folder, self._gpus())
            try:
                return run_steps(every, bars, WorkerPool(job, workers, self.cluster), self._heard, budget)
            finally:
                # Of workers that were stopped in the middle of a step.
                for folder in self._of:
                    clear_drafts(folder)

    def _close(self, study: RunnableStudy) -> None:
        """Close a study among several, so that there is room for any number of them."""
        if len(self.studies) > 1:
            study.close()

    def _budget(self, until: float, slower: float) -> Budget:
        seconds = dict[Path, float]()
        for folder, study in self._of.items():
            seconds[folder] = slower * study.pass_seconds()
            self._close(study)
        return Budget(until, lambda step: step.cost * seconds[step.study], self._rank)

    def _rank(self, step: StudyStep) -> int:
        """Rank by what a step says: seed by seed, and of each the good tickets, their controls, analyses."""
        seeds = self._of[step.study].seeds
        # What is asked of all seeds comes last.
        if step.context is None or not step.result.is_relative_to(step.context.seed_folder.folder):
            return 3 * len(seeds)
        kind = 2 if step.analysis else 1 if {*step.result.parts} & {*TICKETS[1:]} else 0
        return 3 * seeds.index(step.context.seed_folder.seed) + kind

    def _heard(self, step: StudyStep, error: Exception | None) -> None:
        if step.study != self._last:
            if self._last is not None:
                self._close(self._of[self._last])
            self._last = step.study
        self._of[step.study].heard(step, error)

    @property
    def _device(self) -> torch.device:
        return self.studies[0].device

    def worker_count(self, steps: Sequence[StudyStep]) -> int:
        """Number of workers that run the steps; 1 for this process."""
        here = _first(study.only_here() for study in self.studies)
        if here is not None:
            if self.workers not in ("auto", 1) or self.cluster is not None:
                warnings.warn(f"the {self.what} runs in one process, as {here}", stacklevel=3)
            return 1
        if self.cluster is not None:
            return MOST_WORKERS
        if self.workers != "auto":
            return self.workers
        if self._device.type != "cpu":
            return max(1, len(self._gpus()))
        return worker_count(steps, max(study.parameters for study in self.studies))

    def _gpus(self) -> tuple[str, ...]:
        """Indices of the GPUs of this machine, each for a worker of its own, where the user names none."""
        if str(self._device) != "cuda":
            return ()
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        return tuple(visible.split(",")) if visible else tuple(map(str, range(torch.cuda.device_count())))


def _first(found: Iterable[str | None]) -> str | None:
    with contextlib.suppress(StopIteration):
        return next(one for one in found if one is not None)
    return None
