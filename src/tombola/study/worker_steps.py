"""Steps that a worker runs for a study of another process: it makes the same study, and keeps it for the next step."""

import json
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from tombola.foundations.errors import DiskError, StaleError, TombolaError, memory_errors, system_errors
from tombola.foundations.precision import deterministic
from tombola.foundations.resources import keep_freed_memory
from tombola.study.config import StudyConfig
from tombola.study.scheduler import StepRunner
from tombola.study.step import StudyStep
from tombola.study.study import CHANGED, Study
from tombola.study.worker_pool import TOPIC, Message

_PAUSE = 0.5
"""Seconds between two messages on progress."""


class _Messages:
    """Progress of a step, as messages for the process that gave it."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._examples = 0
        self._points: list[tuple[int, Mapping[str, float]]] = []
        self._told = 0.0

    def advance(self, examples: int) -> None:
        self._examples += examples
        if time.monotonic() - self._told > _PAUSE:
            self._told = time.monotonic()
            self.flush()

    def note(self, text: str) -> None:
        self.flush()
        self._send({"note": text})

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        self._points.append((step, values))

    def warning(self, message: Warning | str, *_: object, **__: object) -> None:
        self._send({"warning": str(message)})

    def flush(self) -> None:
        examples, self._examples = self._examples, 0
        points, self._points = self._points, []
        if examples or points:
            self._send({"advance": examples, "points": points})


class _Job:
    """Study of a job, made anew in this process, and its steps by their results."""

    def __init__(self, job: dict[str, Any]) -> None:
        keep_freed_memory()
        with warnings.catch_warnings():
            # What there is to say of the study's model and data, the other process has said when it opened them.
            warnings.simplefilter("ignore")
            config = StudyConfig.of("quick", **job["config"])
            # In the folder itself, which has its study.json by now.
            study = Study(config, out=Path(job["folder"]), seeds=job["seeds"], save=job["save"], label=job["label"])
            if study.folder != Path(job["folder"]):
                raise DiskError(f"{job['folder']} is not there any more, or cannot be read; start again when it is")
            if study.digest != job["digest"]:
                raise StaleError(CHANGED)
            study.task.load_shared_state(job["shared_state"])
        self._steps = {str(step.result): step for step in study.steps()}
        self._runner, self._device = StepRunner(), study.device

    def step(self, result: str) -> StudyStep:
        return self._steps[result]

    def run(self, step: StudyStep, progress: _Messages) -> None:
        with deterministic(self._device):
            self._runner.run(step, progress)


@lru_cache(maxsize=1)
def _job(text: str) -> _Job:
    return _Job(json.loads(text))


def run_step(job: str, result: str, threads: int | None) -> Message:
    """Run a step of a job, here in a worker of Dask, whose events tell of its progress.

    Args:
        job: JSON of `config`, `folder`, `label`, `seeds`, `save`, `digest` and `shared_state`, of which the study
            is made.
        result: path of what the step publishes.
        threads: of PyTorch; None for as many as the worker was started with.

    Returns:
        `done`, or `error`, the exception's name, with its `text`. What a step raises is not sent as it is: nothing is
        unpickled that says more than text.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    messages = _Messages(lambda message: worker.log_event(TOPIC, {"key": key, **message}))
    torch.set_num_threads(threads or worker.state.nthreads)
    try:
        with system_errors(), memory_errors(f"the step that makes {result}"), warnings.catch_warnings():
            held = _job(job)
            warnings.showwarning = messages.warning
            held.run(held.step(result), messages)
    except TombolaError as error:
        return {"error": type(error).__name__, "text": str(error)}
    except Exception as error:
        return {"error": type(error).__name__, "text": traceback.format_exc()}
    messages.flush()
    return {"done": True}
