"""Curves of work that runs, for one of accelerate's trackers: loss, learning rate, score, share that is done.

A run of the tracker is a whole study; each step of it has curves of its own. Only the process that the study was
started in holds the tracker: workers tell it through their progress.
"""

import re
import secrets
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tombola.foundations.atomic_files import write_text
from tombola.foundations.errors import TombolaError, one_line, reason, unknown

PROJECT = "tombola"
"""Project, or experiment, of the runs, where a tracker has such."""
FOLDER = "tracking"
"""Folder in a study's of what a tracker keeps on this machine."""
_STRANGE = re.compile(r"[^\w .:/-]")
"""Characters that MLflow refuses in the name of a curve."""


class Curves(Protocol):
    """Receiver of curves."""

    def add(self, of: str, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each of some curves.

        Args:
            of: work that they are of.
            step: optimizer step, iteration, or number of what is done; smaller than the last one where the work begins
                something anew, such as the next training of a search.
            values: name of a curve → value at this step.
        """


class _Nowhere:
    def add(self, of: str, step: int, values: Mapping[str, float]) -> None: ...


NOWHERE: Curves = _Nowhere()
"""Receiver of curves that nobody looks at."""


class TrackedCurves:
    """Curves in a tracker. Where it fails, a warning says so, and the work goes on without.

    Args:
        tracker: a `GeneralTracker` of accelerate's that was started.
    """

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker
        # Steps of W&B are of a whole run and never go back, and here several curves grow side by side.
        self._steps_as_values = tracker.name == "wandb"
        self._began: dict[str, int] = {}
        self._last: dict[str, int] = {}

    def add(self, of: str, step: int, values: Mapping[str, float]) -> None:
        """Add a point, see `Curves.add`: what begins anew goes on behind what was before."""
        for name, value in values.items():
            curve = _STRANGE.sub("-", f"{of}/{name}")
            if (before := self._last.get(curve)) is not None and step <= before - self._began.get(curve, 0):
                self._began[curve] = before + 1 - step
            at = self._last[curve] = self._began.get(curve, 0) + step
            point = ({curve: value, f"{curve} step": at}, None) if self._steps_as_values else ({curve: value}, at)
            self._safely("log", *point)

    @property
    def tracker(self) -> Any:
        """The tracker; None once it failed."""
        return self._tracker

    def finish(self) -> None:
        """Let the tracker finish."""
        self._safely("finish")

    def _safely(self, method: str, *given: object) -> None:
        import torch

        if self._tracker is None:
            return
        try:
            # Whatever numbers it draws, the work's are the same.
            with torch.random.fork_rng([]):
                getattr(self._tracker, method)(*given)
        except Exception as error:
            warnings.warn(f"curves are not tracked any more ({reason(error)})", stacklevel=4)
            self._tracker = None


def check_tracker(name: str) -> None:
    """Raise a TombolaError where accelerate knows no tracker of a name, or its package is not installed."""
    from accelerate import tracking

    if name not in (known := tracking.LOGGER_TYPE_TO_CLASS):
        raise TombolaError(f"track: {unknown('tracker', name, known)}")
    ours = name in {str(one) for one in tracking.LoggerType}
    if ours and name not in {str(one) for one in tracking.get_available_trackers()}:
        raise TombolaError(f"track: {name} is not installed; pip install {name.replace('_', '-')}")


@contextmanager
def tracked(name: str | None, folder: Path) -> Iterator[Curves]:
    """Receiver of a study's curves, a run of a tracker, for a `with` block; nobody's where no tracker is named.

    A study that is resumed goes on in its run, where the tracker can.

    Args:
        name: of the tracker, as accelerate knows it.
        folder: of the study, whose name is the run's.

    Raises:
        TombolaError: the tracker cannot be started.
    """
    if name is None:
        yield NOWHERE
        return
    from accelerate import PartialState, tracking

    check_tracker(name)
    options: dict[str, Any] = {}
    if name == "wandb":
        options = {"name": folder.name, "resume": "allow", "id": _run_id(folder), "dir": str(folder)}
    elif name == "trackio":
        options = {"name": f"{folder.name}-{_run_id(folder)}", "resume": "allow"}
    elif name == "mlflow":
        options = {"run_name": folder.name}
    made = tracking.LOGGER_TYPE_TO_CLASS[name]
    with one_line(f"the tracker {name} cannot be started", "mend that, or leave --track out"):
        # Its trackers ask it which process they are in.
        PartialState()
        tracker = made(FOLDER, folder, **options) if made.requires_logging_directory else made(PROJECT, **options)
        tracker.start()
    curves = TrackedCurves(tracker)
    try:
        yield curves
    finally:
        curves.finish()


def _run_id(folder: Path) -> str:
    """Id of the run of a study's folder, made once: other studies, in folders of the same name, have another."""
    file = folder / FOLDER / "run"
    try:
        found = file.read_text("ascii").strip() if file.is_file() else ""
    except (OSError, UnicodeDecodeError):
        found = ""
    if not re.fullmatch(r"[0-9a-f]{12}", found):
        found = secrets.token_hex(6)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, found + "\n")
    return found
