"""Page of images: what full model and tickets draw from the same noise, side by side; or what any pipeline draws."""

import base64
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from nicegui import ui

from tombola.app.image_bench import Drawn, ImageBench
from tombola.app.memory_answer import mib
from tombola.app.memory_section import MemorySection
from tombola.app.network_bench import Choice, Progress
from tombola.app.numbers import whole
from tombola.app.parts import box, button, error_line, field, fill, html, in_thread, show
from tombola.app.pipeline_bench import PipelineBench
from tombola.app.search_choice import SearchChoice
from tombola.checkpoints.sources import PIPELINE
from tombola.foundations.errors import TombolaError
from tombola.foundations.slug import slug
from tombola.report.html.elements import Html, element, join

Draw = Callable[[str, Progress], Drawn]
"""Draws with a network by its name, and tells of its passes."""


class ImagesPage:
    """Page of images of a study's denoiser and its tickets, as one visitor sees it."""

    def __init__(self, bench: ImageBench) -> None:
        self._bench = bench
        self._typed = {"Seed": "0", "Number of images": "8"}
        html(bench.title, "h1")
        facts = f"{bench.images.steps} steps an image · seed {bench.seed_folder.seed} of the study"
        html(facts, "p", class_="facts")
        self._wrong = error_line()
        with box("section", aria_label="What is drawn"):
            self._search = SearchChoice(bench, lambda: None)
            with box(class_="row"):
                self._fields = {name: _number_field(name, self._typed) for name in self._typed}
                button("Draw", self._draw)
        self._gallery = Gallery(self._wrong)
        folder = bench.seed_folder.full
        self._memory = MemorySection(str(folder) if bench.task.saved(folder) else bench.data.model)
        ui.timer(0.05, self._begin, once=True)

    def _begin(self) -> None:
        self._search.begin()
        self._memory.begin()
        for name, made in self._fields.items():
            fill(made, self._typed[name])

    async def _draw(self) -> None:
        try:
            seed, count = (whole(name, text) for name, text in self._typed.items())
        except TombolaError as error:
            show(self._wrong, str(error))
            return
        method = self._search.method

        def draw(name: str, progress: Progress) -> Drawn:
            return self._bench.draw(method, name, seed=seed, count=count, progress=progress)

        await self._gallery.fill(self._search.choices(), draw)


class PipelinePage:
    """Page of a pipeline in a folder, as one visitor sees it."""

    def __init__(self, bench: PipelineBench) -> None:
        self._bench, self._given = bench, "0" if bench.takes == "class_labels" else ""
        self._typed = {"Steps": str(min(bench.steps, 50)), "Seed": "0"}
        html(f"{bench.title} · {bench.folder.name}", "h1")
        self._wrong = error_line()
        with box("section", aria_label="What is drawn"):
            if bench.takes == "prompt":
                field("Prompt", self._keep, tag="textarea", rows="2")
            elif bench.takes:
                last = "" if bench.classes is None else f", 0 to {bench.classes - 1}"
                self._class = field(f"Class{last}", self._keep, inputmode="numeric")
            with box(class_="row"):
                self._fields = {name: _number_field(name, self._typed) for name in self._typed}
                button("Draw", self._draw)
        self._gallery = Gallery(self._wrong)
        self._memory = MemorySection(str(bench.folder))
        ui.timer(0.05, self._begin, once=True)

    def _begin(self) -> None:
        self._memory.begin()
        if self._bench.takes == "class_labels":
            fill(self._class, self._given)
        for name, made in self._fields.items():
            fill(made, self._typed[name])

    def _keep(self, text: str) -> None:
        self._given = text

    async def _draw(self) -> None:
        try:
            steps, seed = (whole(name, text) for name, text in self._typed.items())
        except TombolaError as error:
            show(self._wrong, str(error))
            return
        given = self._given

        def draw(_: str, progress: Progress) -> Drawn:
            return self._bench.draw(given, steps=steps, seed=seed, progress=progress)

        await self._gallery.fill([Choice(f"{self._bench.folder.name} seed {seed}", "image")], draw)


class Gallery:
    """Images side by side, each shown as soon as it is drawn, with its progress until then."""

    def __init__(self, wrong: ui.html) -> None:
        self._wrong, self._turn = wrong, 0
        self._done: tuple[int, int] = (0, 0)
        self._drawing: ui.html | None = None
        self._place = box("section", class_="gallery", aria_label="What was drawn")
        ui.timer(0.2, self._tick)

    async def fill(self, choices: Sequence[Choice], draw: Draw) -> None:
        """Draw with one network after the other; what was asked before is dropped."""
        turn = self._turn = self._turn + 1
        self._place.clear()
        with self._place:
            places = [html(_waiting(one.title), "figure", data_model=one.name) for one in choices]
        for one, place in zip(choices, places, strict=True):
            self._done, self._drawing = (0, 0), place
            drawn = await in_thread(self._wrong, draw, one.name, partial(self._tell, turn))
            if turn != self._turn:
                return
            self._drawing = None
            if drawn is None:
                self._place.clear()
                return
            show(place, _figure(one, drawn))

    def _tell(self, turn: int, done: int, of: int) -> None:
        if turn != self._turn:
            # Nobody waits for it any more.
            raise TombolaError("something else was asked")
        self._done = (done, of)

    def _tick(self) -> None:
        done, of = self._done
        if self._drawing is not None and of:
            show(self._drawing, _waiting(None, done, of))


def _waiting(title: str | None, done: int = 0, of: int = 0) -> Html:
    bar = element("progress", value=str(done), max=str(of or 1), aria_label="Progress of drawing")
    return join(bar, element("figcaption", f"step {done} of {of}" if of else f"{title}: waits"))


def _figure(one: Choice, drawn: Drawn) -> Html:
    address = f"data:image/png;base64,{base64.b64encode(drawn.png).decode('ascii')}"
    memory = f"{mib(drawn.weights)} of weights"
    if drawn.activations is not None:
        memory += f", {mib(drawn.activations)} beyond them while drawing"
    return join(
        element("h3", one.title),
        element("img", src=address, alt=f"Drawn by: {one.title}"),
        element("figcaption", f"{drawn.seconds:.2f} s · {memory}"),
        element(
            "a", "Save as PNG", href=address, download=f"{slug(one.name)}.png", aria_label=f"Save as PNG: {one.title}"
        ),
    )


def _number_field(name: str, typed: dict[str, str]) -> ui.element:
    return field(name, lambda text: typed.update({name: text}), inputmode="numeric")


def open_images(folder: Path) -> ImageBench | PipelineBench:
    """The bench of a folder, of a study of images or a pipeline.

    Raises:
        TombolaError: it is neither, or cannot be opened.
    """
    return (PipelineBench if (folder / PIPELINE).is_file() else ImageBench).open(folder)
