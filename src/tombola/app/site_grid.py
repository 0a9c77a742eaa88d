"""Grid of heads x layers with MLPs: a button for each site, in the colour of what is known of it."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nicegui import ui

from tombola.analysis.attention.pattern_classes import CLASSES
from tombola.app.hand_made_ticket import HandMadeTicket, Site
from tombola.app.parts import box, html, set_attributes
from tombola.app.text_bench import TextBench
from tombola.report import number_format
from tombola.report.html.elements import Html, element, join

COLOURINGS = {
    "importance": "importance for the full model",
    "survival": "survival in the good tickets",
    "attention": "class of attention",
    "none": "nothing",
}
"""Ways to colour sites → what that is called."""
_MOVE = """(e) => {
  const step = {ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9}[e.key];
  const rows = {ArrowUp: -1, ArrowDown: 1}[e.key];
  if (step === undefined && rows === undefined) return;
  e.preventDefault();
  const all = [...e.currentTarget.querySelectorAll("button")], now = document.activeElement;
  let to;
  if (step !== undefined) to = all[Math.max(0, Math.min(all.length - 1, all.indexOf(now) + step))];
  else {
    const row = (b) => +b.dataset.line, column = (b) => b.getBoundingClientRect().left;
    const there = all.filter((b) => row(b) === row(now) + rows);
    to = there.sort((a, b) => Math.abs(column(a) - column(now)) - Math.abs(column(b) - column(now)))[0];
  }
  if (to) { all.forEach((b) => { b.tabIndex = -1; }); to.tabIndex = 0; to.focus(); }
}"""
"""Arrow keys go from site to site, so that Tab passes the grid in one step."""


@dataclass(frozen=True)
class Shade:
    """Colour of a site: a share of a ramp, or a class, and what it says in words."""

    share: float | None
    words: str
    group: str = ""


class SiteGrid:
    """Grid of the sites of a bench.

    Args:
        bench: whose model has the sites.
        made: ticket that says which are on.
        on_click: what happens when one is switched.
        on_focus: what happens when one is looked at.
    """

    def __init__(
        self,
        bench: TextBench,
        made: HandMadeTicket,
        on_click: Callable[[Site], Awaitable[None]],
        on_focus: Callable[[Site], None],
    ) -> None:
        self._bench, self._made = bench, made
        self._buttons: dict[Site, ui.html] = {}
        self._names: dict[Site, str] = {}
        self._columns: dict[Site, int] = {}
        rows = list(_rows(bench))
        columns = max(sum(site[0] == "heads" for site, _ in sites) for _, sites in rows)
        self._outer = box(class_="grid", role="group", aria_label="Heads and MLPs; press one to switch it off or on")
        with self._outer.on("keydown", js_handler=_MOVE):
            with box(class_="line", aria_hidden="true"):
                html("", "span")
                for head in range(columns):
                    html(str(head), "span")
                html("MLP", "span", class_="mlp")
            for line, (name, sites) in enumerate(rows):
                with box(class_="line"):
                    html(name, "span", aria_hidden="true")
                    for (kind, row, place), label in sites:
                        site = (kind, row, place)
                        made_button = html("", "button", type="button", data_line=str(line), data_site=_data(site))
                        made_button.on("click", lambda site=site: on_click(site), args=[])
                        made_button.on("focus", lambda site=site: on_focus(site), args=[])
                        if kind == "mlps":
                            self._columns[site] = columns + 2
                        self._buttons[site], self._names[site] = made_button, label
        self.shades: dict[Site, Shade] = {}

    def name(self, site: Site) -> str:
        """Name of a site: `head 2.7`."""
        return self._names[site]

    def colour(self, shades: dict[Site, Shade], by: str) -> None:
        """Colour all sites anew, by one of `COLOURINGS`."""
        self.shades = shades
        self._outer.classes(replace=f"grid by-{by}")
        for site in self._buttons:
            self.draw(site)

    def draw(self, site: Site | None = None) -> None:
        """Show whether a site is on, or all of them."""
        for one in self._buttons if site is None else (site,):
            shade, works = self.shades.get(one, Shade(None, "")), self._made.works(one)
            label = ", ".join(filter(None, (self._names[one], shade.words, "" if works else "off")))
            mark = f"site {one[0][:-1]} {shade.group}".strip()
            style = [f"grid-column: {self._columns[one]}"] if one in self._columns else []
            style += [] if shade.share is None else [f"--shade: {100 * shade.share:.0f}%"]
            set_attributes(
                self._buttons[one],
                aria_pressed=str(works).lower(),
                aria_label=label,
                title=label,
                class_=mark,
                style="; ".join(style),
                tabindex="0" if one == next(iter(self._buttons)) else "-1",
            )


def shades(bench: TextBench, by: str, method: str) -> dict[Site, Shade]:
    """Colours of all sites by importance, survival or class of attention; none of a site where that is not known."""
    found: Mapping[str, Sequence[Sequence[float | None]]]
    if by == "attention":
        return dict(_pattern_shades(bench))
    if by == "survival":
        survival = bench.survival(method) if method else None
        found = {} if survival is None else {kind: one.rows for kind, one in survival.sites.items()}
        word = "survives" if survival is None or survival.seeds == 1 else f"survives in {survival.seeds} seeds:"
    elif by == "importance":
        found, word = {kind: bench.importance(kind) for kind in bench.full.sites}, "importance"
    else:
        return {}
    return {
        (kind, row, place): Shade(share, f"{word} {number_format.share(share) if by == 'survival' else f'{share:.2f}'}")
        for kind, rows in found.items()
        if kind in bench.full.sites
        for row, shares in enumerate(rows)
        for place, share in enumerate(shares)
        if share is not None
    }


def legend(by: str) -> Html:
    """Legend of the colours."""
    if by == "attention":
        parts = [element("span", element("i", class_=f"key {_class(name)}"), name) for name in CLASSES]
    elif by in ("importance", "survival"):
        ends = ("none", "most") if by == "importance" else ("pruned", "in all seeds")
        parts = [element("span", ends[0], element("i", class_=f"ramp {by}"), ends[1])]
    else:
        parts = []
    off = element("span", element("i", class_="key off"), "switched off")
    return join(*parts, off)


def _pattern_shades(bench: TextBench) -> Iterator[tuple[Site, Shade]]:
    for row, heads in enumerate(bench.patterns().tolist()):
        for head, of_head in enumerate(heads):
            share, name = max(zip(of_head, CLASSES, strict=True))
            # Not a number where a row has fewer heads.
            if share == share:
                yield ("heads", row, head), Shade(None, f"{name} {number_format.share(share)}", _class(name))


def _class(name: str) -> str:
    return f"pattern-{CLASSES.index(name)}"


def _rows(bench: TextBench) -> Iterator[tuple[str, Sequence[tuple[Site, str]]]]:
    """Name of each row of the grid, and its sites with their names; an MLP stands in the first row of its layer."""
    anatomy, places = bench.anatomy, bench.places
    layers = {places.layer(layer): layer for layer, size in enumerate(anatomy.sizes("mlps")) if size}
    for row, heads in enumerate(anatomy.sizes("heads")):
        name = places.attention(row)
        sites: list[tuple[Site, str]] = [(("heads", row, head), f"head {name}.{head}") for head in range(heads)]
        if name in layers:
            sites.append((("mlps", layers[name], 0), f"MLP {name}"))
        yield name, sites


def _data(site: Site) -> str:
    return "-".join(map(str, site))
