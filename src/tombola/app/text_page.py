"""Page of texts: predictions side by side, the grid of sites, the map of a head, dev examples to page through."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nicegui import ui

from tombola.app.answers_table import answers_table
from tombola.app.app_state import AppState, SharedView
from tombola.app.attention_picture import attention_picture
from tombola.app.hand_made_ticket import HandMadeTicket, Site, can_begin_from
from tombola.app.parts import (
    box,
    button,
    choice,
    error_line,
    field,
    fill,
    html,
    in_thread,
    set_choice,
    show,
)
from tombola.app.score_command import score_command
from tombola.app.site_grid import COLOURINGS, SiteGrid, legend, shades
from tombola.app.study_bench import FULL
from tombola.app.text_bench import Disagreement, Look, SampleLoss, TextBench
from tombola.architectures.site_names import SITE_NAMES
from tombola.foundations.plurals import plural
from tombola.foundations.slug import slug
from tombola.metrics.scores import metric_title
from tombola.report import number_format
from tombola.report.html.elements import element, join
from tombola.tickets.pruning_methods import in_words

MADE = "yours"
"""Name of the ticket that a person makes."""
ALL = "all"
_WAYS = {
    "any": "whoever is right",
    "full": "the full model is right",
    "ticket": "the ticket is right",
    "none": "both are wrong",
}
_SURE = {"0": "however sure", "0.8": "at least 80 % sure", "0.95": "at least 95 % sure"}


def open_bench(state: AppState, folder: Path) -> TextBench:
    """The bench of a study's folder.

    Raises:
        TombolaError: it is no study of texts, or not begun.
    """
    return state.bench(("texts", folder.resolve()), lambda: TextBench.open(folder))


class TextPage:
    """Page of texts, as one visitor sees it.

    Args:
        state: shared with other visitors.
        bench: shared with other visitors of the study.
        view: what it begins with, of a link that was shared.
    """

    def __init__(self, state: AppState, bench: TextBench, view: SharedView | None = None) -> None:
        self._state, self._bench = state, bench
        self._made = HandMadeTicket(bench.full)
        self._texts = bench.texts.texts("dev")[0] if view is None else view.texts
        if view is not None:
            self._made.begin_from(view.ticket)
        self._method = bench.methods[0] if bench.methods else ""
        self._answers: Mapping[str, tuple[float, ...]] = {}
        self._look = Look((), (), {})
        self._losses: dict[str, SampleLoss] = {}
        self._label: int | None = None
        self._found: Sequence[Disagreement] = ()
        self._place, self._turn = 0, 0
        self._shown: Site = ("heads", 0, 0)
        self._filter = {"ticket": ALL, "class": ALL, "way": "any", "sure": "0"}
        html(bench.title, "h1")
        facts = (
            metric_title(bench.task.metric.name),
            plural(bench.task.size("dev"), "dev example"),
            f"seed {bench.seed_folder.seed}",
        )
        html(" · ".join(facts), "p", class_="facts")
        self._wrong = error_line()
        self._text_section()
        self._answers_section()
        with box("section", class_="bench"):
            self._grid_section()
            self._map_section()
        self._keep_section()
        ui.timer(0.05, self._begin, once=True)

    async def _begin(self) -> None:
        for box_, text in zip(self._fields, self._texts, strict=True):
            fill(box_, text)
        fill(self._name_field, self._name)
        self._grid.draw()
        await self._recolour("importance")
        await self._step(0)

    # What a visitor does.

    async def _typed(self, part: int, text: str) -> None:
        self._texts = tuple(text if number == part else one for number, one in enumerate(self._texts))
        self._label = None
        show(self._where, "your own text")
        await self._refresh(text=True)

    async def _clicked(self, site: Site) -> None:
        self._made.click(site)
        self._grid.draw(site)
        if site[0] == "heads":
            self._shown = site
        await self._refresh()

    def _focused(self, site: Site) -> None:
        if site[0] == "heads":
            self._shown = site
            self._draw_map()

    async def _undo(self) -> None:
        self._made.undo()
        self._grid.draw()
        await self._refresh()

    async def _begin_from(self, name: str) -> None:
        ticket = self._bench.full if name == FULL else self._bench.tickets(self._method)[name]
        self._made.begin_from(ticket)
        self._grid.draw()
        await self._refresh()

    async def _recolour(self, by: str) -> None:
        found = await in_thread(self._wrong, shades, self._bench, by, self._method)
        self._grid.colour(found or {}, by)
        show(self._legend, legend(by) if found or by == "none" else "the study does not know it")
        self._by = by

    async def _chose_method(self, method: str) -> None:
        self._method = method
        self._offer_starts()
        await self._recolour(self._by)
        await self._chose("ticket", ALL if self._filter["ticket"] == ALL else "good")
        await self._refresh(text=True)

    async def _chose(self, what: str, value: str) -> None:
        self._filter[what] = value
        if self._filter["ticket"] == ALL:
            self._found = ()
        else:
            found = await in_thread(self._wrong, self._bench.disagreements, self._method, self._filter["ticket"])
            self._found = [one for one in found or () if self._wanted(one)]
        self._place = 0
        await self._step(0)

    def _wanted(self, one: Disagreement) -> bool:
        way, of_class = self._filter["way"], self._filter["class"]
        right = {"any": True, "full": one.full == one.label, "ticket": one.ticket == one.label}
        fits = right.get(way, one.label not in (one.full, one.ticket))
        return fits and of_class in (ALL, str(one.ticket)) and one.sure >= float(self._filter["sure"])

    async def _step(self, by: int) -> None:
        every = self._filter["ticket"] == ALL
        size = self._bench.task.size("dev") if every else len(self._found)
        if not size:
            show(self._where, "none of the dev set")
            return
        self._place = (self._place + by) % size
        index = self._place if every else self._found[self._place].index
        show(self._where, f"{self._place + 1} of {size}")
        if self._turn == 0 and self._texts != self._bench.texts.texts("dev")[index]:
            # A shared text is shown first.
            show(self._where, "a text that was shared")
        else:
            self._texts = self._bench.texts.texts("dev")[index]
            self._label = int(self._bench.task.references("dev")[index]) if self._bench.texts.classes else None
            for box_, text in zip(self._fields, self._texts, strict=True):
                fill(box_, text)
        await self._refresh(text=True)

    def _share(self) -> None:
        name = self._state.share(SharedView(self._texts, self._made.ticket))
        link = element("a", "this link", href=f"/?link={name}")
        show(self._kept, join("Text and ticket stand behind ", link, " until the app ends."))

    async def _save(self) -> None:
        folder = self._state.out / slug(self._name, "ticket")
        if await in_thread(self._wrong, self._write, folder):
            command = score_command(self._bench, folder)
            show(self._kept, join("Saved. Every command takes it as --ticket:", element("pre", command, tabindex="0")))

    def _write(self, folder: Path) -> bool:
        self._bench.save(self._made.ticket, folder)
        return True

    async def _score(self) -> None:
        show(self._kept, "Scoring the whole dev set …")
        found = await in_thread(self._wrong, self._bench.score, self._made.ticket)
        title = metric_title(self._bench.task.metric.name)
        text = "" if found is None else f"{title} on all {len(found.losses):,} dev examples: {found.score:.4f}"
        show(self._kept, text)

    def _named(self, name: str) -> None:
        self._name = name

    # What the models say.

    async def _refresh(self, *, text: bool = False) -> None:
        """Ask the models again: all of them about another text, else the hand-made one; what is outdated is dropped."""
        turn = self._turn = self._turn + 1
        ticket = self._made.ticket
        look = await in_thread(self._wrong, self._bench.look, self._texts, ticket)
        answers: Mapping[str, tuple[float, ...]] | None = self._answers
        if text and look is not None:
            answers = await in_thread(self._wrong, self._bench.answers, self._texts, self._method)
        if turn != self._turn:
            return
        self._losses.pop(MADE, None)
        self._answers, self._look = answers or {}, look or Look((), (), {})
        self._draw()
        if look is None:
            # The line that says why stays.
            return
        if FULL not in self._losses:
            full = await in_thread(self._wrong, self._bench.sample_loss, self._bench.full)
            self._losses |= {} if full is None else {FULL: full}
        loss = await in_thread(self._wrong, self._bench.sample_loss, ticket)
        if turn == self._turn and loss is not None:
            self._losses[MADE] = loss
            self._draw_losses()

    # What is drawn.

    def _text_section(self) -> None:
        with box("section", aria_label="What is read"):
            parts = self._bench.texts.parts
            names = ["Text"] if parts == 1 else ["First text", "Second text"]
            self._fields = [self._text_field(name, part) for part, name in enumerate(names)]
            with box(class_="row"):
                button("Previous", lambda: self._step(-1))
                button("Next", lambda: self._step(1))
                self._where = html("", "span", class_="where", role="status")
            if self._bench.texts.classes is not None:
                self._disagreement_filters(self._bench.texts.classes)

    def _disagreement_filters(self, names: Sequence[str]) -> None:
        classes = {str(number): f"the ticket says {name}" for number, name in enumerate(names)}
        tickets = {name: f"full against {name}" for name in self._tickets()}
        with box("details"):
            html("Dev examples on which a ticket and the full model disagree", "summary")
            with box(class_="row"):
                choice("Examples", {ALL: "all of the dev set", **tickets}, lambda v: self._chose("ticket", v))
                choice("Class", {ALL: "whatever it says", **classes}, lambda v: self._chose("class", v))
                choice("Which way", _WAYS, lambda v: self._chose("way", v))
                choice("How sure", _SURE, lambda v: self._chose("sure", v))

    def _text_field(self, name: str, part: int) -> ui.element:
        return field(name, lambda text: self._typed(part, text), tag="textarea", rows="2", spellcheck="false")

    def _answers_section(self) -> None:
        with box("section", aria_label="Predictions"):
            html("What the models say", "h2")
            if len(self._bench.methods) > 1:
                options = {one: in_words(one) for one in self._bench.methods}
                with box(class_="row"):
                    choice("Tickets of", options, self._chose_method, self._method)
            self._table = html("", class_="scroll", tabindex="0", role="region", aria_label="Predictions, side by side")
            self._status = html("", "p", class_="lead", role="status")
            self._loss = html("", "p", class_="lead", role="status")

    def _grid_section(self) -> None:
        with box(class_="sites"):
            html("Switch heads and MLPs off", "h2")
            html("Press one: it is off at once, and on again when you press it again.", "p", class_="lead")
            with box(class_="row"):
                choice("Colour", COLOURINGS, self._recolour, "importance")
                self._starts = choice("Begin from", {}, self._begin_from)
                button("Undo", self._undo)
            self._offer_starts()
            with box(class_="scroll"):
                self._grid = SiteGrid(self._bench, self._made, self._clicked, self._focused)
            self._legend = html("", "p", class_="legend")

    def _map_section(self) -> None:
        with box(class_="map"):
            self._map_title = html("", "h2")
            self._map = html("", "figure")

    def _keep_section(self) -> None:
        self._name = "mine"
        with box("section", aria_label="Keep it"):
            html("Keep what you made", "h2")
            with box(class_="row"):
                self._name_field = field("Name", self._named)
                button("Save as ticket", self._save)
                button("Score the whole dev set", self._score)
                button("Link to this", self._share)
            self._kept = html("", class_="kept", role="status")

    def _tickets(self) -> Sequence[str]:
        return list(self._bench.tickets(self._method)) if self._method else []

    def _offer_starts(self) -> None:
        tickets = self._bench.tickets(self._method) if self._method else {}
        names = [FULL, *(name for name, one in tickets.items() if can_begin_from(self._bench.full, one))]
        set_choice(self._starts, {name: name for name in names})

    def _draw(self) -> None:
        rows = {**self._answers, MADE: self._look.answer} if self._look.answer else {}
        show(self._table, answers_table(rows, self._bench.texts.classes, self._label) or "")
        self._draw_status()
        self._draw_map()
        self._draw_losses()

    def _draw_status(self) -> None:
        kept, full, most = self._made.ticket.counts(), self._bench.full.counts(), self._bench.texts.max_length
        words = [plural(full[kind] - kept[kind], *SITE_NAMES[kind]) for kind in kept if kept[kind] < full[kind]]
        cut = f" The model reads {most} tokens at most: what comes after them is left out."
        note = cut if len(self._look.tokens) >= most else ""
        many = sum(full.values()) - sum(kept.values()) > 1
        show(self._status, f"In yours {' and '.join(words) or 'nothing'} {'are' if many else 'is'} off.{note}")

    def _draw_losses(self) -> None:
        full, made = self._losses.get(FULL), self._losses.get(MADE)
        if full is None or made is None:
            show(self._loss, "Its loss over the dev sample is on its way …")
            return
        title = metric_title(self._bench.task.metric.name)
        show(
            self._loss,
            f"Over {made.examples} dev examples its loss is {made.loss:.3f} (full: {full.loss:.3f}), "
            f"{title} {number_format.score(made.score)} (full: {number_format.score(full.score)}).",
        )

    def _draw_map(self) -> None:
        _, row, head = self._shown
        show(self._map_title, f"What {self._grid.name(self._shown)} attends to")
        maps = self._look.maps.get(row)
        if maps is None:
            show(self._map, element("figcaption", self._bench.without_maps or "No text, no map."))
        else:
            off = not self._made.works(self._shown)
            show(self._map, attention_picture(maps[head], self._look.tokens, self._grid.name(self._shown), off=off))
