"""Pool of worker processes, as the study sees it: given steps, listened to, and ended together.

Not `multiprocessing`: its processes import the caller's script again, which must then be written for it. What runs in a
worker is `python -m tombola.study.worker`, and all that passes between the two are lines of JSON.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import IO, Any, Self

import psutil
import torch

from tombola.foundations import resources
from tombola.foundations.errors import FailedError, MemoryRanOutError, TombolaError
from tombola.foundations.progress import ProgressLine
from tombola.study.step import StudyStep

PAUSE = 10.0
"""Seconds between two looks at what the workers do."""
HUNG = 600.0
"""Seconds in which a worker with a step says nothing and uses no processor, after which it hangs: it was stopped, or
waits for what does not come. Slow work, of a GPU too, uses a processor."""

_Events = queue.SimpleQueue[tuple["Worker", dict[str, Any] | None]]


class Worker:
    """Worker process for a job, see `tombola.study.worker`; what it says goes into `events`, None when it has ended.

    Attributes:
        seed: of the step that it was given last.
        line: where its progress is shown.
    """

    def __init__(self, job: Mapping[str, object], threads: int, line: ProgressLine, events: _Events) -> None:
        self.line = line
        self.seed: int | None = None
        self._step: StudyStep | None = None
        self._used, self._still = 0.0, 0.0
        environment = {
            "TOKENIZERS_PARALLELISM": "false",
            "OMP_WAIT_POLICY": "PASSIVE",
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "PYTHONPATH": resources.python_path(),
        }
        # What libraries print must not run through the bars; it is read when the process fails.
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process is buried
        self._process = subprocess.Popen(
            resources.child_command("tombola.study.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders: IO[str] = self._process.stdin
        threading.Thread(target=self._listen, args=(self._process.stdout, events), daemon=True).start()
        self._send({**job, "threads": threads})

    @property
    def busy(self) -> bool:
        """True if it has a step that is not done."""
        return self._step is not None

    def submit(self, step: StudyStep, seed: int | None) -> None:
        """Submit a step to the worker."""
        self._step = step
        self.seed = seed
        self.line.start(step.what, cost=step.cost, weight=step.weight)
        self._send({"run": step.what})

    def finished(self) -> StudyStep:
        """Mark the worker's step as done, and return it."""
        assert self._step is not None
        step, self._step = self._step, None
        self.line.end()
        return step

    def hangs(self, seconds: float) -> bool:
        """True if it hangs, when it is looked at after so many more seconds: those of a driver that was not stopped."""
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(self._process.pid).cpu_times()
            used = times.user + times.system
            # Threads that merely wake take next to nothing.
            still = self.busy and used - self._used < 0.01 * seconds
            self._used, self._still = used, self._still + seconds if still else 0.0
        return self._still >= HUNG

    def kill(self) -> None:
        """End the process, without a wait."""
        self._process.kill()

    def join(self) -> None:
        """Wait until the process has ended, and close what was open to it."""
        self._process.wait()
        with contextlib.suppress(OSError):
            self._orders.close()
        self._printed.close()

    def failure(self, message: Mapping[str, Any] | None) -> Exception:
        """Error to raise: for what the worker says of its failure, or for a process that ended without a word."""
        at = f"at the step {self._step.what!r}" if self._step is not None else "between two steps"
        if message is None:
            code = self._process.wait()
            if hasattr(signal, "SIGKILL") and code == -signal.SIGKILL:
                return TombolaError(
                    f"the system killed a worker process {at}, most likely because memory ran out; start again with "
                    "--workers 1, finished steps are kept"
                )
            self._printed.seek(0)
            tail = self._printed.read().decode(errors="replace").strip()[-2000:]
            return RuntimeError(f"a worker process ended {at} with code {code}\n{tail}")
        kind, text = message["error"], message["text"]
        if kind == "hangs":
            return TombolaError(
                f"a worker process did nothing for {HUNG / 60:g} minutes {at}, and was ended: it was stopped, or waits "
                "for a disk or a lock; start again, finished steps are kept"
            )
        if kind in ("TombolaError", "FailedError"):
            return (FailedError if kind == "FailedError" else TombolaError)(text)
        if kind == "OutOfMemoryError":
            return torch.OutOfMemoryError(text.strip().splitlines()[-1])
        if kind == "MemoryRanOutError":
            return MemoryRanOutError(f"{text}, or start again with --workers 1")
        return RuntimeError(f"a worker process failed {at}\n{text}")

    def _send(self, message: Mapping[str, object]) -> None:
        # A process that has ended is told of by the end of its messages.
        with contextlib.suppress(BrokenPipeError):
            self._orders.write(json.dumps(message) + "\n")
            self._orders.flush()

    def _listen(self, messages: IO[str], events: _Events) -> None:
        with messages:
            for line in messages:
                events.put((self, json.loads(line)))
        events.put((self, None))


class WorkerPool:
    """Pool of at most `size` workers of one job, each with so many threads of PyTorch.

    They are started as work comes, and all ended when the block ends, however it does.
    """

    def __init__(self, job: Mapping[str, object], size: int, threads: int) -> None:
        self._job = job
        self._size = size
        self._threads = threads
        self._workers: list[Worker] = []
        self._events: _Events = queue.SimpleQueue()
        self._looked = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.join()

    def idle(self) -> list[Worker]:
        """Workers without a step."""
        return [worker for worker in self._workers if not worker.busy]

    def busy(self) -> bool:
        """True if any has a step."""
        return any(worker.busy for worker in self._workers)

    def can_start(self) -> bool:
        """True if another one may be started."""
        return len(self._workers) < self._size

    def start(self, line: ProgressLine) -> Worker:
        """Start another worker."""
        worker = Worker(self._job, self._threads, line, self._events)
        self._workers.append(worker)
        return worker

    def receive(self) -> tuple[Worker, dict[str, Any]]:
        """The next message of any worker.

        Raises:
            TombolaError: a worker failed by what the user can mend, ran out of memory, or hangs.
        """
        while True:
            if time.monotonic() - self._looked >= PAUSE:
                self._looked = time.monotonic()
                for worker in self._workers:
                    if worker.hangs(PAUSE):
                        raise worker.failure({"error": "hangs", "text": ""})
            with contextlib.suppress(queue.Empty):
                worker, message = self._events.get(timeout=PAUSE)
                break
        if message is None or "error" in message:
            raise worker.failure(message)
        return worker, message
