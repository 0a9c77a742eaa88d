"""A tracker of accelerate's that keeps what it is given."""

import warnings
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate.tracking import GeneralTracker, register_tracker_class


def register() -> None:
    """Register the tracker as `kept`."""
    with warnings.catch_warnings():
        # It may be already.
        warnings.simplefilter("ignore")
        register_tracker_class(Kept)


class Kept(GeneralTracker):  # type: ignore[misc]
    """Tracker that keeps what it is given, draws numbers, and fails from its so-manieth point on."""

    name = "kept"
    requires_logging_directory = True
    main_process_only = False
    lasts = 10_000
    last: ClassVar[Any] = None

    def __init__(self, run: str, place: Path) -> None:
        super().__init__()
        self.run, self.place, self.points = run, place, list[tuple[dict[str, float], int | None]]()
        self.finished, Kept.last = False, self

    @property
    def tracker(self) -> "Kept":
        return self

    def start(self) -> None: ...

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        torch.rand(3)
        if len(self.points) == self.lasts:
            raise OSError("no route to host")
        self.points.append((values, step))

    def finish(self) -> None:
        self.finished = True
