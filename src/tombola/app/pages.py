"""Pages of the app: which there are, the frame that all have, and how a page gets its study."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from nicegui import app, ui

from tombola.app import study_routes
from tombola.app.app_state import AppState
from tombola.app.folder_form import FolderForm, address, path_of, studies_for
from tombola.app.image_page import ImagesPage, PipelinePage, open_images
from tombola.app.memory_section import MemorySection
from tombola.app.parts import box, error_line, html, in_thread, show
from tombola.app.pipeline_bench import PipelineBench
from tombola.app.start_page import StartPage
from tombola.app.study_page import NEW, NewStudyPage, RunPage
from tombola.app.text_page import TextPage, open_bench
from tombola.foundations.errors import TombolaError
from tombola.report.charts import theme
from tombola.report.html.elements import Html, element, join

TITLE = "Tombola"


@dataclass(frozen=True)
class Page:
    """Page of the app.

    Attributes:
        path: of its address.
        title: in the line of pages.
        build: makes it for one visitor, in the frame, from the shared state and the parameters of its address; it may
            wait for what takes long, and a TombolaError that it raises is shown in its place.
    """

    path: str
    title: str
    build: Callable[[AppState, dict[str, str]], Awaitable[None]]


async def _text(state: AppState, given: dict[str, str]) -> None:
    folder = Path(given["study"]) if "study" in given else state.study
    if folder is None:
        StartPage(state)
        return
    if (path := path_of(folder)) != "/":
        ui.navigate.to(address(path, folder))
        return
    wrong, waiting = error_line(), html("Opening the study and its model …", "p", class_="lead", role="status")
    bench = await in_thread(wrong, open_bench, state, folder)
    waiting.delete()
    if bench is None:
        StartPage(state)
        return
    TextPage(state, bench, state.shared(given["link"]) if "link" in given else None)


async def _images(state: AppState, given: dict[str, str]) -> None:
    form = partial(FolderForm, "/images", "Which images?", "Folder of a study of images, or of a pipeline")
    folder = _folder(state, given, "/images")
    if folder is None:
        form(studies_for("/images"))
        MemorySection("sd-1.5").begin()
        return
    wrong, waiting = error_line(), html("Opening it …", "p", class_="lead", role="status")
    bench = await in_thread(wrong, lambda: state.bench(("images", folder.resolve()), lambda: open_images(folder)))
    waiting.delete()
    if bench is None:
        form(studies_for("/images"))
    elif isinstance(bench, PipelineBench):
        PipelinePage(bench)
    else:
        ImagesPage(bench)


def _folder(state: AppState, given: dict[str, str], path: str) -> Path | None:
    """Folder of the address; else the study that the app was opened on, where it is of the page."""
    if "study" in given:
        return Path(given["study"])
    return state.study if state.study is not None and path_of(state.study) == path else None


async def _new_study(state: AppState, given: dict[str, str]) -> None:
    if "run" in given:
        RunPage(state.run(Path(given["run"])))
    else:
        NewStudyPage(state)


PAGES: Sequence[Page] = (
    Page("/", "Texts", _text),
    Page("/images", "Images", _images),
    Page(NEW, "New study", _new_study),
)
"""Pages in the order of the line that leads to them."""


def register(state: AppState) -> FastAPI:
    """The application with all pages."""
    api = FastAPI(openapi_url=None)
    # Nothing is loaded that a bar would have to speak of.
    app.config.quasar_config["loadingBar"]["skipHijack"] = True
    for page in PAGES:
        _register(page, state)
    app.on_shutdown(state.end_runs)
    study_routes.add(api, state)
    ui.run_with(api, title=TITLE, dark=None, language="en-US", tailwind=False, show_welcome_message=False)
    return api


def _register(page: Page, state: AppState) -> None:
    @ui.page(page.path, title=f"{page.title} · {TITLE}", response_timeout=30)
    async def build(request: Request) -> None:
        ui.add_css(_css())
        with box("header"):
            html("Tombola · lottery tickets", "p", class_="brand")
            if len(PAGES) > 1:
                with box("nav", aria_label="Pages"):
                    html(join(*(_link(one, here=one is page) for one in PAGES)))
        main = box("main")
        # The frame is there at once, however long a model takes.
        await ui.context.client.connected()
        with main:
            try:
                await page.build(state, dict(request.query_params))
            except TombolaError as error:
                show(error_line(), str(error))


def _link(page: Page, *, here: bool) -> Html:
    return element("a", page.title, href=page.path, **({"aria_current": "page"} if here else {}))


@cache
def _css() -> str:
    """Styles of the report, and the app's own, with the colours of its charts."""
    report = resources.files("tombola.report.html").joinpath("page.css").read_text(encoding="utf-8")
    own = resources.files("tombola.app").joinpath("app.css").read_text(encoding="utf-8")
    dark = f"@media (prefers-color-scheme: dark) {{ :root {{ {_colours(theme.DARK)} }} }}"
    return f"{report}\n:root {{ {_colours(theme.LIGHT)} }}\n{dark}\n{own}"


def _colours(of: Mapping[str, Any]) -> str:
    ranges = of["range"]
    named = {f"importance-{i}": colour for i, colour in enumerate(ranges["ramp"])}
    named |= {f"survival-{i}": colour for i, colour in enumerate(ranges["heatmap"])}
    named |= {f"pattern-{i}": colour for i, colour in enumerate(ranges["symbol"])}
    return " ".join(f"--{name}: {colour};" for name, colour in named.items())
