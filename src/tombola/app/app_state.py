"""State of the app that all visitors share: the study that it shows, the benches, the links that were shared."""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tombola.app.given_data import GivenData
from tombola.app.study_run import StudyRun
from tombola.foundations.errors import TombolaError
from tombola.tickets.ticket import Ticket

T = TypeVar("T")
LINKS = 1000
"""Links that are kept; the oldest go first."""


@dataclass(frozen=True)
class SharedView:
    """View that a person shared by a link: texts, and the ticket that was made by hand. Gone when the app ends."""

    texts: tuple[str, ...]
    ticket: Ticket


@dataclass
class AppState:
    """State that all visitors share.

    Attributes:
        study: folder of the study that the app was opened on; None to choose one on the first page.
        out: folder that saved tickets go to.
        links: links that were shared.
        data: data files that were dropped on a page.
    """

    study: Path | None
    out: Path
    links: dict[str, SharedView] = field(default_factory=dict)
    data: GivenData = field(default_factory=GivenData)
    _runs: dict[Path, StudyRun] = field(default_factory=dict)
    _benches: dict[object, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def bench(self, key: object, make: Callable[[], T]) -> T:
        """The bench under a key, opened by `make` once for all visitors; the last two are kept in memory.

        Raises:
            TombolaError: it cannot be opened.
        """
        with self._lock:
            found: T = self._benches.pop(key) if key in self._benches else make()
            self._benches[key] = found
            while len(self._benches) > 2:
                del self._benches[next(iter(self._benches))]
            return found

    def run(self, folder: Path) -> StudyRun:
        """The run of a study's folder, one for all visitors.

        Raises:
            TombolaError: the study was not begun in the app.
        """
        with self._lock:
            return self._runs.setdefault(folder.resolve(), self._runs.get(folder.resolve()) or StudyRun(folder))

    def end_runs(self) -> None:
        """Stop the studies that run: no process outlives the app unseen, and each can be gone on with."""
        for run in self._runs.values():
            run.stop()

    def share(self, view: SharedView) -> str:
        """Keep a view for as long as the app runs; the name of its link."""
        name = secrets.token_urlsafe(9)
        self.links[name] = view
        while len(self.links) > LINKS:
            del self.links[next(iter(self.links))]
        return name

    def shared(self, name: str) -> SharedView:
        """The view of a link.

        Raises:
            TombolaError: there is none.
        """
        if name not in self.links:
            raise TombolaError("this link is of an app that has ended, or of none; begin anew")
        return self.links[name]
