"""First page, where no study is open: those that lie at hand, a small ready one, or the folder of any other."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from nicegui import ui

from tombola.app.app_state import AppState
from tombola.app.parts import box, button, error_line, field, html, in_thread, show
from tombola.app.ready_study import ready_study
from tombola.report.html.elements import element, join
from tombola.study.study_record import NAME, has_rows

RUNS = Path("runs")
"""Folder where `make study` and `tombola study` put studies."""


class StartPage:
    """First page: a visitor chooses a study."""

    def __init__(self, state: AppState) -> None:
        self._state, self._typed = state, ""
        with box("section", aria_label="Choose a study"):
            html("Which study?", "h2")
            self._wrong = error_line()
            found = list(studies_in(RUNS))
            if found:
                links = (element("li", element("a", one.name, href=address(one))) for one in found)
                html(join(*links), "ul", class_="studies")
            with box(class_="row"):
                button("A small ready one", self._ready)
                field("Folder of a study", self._keep)
                button("Open", self._open)
            self._said = html("", "p", class_="lead", role="status")
            html(join("Or begin ", element("a", "a new study", href="/new"), " of your own."), "p", class_="lead")

    async def _ready(self) -> None:
        show(self._said, "Making it: a tiny BERT learns what people say of films, and its tickets are searched …")
        folder = await in_thread(self._wrong, ready_study)
        show(self._said, "")
        if folder is not None:
            ui.navigate.to(address(folder))

    def _keep(self, text: str) -> None:
        self._typed = text

    def _open(self) -> None:
        if not self._typed.strip():
            show(self._wrong, "type the folder of a study, such as runs/minilm-rotten-tomatoes-1a2b3c4d")
        else:
            ui.navigate.to(address(Path(self._typed.strip()).expanduser()))


def address(folder: Path) -> str:
    """Address of the page of a study."""
    return f"/?study={quote(str(folder))}"


def studies_in(home: Path) -> Iterator[Path]:
    """Folders of studies with results in a folder, the latest first."""
    files = sorted(home.glob(f"*/{NAME}"), key=lambda path: -path.stat().st_mtime)
    yield from (path.parent for path in files if has_rows(path.parent))
