"""A process that runs steps of a study for another: `python -m tombola.study.worker`.

It reads lines of JSON: first the job (`config`, `folder`, `seeds`, `save`, `shared_state`, `threads`), of which it
makes the same study as its parent has, then `run` with the name of a step, again and again. It writes lines of JSON:
`advance` and `note` as in `Progress`, `warning`, `done` after each step; `error`, the exception's name, with its
`text`, and then it ends. It ends at once when its parent does, in the middle of a step too: what is half-written is a
draft, and swept.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import IO, Any

import torch

from tombola.foundations.errors import TombolaError, memory_errors
from tombola.foundations.precision import deterministic
from tombola.foundations.resources import keep_freed_memory
from tombola.study.config import StudyConfig
from tombola.study.scheduler import StepRunner
from tombola.study.study import CHANGED, Study

_PAUSE = 0.2
"""Seconds between two messages on progress."""


class _Parent:
    """The process that gives the work: tells it things, and reads what it wants."""

    def __init__(self, orders: IO[str], messages: IO[str]) -> None:
        self._messages = messages
        self._examples = 0
        self._told = 0.0
        self.orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(orders,), daemon=True).start()

    def _listen(self, orders: IO[str]) -> None:
        for line in orders:
            self.orders.put(json.loads(line))
        # Nobody is there any more who would want the rest.
        os._exit(1)

    def tell(self, **message: object) -> None:
        """Send one message, after the examples that came before it."""
        self._flush()
        self._write(message)

    def advance(self, examples: int) -> None:
        self._examples += examples
        if time.monotonic() - self._told > _PAUSE:
            self._flush()

    def note(self, text: str) -> None:
        self.tell(note=text)

    def _flush(self) -> None:
        self._told = time.monotonic()
        examples, self._examples = self._examples, 0
        if examples:
            self._write({"advance": examples})

    def _write(self, message: object) -> None:
        try:
            self._messages.write(json.dumps(message) + "\n")
            self._messages.flush()
        except BrokenPipeError:
            os._exit(1)


def _work(parent: _Parent) -> None:
    job = parent.orders.get()
    torch.set_num_threads(job["threads"])
    keep_freed_memory()
    with warnings.catch_warnings():
        # What there is to say of the study's model and data, the parent has said when it opened them.
        warnings.simplefilter("ignore")
        config = StudyConfig.of("quick", **job["config"])
        study = Study(config, out=Path(job["folder"]), seeds=job["seeds"], save=job["save"])
        if study.digest != job["digest"]:
            raise TombolaError(CHANGED)
        study.task.load_shared_state(job["shared_state"])
        steps = {step.what: step for step in study.steps()}
    warnings.showwarning = lambda message, *_, **__: parent.tell(warning=str(message))
    runner = StepRunner()
    with deterministic(study.device):
        while True:
            runner.run(steps[parent.orders.get()["run"]], parent)
            parent.tell(done=True)


def main() -> None:
    """Work until the parent ends."""
    # The keyboard's interrupt goes to all processes of a terminal; the parent has the last word.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    # Whatever a library prints must not be taken for a message.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    parent = _Parent(sys.stdin, messages)
    try:
        with memory_errors("the start of a worker process"):
            _work(parent)
    except TombolaError as error:
        parent.tell(error=type(error).__name__, text=str(error))
    except BaseException as error:
        parent.tell(error=type(error).__name__, text=traceback.format_exc())
    os._exit(1)


if __name__ == "__main__":
    main()
