"""Pool of workers as a study sees it: given steps, listened to, and ended together. The workers are Dask's.

On this machine they are processes, `python -m tombola.study.worker`, of a scheduler in this one that takes nobody else:
both sides of a connection show a certificate that was made for this run. At an address they are those of a cluster.
"""

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from tombola.foundations import resources
from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import DiskError, FailedError, MemoryRanOutError, StaleError, TombolaError, reason
from tombola.foundations.progress import ProgressLine
from tombola.study.dask_settings import RARELY
from tombola.study.step import StudyStep

if TYPE_CHECKING:
    from distributed import Future

PAUSE = 10.0
"""Seconds between two looks at what the workers do."""
HUNG = 600.0
"""Seconds in which a worker with a step says nothing and uses no processor, after which it hangs: it was stopped, or
waits for what does not come. Slow work, of a GPU too, uses a processor."""

TOPIC = "tombola"
"""Topic of Dask under which a worker tells of the step that it runs."""
Message = dict[str, Any]
_Events = queue.SimpleQueue[tuple[str, Message]]


@dataclass(frozen=True)
class Job:
    """Studies that workers make anew.

    Attributes:
        made_of: JSON values of each study by its folder, see `tombola.study.worker_steps.run_step`.
        folder: what a worker needs for itself is a draft there.
        gpus: of this machine, by their indices; each worker has one for itself. Empty where it has none, or they share.
    """

    made_of: Mapping[Path, Mapping[str, object]]
    folder: Path
    gpus: Sequence[str] = ()


class WorkerProcess:
    """Process of a worker on this machine, see `tombola.study.worker`; `events` learn of its end under its name."""

    def __init__(self, given: Mapping[str, object], gpu: str | None, threads: int, events: _Events) -> None:
        self._name = str(given["name"])
        environment = {
            "TOKENIZERS_PARALLELISM": "false",
            "OMP_WAIT_POLICY": "PASSIVE",
            # Dask runs steps in a thread, whose memory glibc would give back at once, and take again.
            "MALLOC_ARENA_MAX": "1",
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "PYTHONPATH": resources.python_path(),
            **({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}),
        }
        # What libraries print must not run through the bars; it is read when the process fails.
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process is buried
        self._process = subprocess.Popen(
            resources.child_command("tombola.study.worker"),
            stdin=subprocess.PIPE,
            stdout=self._printed,
            stderr=self._printed,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        assert self._process.stdin is not None
        # A process that has ended is told of by its end.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(given) + "\n")
            self._process.stdin.flush()
        threading.Thread(target=self._wait, args=(events,), daemon=True).start()

    def _wait(self, events: _Events) -> None:
        code = self._process.wait()
        self._printed.seek(0)
        events.put((self._name, {"lost": code, "text": self._printed.read().decode(errors="replace").strip()[-2000:]}))

    def seconds(self) -> float:
        """Processor time that it used."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def kill(self) -> None:
        """End the process, without a wait."""
        self._process.kill()

    def join(self) -> None:
        """Wait until the process has ended, and close what was open to it."""
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()


class Worker:
    """Worker of Dask.

    Attributes:
        name: of the worker, or its address.
        process: where it is one of this machine.
        last: step that it was given last.
        line: where its progress is shown.
    """

    def __init__(self, name: str, process: WorkerProcess | None, line: ProgressLine) -> None:
        self.name, self.process, self.line = name, process, line
        self.last: StudyStep | None = None
        self.step: StudyStep | None = None
        self.future: Future[Message] | None = None
        self._used, self._still = 0.0, 0.0

    @property
    def busy(self) -> bool:
        """True if it has a step that is not done."""
        return self.step is not None

    @property
    def what(self) -> str:
        """Name of its step."""
        return "" if self.step is None else self.step.what

    def finished(self) -> StudyStep:
        """Mark the worker's step as done, and return it."""
        step = self._free()
        self.line.end()
        return step

    def give_up(self) -> StudyStep:
        """Mark the worker's step as one that was not done, and return it."""
        step = self._free()
        self.line.give_up()
        return step

    def _free(self) -> StudyStep:
        assert self.step is not None
        step, self.step, self.future = self.step, None, None
        return step

    def hangs(self, used: float, seconds: float) -> bool:
        """True if it hangs, when it has `used` processor time and is looked at after so many more seconds.

        Those are seconds of a driver that was not stopped.
        """
        # Threads that merely wake take next to nothing.
        still = self.busy and used - self._used < 0.03 * seconds
        self._used, self._still = used, self._still + seconds if still else 0.0
        return self._still >= HUNG


class WorkerPool:
    """Pool of at most `size` workers of one job.

    They are started as work comes, and all ended when the block ends, however it does.

    Args:
        job: studies whose steps they run.
        size: number of workers.
        address: of a Dask scheduler whose workers they are, see `address_of`; None for processes of this machine.
    """

    def __init__(self, job: Job, size: int, address: str | None = None) -> None:
        self._job = job
        self._made_of = {folder: json.dumps(made_of) for folder, made_of in job.made_of.items()}
        self.size = size
        self._address = address
        self._workers: dict[str, Worker] = {}
        self._events: _Events = queue.SimpleQueue()
        self._looked = time.monotonic()
        self._known: list[str] = []
        self._started = 0
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        import dask
        from distributed import Client, LocalCluster
        from distributed.security import Security

        scratch = str(self._job.folder / f".draft-workers-{os.getpid()}")
        quiet: dict[str, object] = {
            "temporary-directory": scratch,
            # A step that was lost with its worker is given anew by this pool, to whom it sees fit.
            "distributed.scheduler.allowed-failures": 0,
            "distributed.scheduler.work-stealing": False,
            # A process tells of its end itself; after a pause of this one, none has been heard of for long.
            "distributed.scheduler.worker-ttl": None,
            "distributed.scheduler.http.routes": [],
            **RARELY,
        }
        with self._open as opened:
            for logger in map(logging.getLogger, ("distributed", "asyncio", "tornado")):
                opened.callback(logger.setLevel, logger.level)
                logger.setLevel(logging.CRITICAL)
            if self._address is None:
                security = Security.temporary()
                with dask.config.set(quiet):
                    cluster = opened.enter_context(
                        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", security=security)
                    )
                self._given: dict[str, object] = {
                    "scheduler": cluster.scheduler_address,
                    "scratch": scratch,
                    "security": {
                        "require_encryption": True,
                        "tls_ca_file": security.tls_ca_file,
                        "tls_worker_cert": security.tls_worker_cert,
                        "tls_worker_key": security.tls_worker_key,
                    },
                }
                self._client: Client = opened.enter_context(Client(cluster, security=security, set_as_default=False))
            else:
                try:
                    self._client = opened.enter_context(Client(self._address, timeout="30s", set_as_default=False))
                except (OSError, ValueError, TypeError) as error:
                    raise TombolaError(
                        f"no cluster answers at {self._address} ({reason(error)}); start its scheduler, or leave "
                        "--cluster out"
                    ) from error
            self._client.subscribe_topic(TOPIC, self._heard)
            self._look()
            self._open = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        processes = [worker.process for worker in self._workers.values() if worker.process is not None]
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
        if self._address is not None:
            futures = [worker.future for worker in self._workers.values() if worker.future is not None]
            self._client.cancel(futures, force=True)
        self._open.close()

    @property
    def workers(self) -> Collection[Worker]:
        """Workers that it has."""
        return self._workers.values()

    def idle(self) -> list[Worker]:
        """Workers without a step."""
        return [worker for worker in self._workers.values() if not worker.busy]

    def busy(self) -> bool:
        """True if any has a step."""
        return any(worker.busy for worker in self._workers.values())

    def can_start(self) -> bool:
        """True if another one may be had."""
        return len(self._workers) < self.size and (self._address is None or bool(self._free()))

    def await_worker(self) -> None:
        """Wait until another one may be had: a cluster may have none yet, or none any more."""
        while not self.can_start():
            time.sleep(1)
            self._look()

    def start(self, line: ProgressLine, threads: int) -> Worker:
        """Take another worker, of whose process so many threads is the share."""
        if self._address is not None:
            name, process = self._free()[0], None
        else:
            name, gpus = f"worker-{self._started}", self._job.gpus
            gpu = gpus[self._started % len(gpus)] if gpus else None
            process = WorkerProcess({**self._given, "name": name}, gpu, threads, self._events)
        self._started += 1
        self._workers[name] = worker = Worker(name, process, line)
        return worker

    def _free(self) -> list[str]:
        """Addresses of the cluster's workers that this pool has not taken."""
        return [address for address in self._known if address not in self._workers]

    def submit(self, worker: Worker, step: StudyStep, threads: int) -> None:
        """Submit a step to a worker, to be run with so many threads."""
        # By its name, as a process's command names its module: it makes the study that asks for it.
        run_step = import_module("tombola.study.worker_steps").run_step
        worker.step = worker.last = step
        worker.line.start(step.what, cost=step.cost, weight=step.weight)
        # A cluster's workers know how many threads are theirs.
        given = (self._made_of[step.study], str(step.result), threads if self._address is None else None)
        future: Future[Message] = self._client.submit(run_step, *given, workers=[worker.name], pure=False, retries=0)
        worker.future = future
        future.add_done_callback(self._ended)

    def dismiss(self, worker: Worker) -> None:
        """End a worker, and be smaller by it."""
        del self._workers[worker.name]
        self._known = [address for address in self._known if address != worker.name]
        if worker.process is not None:
            worker.process.kill()
            worker.process.join()

    def shrink(self, *, alone: bool) -> None:
        """Be smaller by one worker, or have one alone; those of a cluster take no memory from one another."""
        if self._address is None:
            self.size = 1 if alone else max(1, self.size - 1)

    def receive(self, seconds: float | None = None) -> tuple[Worker, Message] | None:
        """The next message of any worker that has a step, see `tombola.study.worker_steps`.

        A worker that ended, hangs, or left its cluster says `lost`, with a `text`. None if nobody says anything for so
        many seconds, where they are given.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            if time.monotonic() - self._looked >= PAUSE:
                self._looked = time.monotonic()
                self._look()
            with contextlib.suppress(queue.Empty):
                name, message = self._events.get(timeout=PAUSE if seconds is None else min(PAUSE, seconds))
                worker = self._workers.get(name) or next(
                    (one for one in self._workers.values() if one.future is not None and one.future.key == name), None
                )
                # What was said of a step that was given up is of nobody.
                if worker is not None and worker.busy:
                    return worker, message
                # A step that it was given would wait for ever.
                if worker is not None and "lost" in message:
                    self.dismiss(worker)
        return None

    def _look(self) -> None:
        """Find the workers that a cluster has now, and those that hang."""
        if self._address is not None:
            self._known = [*self._client.scheduler_info(n_workers=-1)["workers"]]
        for worker in self._workers.values():
            if worker.process is None:
                if worker.name not in self._known:
                    self._events.put((worker.name, {"lost": 1, "text": "it left the cluster"}))
                continue
            with contextlib.suppress(psutil.Error):
                if worker.hangs(worker.process.seconds(), PAUSE):
                    self._events.put((worker.name, {"lost": None, "text": ""}))

    def _heard(self, event: tuple[float, Message]) -> None:
        message = dict(event[1])
        self._events.put((str(message.pop("key", "")), message))

    def _ended(self, future: "Future[Message]") -> None:
        key = str(future.key)
        if future.status == "finished":
            try:
                self._events.put((key, future.result()))
            except CancelledError:
                # Its worker ended before the answer was fetched, or the pool has.
                if self._address is not None:
                    self._events.put((key, {"lost": 1, "text": "its answer was lost"}))
        elif future.status == "error":
            error: BaseException = future.exception()
            lost = type(error).__name__ == "KilledWorker"
            # A process of this machine tells of its own end, and how it came.
            if not lost or self._address is not None:
                kind = {"lost": 1} if lost else {"error": type(error).__name__}
                self._events.put((key, {**kind, "text": str(error)}))


def address_of(cluster: str) -> str:
    """Address of a Dask scheduler, which stands in a scheduler file or is one.

    Raises:
        TombolaError: it is neither, or connections to it are not encrypted: what reaches a worker is run there.
    """
    address = cluster
    if "://" not in cluster:
        path = Path(cluster).expanduser()
        if not path.is_file():
            raise TombolaError(
                f"{cluster!r} is no address of a Dask scheduler, as tls://HOST:8786, and no scheduler file"
            )
        address = str(read_json(path).get("address", ""))
    protocol, *_ = address.partition("://")
    if protocol != "tls":
        raise TombolaError(
            f"the scheduler at {address} takes connections of anybody, who can then run code as you; start it with "
            "--protocol tls and certificates (docs/how-to/clusters.md)"
        )
    return address


def failure(worker: Worker, message: Message) -> Exception:
    """Exception for a step that a worker could not do, by what was said of it."""
    at, kind, text = f"at the step {worker.what!r}", message.get("error"), message["text"]
    if "lost" in message:
        return _loss(message["lost"], at, text)
    if kind in ("OutOfMemoryError", "MemoryRanOutError"):
        return MemoryRanOutError(f"{text.strip().splitlines()[-1]}, or start again with --workers 1")
    known = {one.__name__: one for one in (TombolaError, DiskError, FailedError, StaleError)}
    return known[kind](text) if kind in known else RuntimeError(f"a worker process failed {at}\n{text}")


def _loss(code: int | None, at: str, text: str) -> Exception:
    if code is None:
        return TombolaError(
            f"a worker process did nothing for {HUNG / 60:g} minutes {at}, and was ended: it was stopped, or waits "
            "for a disk or a lock; start again, finished steps are kept"
        )
    if hasattr(signal, "SIGKILL") and code == -signal.SIGKILL:
        return TombolaError(
            f"the system killed a worker process {at}, most likely because memory ran out; start again with "
            "--workers 1, finished steps are kept"
        )
    return RuntimeError(f"a worker process ended {at} with code {code}\n{text}")
