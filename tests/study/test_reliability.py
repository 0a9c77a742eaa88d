"""A sweep with workers that is disturbed at any time, again and again: it ends as if it never had been.

Drivers (each with its scheduler) and workers are killed, workers are stopped, files cannot be written, the folder is
taken away for a moment. `TOMBOLA_KILLS=100` kills a hundred times, where a few do otherwise; `-o log_cli=true
--log-cli-level=INFO` tells of each, and `TOMBOLA_RELIABILITY=FILE` keeps what became of all.
"""

import contextlib
import itertools
import json
import logging
import os
import random
import resource
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from builders import small_study
from builders.small_study import command, environment, read_rows, timeless
from results_file import ResultsFile
from tombola.tickets.ticket import Ticket

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.timeout(4 * 3600),
    pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no process can be stopped"),
]

LOG = logging.getLogger(__name__)
KILLS = int(os.environ.get("TOMBOLA_KILLS", "6"))
BLOCKED = 20_000
"""Bytes that a file may have while it is as if the disk were full: tickets and rows fit, models do not."""


def write_sweep(path: Path) -> Path:
    own = {"model": str(small_study.model()), "task": str(small_study.task()), "seeds": "0,1", "workers": 2}
    grid = {"threshold": [0.9, 0.97]}
    path.write_text(yaml.safe_dump({**small_study.SETTINGS, **own, "device": "cpu", "grid": grid}))
    return path


def start(sweep: Path, out: Path, limit: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    given = command("sweep", sweep, "--out", out)
    environ = {**environment(), "TMPDIR": str(sweep.with_name("temporary"))}
    return subprocess.Popen(
        given, env=environ, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=limit
    )


def full_disk() -> None:
    # A file that grows larger is an error of the system, as on a full disk.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BLOCKED, resource.RLIM_INFINITY))


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        children = psutil.Process(process.pid).children(recursive=True)
        return [one for one in children if any("tombola.study.worker" in part for part in one.cmdline())]
    return []


def results(out: Path) -> dict[str, Any]:
    """Of each study rows but for their times, verdicts, tickets, and the names of all files; by its label."""
    found = {}
    for one in json.loads((out / "sweep.json").read_text())["studies"]:
        folder = out / one["folder"]
        tickets = [Ticket.load(file.parent) for file in sorted(folder.rglob("ticket.json"))]
        names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*"))
        found[one["label"]] = timeless(read_rows(folder)), (folder / "verdicts.json").read_bytes(), tickets, names
    return found


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """What is other than it should be, in words."""
    said = [f"{label} is missing" for label in expected.keys() - found.keys()]
    for label, (rows, verdicts, tickets, names) in found.items():
        of_rows, of_verdicts, of_tickets, of_names = expected[label]
        said += [f"{label}: {name}" for name in sorted({*names} ^ {*of_names})]
        pairs = {"rows": (rows, of_rows), "verdicts": (verdicts, of_verdicts), "tickets": (tickets, of_tickets)}
        said += [f"{label}: {what} differ" for what, (one, other) in pairs.items() if one != other]
    return said


def wait(process: subprocess.Popen[str], seconds: float) -> bool:
    """Wait so long; True if it has ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return True
    return False


class Disturber:
    """Disturbs one run after the other, each in one way, at a time that is drawn."""

    def __init__(self, sweep: Path, out: Path) -> None:
        self.sweep, self.out = sweep, out
        self.draw = random.Random(0)
        self.done: Counter[str] = Counter()
        self.runs = 0

    def run(self, how: str) -> int:
        """Run once, disturbed in a way; the exit code."""
        self.runs += 1
        process = start(self.sweep, self.out, full_disk if how == "full disk" else None)
        if how == "full disk":
            self.done[how] += 1
        elif not wait(process, self.draw.uniform(3, 25)):
            getattr(self, how.replace(" ", "_"))(process)
        workers = workers_of(process)
        _, said = process.communicate(timeout=600)
        # Those that a run had end with it.
        assert psutil.wait_procs(workers, timeout=60)[1] == []
        assert "Traceback" not in said, said
        return process.returncode

    def driver(self, process: subprocess.Popen[str]) -> None:
        workers = workers_of(process)
        process.send_signal(signal.SIGKILL)
        self.done["driver"] += 1
        assert psutil.wait_procs(workers, timeout=60)[1] == []

    def worker(self, process: subprocess.Popen[str]) -> None:
        # It goes on with another one.
        while (workers := workers_of(process)) and not self.draw.random() < 0.3:
            with contextlib.suppress(psutil.Error):
                self.draw.choice(workers).kill()
                self.done["worker"] += 1
            if wait(process, self.draw.uniform(1, 10)):
                return
        if process.poll() is None:
            self.driver(process)

    def stopped_worker(self, process: subprocess.Popen[str]) -> None:
        for one in workers_of(process)[:1]:
            with contextlib.suppress(psutil.Error):
                one.suspend()
                self.done["stopped worker"] += 1
                wait(process, self.draw.uniform(1, 5))
                one.resume()
        if not wait(process, self.draw.uniform(1, 10)):
            self.driver(process)

    def folder_away(self, process: subprocess.Popen[str]) -> None:
        aside = self.out.with_name("aside")
        self.out.rename(aside)
        wait(process, self.draw.uniform(0.1, 3))
        # Whoever made it anew in the meantime has nothing there.
        shutil.rmtree(self.out, ignore_errors=True)
        aside.rename(self.out)
        self.done["folder away"] += 1
        if not wait(process, self.draw.uniform(1, 10)):
            self.driver(process)


WAYS = ("driver", "worker", "stopped worker", "full disk", "folder away")


def test_it_ends_as_if_nobody_had_disturbed_it(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    sweep = write_sweep(tmp_path / "sweep.yaml")
    undisturbed = start(sweep, tmp_path / "undisturbed")
    _, said = undisturbed.communicate()
    assert undisturbed.returncode == 0, said
    expected = results(tmp_path / "undisturbed")
    disturber, whole = Disturber(sweep, tmp_path / "disturbed"), 0
    for how in itertools.cycle(WAYS):
        enough = disturber.done["driver"] + disturber.done["worker"] >= KILLS and all(map(disturber.done.get, WAYS))
        if enough:
            process = start(sweep, disturber.out)
            _, said = process.communicate()
            assert process.returncode == 0, said
        # Killed, or ended with a line for what it could not do.
        code = 0 if enough else disturber.run(how)
        assert code in (0, 1, 2, -signal.SIGKILL)
        # An analysis may be left out for a file that is not there: the next start makes it.
        if code == 0 and not [*disturber.out.rglob(".*.omitted.json")]:
            assert differences(results(disturber.out), expected) == []
            whole += 1
            shutil.rmtree(disturber.out)
        LOG.info("%s: %s; disturbed %s, ended whole %s times", how, code, dict(disturber.done), whole)
        if enough:
            break
    assert list((tmp_path / "temporary").iterdir()) == []
    if (path := os.environ.get("TOMBOLA_RELIABILITY")) is not None:
        results_file = ResultsFile(Path(path), {}, ("runs",))
        results_file.add(disturbed=dict(disturber.done), runs=disturber.runs, whole=whole)
