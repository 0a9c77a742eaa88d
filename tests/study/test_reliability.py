"""A study with workers of which any process is killed at any time, again and again: it ends as if none had been.

`TOMBOLA_KILLS=100` kills a hundred times, where a few do otherwise.
"""

import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from builders.small_study import command, environment, flags, read_rows, timeless
from tombola.tickets.ticket import Ticket

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(7200)]

KILLS = int(os.environ.get("TOMBOLA_KILLS", "6"))


def start(out: Path) -> subprocess.Popen[bytes]:
    given = command("study", *flags(epochs=4, workers=2), "--seeds", "0,1", "--out", out)
    environ = {**environment(), "TMPDIR": str(out.with_name("temporary"))}
    return subprocess.Popen(given, env=environ, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
        return [one for one in children if any("tombola.study.worker" in part for part in one.cmdline())]
    return []


def results(out: Path) -> tuple[Any, bytes, list[Ticket], list[str]]:
    """Rows but for their times, verdicts, tickets, and the names of all files."""
    (folder,) = out.glob("tiny-bert-*")
    tickets = [Ticket.load(file.parent) for file in sorted(folder.rglob("ticket.json"))]
    names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*"))
    return timeless(read_rows(folder)), (folder / "verdicts.json").read_bytes(), tickets, names


def test_it_ends_as_if_nobody_had_killed_anything(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    assert start(tmp_path / "undisturbed").wait() == 0
    undisturbed = results(tmp_path / "undisturbed")
    draw, killed = random.Random(0), {"driver": 0, "worker": 0}
    for whom in itertools.cycle(killed):
        process = start(tmp_path / "disturbed")
        end = time.monotonic() + draw.uniform(3, 25)
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        workers = workers_of(process)
        if whom == "worker" and workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                draw.choice(workers).kill()
                killed["worker"] += 1
            # It goes on with another one, and ends by itself or is killed later.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(draw.uniform(1, 20))
        if process.poll() is None:
            workers = workers_of(process)
            process.send_signal(signal.SIGKILL)
            killed["driver"] += 1
        code = process.wait()
        assert psutil.wait_procs(workers, timeout=60)[1] == []
        assert code in (0, -signal.SIGKILL)
        if code == 0:
            assert results(tmp_path / "disturbed") == undisturbed
            if sum(killed.values()) >= KILLS:
                break
            shutil.rmtree(tmp_path / "disturbed")
    assert all(killed.values())
    assert list((tmp_path / "temporary").iterdir()) == []
