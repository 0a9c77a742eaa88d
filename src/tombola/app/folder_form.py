"""Form that asks for a folder, on a page that has none yet."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from nicegui import ui

from tombola.app.parts import box, button, error_line, field, html, show
from tombola.app.start_page import RUNS, studies_in
from tombola.checkpoints.sources import PIPELINE
from tombola.foundations.errors import TombolaError
from tombola.report.html.elements import element, join
from tombola.study.study_record import read_record
from tombola.tasks.registry import regime_of


class FolderForm:
    """Form that leads to the same page with a folder.

    Args:
        path: of the page.
        title, label: what is asked, and the name of the field.
        found: folders at hand.
    """

    def __init__(self, path: str, title: str, label: str, found: Sequence[Path] = ()) -> None:
        self._path, self._typed = path, ""
        with box("section", aria_label=title):
            html(title, "h1")
            self._wrong = error_line()
            if found:
                links = (element("li", element("a", one.name, href=address(path, one))) for one in found)
                html(join(*links), "ul", class_="studies")
            with box(class_="row"):
                field(label, self._keep)
                button("Open", self._open)

    def _keep(self, text: str) -> None:
        self._typed = text

    def _open(self) -> None:
        if not self._typed.strip():
            show(self._wrong, "type the path of a folder on this machine")
        else:
            ui.navigate.to(address(self._path, Path(self._typed.strip()).expanduser()))


PATHS = {"images": "/images"}
"""Name of a regime → page of its studies; of others the first page."""


def path_of(study: Path) -> str:
    """Page of a study, or of a pipeline; the first one of what is neither, where it is said what is wrong."""
    if (study / PIPELINE).is_file():
        return PATHS["images"]
    with contextlib.suppress(TombolaError, KeyError, TypeError):
        return PATHS.get(regime_of(read_record(study)["config"]["task"]).name, "/")
    return "/"


def studies_for(path: str) -> Sequence[Path]:
    """Studies at hand that a page shows."""
    return [one for one in studies_in(RUNS) if path_of(one) == path]


def address(path: str, folder: Path) -> str:
    """Address of a page with a folder."""
    return f"{path}?study={quote(str(folder))}"
