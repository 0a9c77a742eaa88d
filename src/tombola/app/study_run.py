"""Run of a study as a process of its own: started, stopped, gone on with, and how far it is."""

import contextlib
import math
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tombola.app.study_draft import STUDY_FILE, reason_in, study_command
from tombola.foundations.errors import TombolaError
from tombola.pruning.search.records import read_passes
from tombola.study.finished_run import NAME as FINISHED
from tombola.study.step_list import STEPS, StepList
from tombola.study.study_record import has_rows

Word = Literal["running", "stopped", "done", "failed"]
_PATIENCE = 10.0
"""Seconds that a process has to stop by itself."""
_NOTE = re.compile(
    r"(?P<what>.*): iteration (?P<number>\d+): .* (?P<score>-?[\d.]+|-?inf|nan) "
    r"\(threshold: at (?P<side>least|most) (?P<bound>-?[\d.]+)\)"
)
_LEFT = re.compile(r"((?:\d+ days?, )?\d+:\d\d:\d\d) left$")


@dataclass(frozen=True)
class Point:
    """Iteration of a search: its score, and whether that holds the threshold."""

    iteration: int
    score: float
    holds: bool


@dataclass(frozen=True)
class Curve:
    """Scores of a search, over or not.

    Attributes:
        what: the step.
        points: one an iteration, from the full model.
        over: the search has ended.
    """

    what: str
    points: Sequence[Point]
    over: bool


@dataclass(frozen=True)
class Standing:
    """Standing of a run.

    Attributes:
        word: for it.
        line: why it failed, or what it does.
        done: steps.
        steps: all; 0 while nobody knows.
        left: time, as `0:12:34`; empty where nothing tells.
        curves: of the searches.
        rows: a model is scored, so that there is a report.
    """

    word: Word
    line: str
    done: int
    steps: int
    left: str
    curves: Sequence[Curve]
    rows: bool


class StudyRun:
    """Run of a study whose settings lie in its folder, shared by all visitors.

    The process has a group of its own, beside the server's. What it had done when it is stopped, it does not do again.

    Args:
        folder: of the study.

    Raises:
        TombolaError: the folder holds no settings of a study.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / STUDY_FILE).is_file():
            raise TombolaError(f"{folder} was not begun in the app ({STUDY_FILE} is missing); begin a new study")
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        # Of one run, and nothing that a study keeps.
        self._place = tempfile.TemporaryDirectory(prefix="tombola-log-")
        self._log = Path(self._place.name) / "log"
        self._lock = threading.Lock()

    def pid(self) -> int | None:
        """Number of the process; None where none runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the study, or go on with it; nothing where it runs."""
        with self._lock:
            if self.pid() is not None:
                return
            self._stopped = False
            command = study_command(str(self.folder / STUDY_FILE), "--out", str(self.folder.parent))
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )

    def stop(self) -> None:
        """Stop it as Ctrl-C does, and wait; what does not heed that is killed with all that it started."""
        with self._lock:
            if self._process is None or self.pid() is None:
                return
            self._stopped = True
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def standing(self) -> Standing:
        """State of the run, by the files of the folder and the lines that the process wrote."""
        code = None if self._process is None else self._process.poll()
        log = self._log.read_text("utf-8", "replace") if self._log.is_file() else ""
        lines = [line for line in log.splitlines() if line.strip()]
        try:
            listed = StepList.read(self.folder / STEPS) if (self.folder / STEPS).is_file() else StepList(())
            missing = listed.missing(self.folder)
            curves = [*self._finished(listed)]
        except TombolaError as error:
            return Standing("failed", str(error), 0, 0, "", (), False)
        known = {curve.what for curve in curves}
        curves += [one for one in _searching(lines) if one.what not in known]
        finished = (self.folder / FINISHED).is_file() and bool(listed.steps) and not missing
        word: Word
        if self.pid() is not None:
            word, line = "running", lines[-1] if lines else "Opening the data and the model …"
        elif code and not self._stopped:
            word, line = "failed", reason_in(log)
        elif finished:
            word, line = "done", "All steps are done."
        else:
            word, line = "stopped", "It is half done: go on, and nothing is made twice."
        found = next((match[1] for text in reversed(lines) if (match := _LEFT.search(text))), "")
        left = found if word == "running" else ""
        steps = len(listed.steps)
        return Standing(word, line, steps - len(missing), steps, left, curves, has_rows(self.folder))

    def _finished(self, listed: StepList) -> Iterator[Curve]:
        for step in listed.steps:
            path = (self.folder / step.result).parent / "search.jsonl"
            if step.result.endswith("/good") and path.is_file():
                points = [Point(one.iteration, one.score, one.holds) for one in read_passes(path)]
                yield Curve(step.what, points, over=True)


def _searching(lines: Sequence[str]) -> Iterator[Curve]:
    """Curves of the searches of which a log has lines."""
    found: dict[str, dict[int, Point]] = {}
    for match in filter(None, map(_NOTE.match, lines)):
        score, bound = float(match["score"]), float(match["bound"])
        holds = math.isfinite(score) and (score >= bound if match["side"] == "least" else score <= bound)
        number = int(match["number"])
        found.setdefault(match["what"], {})[number] = Point(number, score, holds)
    for what, points in found.items():
        yield Curve(what, [points[number] for number in sorted(points)], over=False)
