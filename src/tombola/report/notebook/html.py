"""Values as HTML for notebooks: facts in a small table, and pictures that need no script, in light and dark.

Colours of text are the notebook's own; what survives has the colour of the good ticket.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import singledispatch

from torch import Tensor

from tombola.analysis.agreement.survival import densities
from tombola.architectures.anatomy import Anatomy
from tombola.architectures.site_names import SITE_NAMES
from tombola.metrics.scores import metric_title
from tombola.pruning.evaluation import Evaluation
from tombola.pruning.search.records import Search, SearchPass
from tombola.pruning.weight_pruning import WeightPruning
from tombola.report import number_format
from tombola.report.html.elements import Html, element, join
from tombola.report.labels import MATRIX_TITLES, capitalised, method_title, model_title
from tombola.report.opened_study import OpenedStudy
from tombola.study.study import Study
from tombola.tickets.kinds import kinds_in_words
from tombola.tickets.ticket import Ticket, every_site

GOOD = "#009e73"
"""Colour of what survives, that of the good ticket in reports."""
_IMPORTANT = "#8d5bb5"
_CELL, _GAP, _LEFT = 12, 2, 64
_MOST = 48
"""Sites of a row that are drawn one by one; of more, the share that survives."""
_ROWS = 12
"""Rows of a study that are shown."""
_QUIET = "currentColor"


@singledispatch
def of(value: object) -> Html:
    """The value as HTML; every text in it is escaped."""
    raise NotImplementedError(type(value).__name__)


@of.register
def _(ticket: Ticket) -> Html:
    return _card(f"Ticket of {kinds_in_words(ticket.kind)}", _ticket_facts(ticket), _ticket_picture(ticket))


@of.register
def _(found: Search) -> Html:
    good, facts = found.good, _ticket_facts(found.good)
    facts |= {
        "full score": number_format.score(found.full_score),
        "good ticket": number_format.score(found.last.score),
        "sparsity": number_format.share(found.last.sparsity),
        "passes": number_format.count(len(found.passes)),
    }
    return _card(f"Search for {kinds_in_words(good.kind)}", facts, _curve(found.passes), _ticket_picture(good))


@of.register
def _(found: WeightPruning) -> Html:
    facts = {**_ticket_facts(found.ticket), "model": type(found.model).__name__}
    return _card("Pruned weights", facts, _ticket_picture(found.ticket))


@of.register
def _(found: Evaluation) -> Html:
    facts = {
        "score": number_format.score(found.score),
        "examples": number_format.count(len(found.losses)),
        "mean loss": number_format.score(float(found.losses.mean())),
        "seconds": number_format.seconds(found.seconds),
    }
    if found.importance is None:
        return _card("Evaluation", facts)
    sites = found.importance.normalised().sites
    return _card("Evaluation, with importance", facts, *(_grid(kind, [*of], _IMPORTANT) for kind, of in sites.items()))


@of.register
def _(anatomy: Anatomy) -> Html:
    counts = {kind: sum(anatomy.sizes(kind)) for kind in SITE_NAMES if kind != "neurons"}
    facts = {
        "architecture": anatomy.signature,
        **{SITE_NAMES[kind][1]: number_format.count(count) for kind, count in counts.items() if count},
        "prunable weights": number_format.count(anatomy.weights),
        "matrices": number_format.count(len(anatomy.matrices)),
    }
    if anatomy.left_out:
        facts["left out"] = ", ".join(f"{one.name} ({one.reason})" for one in anatomy.left_out[:3])
    full = Ticket.full(anatomy, every_site(anatomy))
    return _card(f"Anatomy of a {anatomy.model_type}", facts, _ticket_picture(full))


@of.register
def _(study: Study) -> Html:
    if (study.folder / "results.jsonl").is_file():
        return of(OpenedStudy.of(study.folder))
    config = study.config
    facts = {"model": config.model, "task": config.task, "methods": ", ".join(config.methods)}
    return _card(f"Study {study.folder.name}, without results yet", {**facts, "folder": str(study.folder)})


@of.register
def _(study: OpenedStudy) -> Html:
    data = study.data
    facts = {"model": data.model, "task": data.task.title, "seeds": str(data.seeds), "folder": str(study.folder)}
    heads = ("method", "ticket", metric_title(data.metric), "sparsity")
    lines = [
        (
            method_title(one.method),
            model_title(one.ticket, one.stage),
            number_format.score(one.score),
            number_format.share(one.rows[0].sparsity),
        )
        for one in data.summaries
    ]
    shown = [_table(heads, lines[:_ROWS])]
    if len(lines) > _ROWS:
        shown.append(element("div", f"and {len(lines) - _ROWS} more: to_pandas() has all", style="opacity:.7"))
    sentences = [element("p", one.sentence, style="margin:.4em 0") for one in data.verdicts if one.ticket == "good"]
    return _card(f"Study {data.facts.name}", facts, *sentences, *shown)


def _card(title: str, facts: Mapping[str, str], *body: Html) -> Html:
    rows = (
        element(
            "tr",
            element("td", name, style="text-align:left;white-space:nowrap;opacity:.7;padding:0 1em 0 0"),
            element("td", text, style="text-align:left;padding:0"),
        )
        for name, text in facts.items()
    )
    table = element("table", element("tbody", *rows), style="border:0;margin:.3em 0;background:none")
    style = "font:13px/1.5 system-ui,sans-serif;overflow-x:auto"
    return element("div", element("b", title), table, *body, style=style)


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> Html:
    style = "text-align:left;padding:.1em 1em .1em 0"
    head = element("tr", *(element("th", one, style=style) for one in heads))
    body = (element("tr", *(element("td", one, style=style) for one in line)) for line in lines)
    return element("table", element("thead", head), element("tbody", *body), style="margin:.4em 0;background:none")


def _ticket_facts(ticket: Ticket) -> dict[str, str]:
    facts = {"architecture": ticket.architecture}
    if ticket.kind == "weights":
        share = number_format.share(len(ticket) / ticket.total)
        facts["weights"] = f"{number_format.count(len(ticket))} of {number_format.count(ticket.total)} ({share})"
    for kind in ticket.sites:
        total = number_format.count(int(ticket.exists(kind).sum()))
        facts[SITE_NAMES[kind][1]] = f"{number_format.count(ticket.counts()[kind])} of {total}"
    told = ("method", "ticket", "task", "model", "seed")
    return facts | {name: str(ticket.provenance[name]) for name in told if name in ticket.provenance}


def _ticket_picture(ticket: Ticket) -> Html:
    if ticket.kind == "weights":
        return _matrices(ticket)
    return join(*(_grid(kind, [row.double() for row in ticket.rows(kind)], GOOD) for kind in ticket.sites))


def _grid(kind: str, rows: Sequence[Tensor], color: str) -> Html:
    """Rows of sites, each cell as strong as its value from 0 to 1; NaN stands for what is pruned.

    MLPs, of which a layer has one, stand in one line.
    """
    values = [row.reshape(-1).nan_to_num().tolist() for row in rows]
    if kind == "mlps":
        values = [[one for row in values for one in row]]
    one, many = SITE_NAMES[kind]
    pieces = []
    for index, row in enumerate(values):
        y = index * (_CELL + _GAP)
        label = many if kind == "mlps" else f"{index}"
        pieces.append(_text(_LEFT - 8, y + _CELL - 2, label, "end"))
        if len(row) > _MOST:
            share, width = sum(value > 0 for value in row) / len(row), _MOST * 8
            text = f"{number_format.share(share)} of {number_format.count(len(row))} {many} of row {index}"
            pieces.append(_cell(_LEFT, y, width, 0.0, color, text))
            pieces.append(_cell(_LEFT, y, share * width, 1.0, color, text) if share else Html(""))
            continue
        for number, value in enumerate(row):
            name = f"{one} {number}" if kind == "mlps" else f"{one} {index}.{number}"
            fate = ("survives" if value else "pruned") if color == GOOD else number_format.score(value)
            pieces.append(_cell(_LEFT + number * (_CELL + _GAP), y, _CELL, value, color, f"{name}: {fate}"))
    longest = max(map(len, values))
    wide = _MOST * 8 if longest > _MOST else longest * (_CELL + _GAP)
    return _svg(_LEFT + wide, len(values) * (_CELL + _GAP), f"{capitalised(many)} by row", *pieces)


def _matrices(ticket: Ticket) -> Html:
    """Share of the weights that survives, layers by matrices."""
    found = list(densities(ticket))
    roles = list(dict.fromkeys(one.role for one in found))
    layers = sorted({one.layer for one in found})
    pieces = [_text(_LEFT - 8, layers.index(layer) * 18 + 12, str(layer), "end") for layer in layers]
    for one in found:
        x, y = _LEFT + roles.index(one.role) * 52, layers.index(one.layer) * 18
        name, text = MATRIX_TITLES.get(one.role, one.role), number_format.share(one.share)
        pieces.append(_cell(x, y, 48, one.share, GOOD, f"{name} of layer {one.layer}: {text}", height=16))
        pieces.append(_text(x + 24, y + 12, f"{100 * one.share:.0f}", "middle"))
    title = "Weights that survive, in per cent: " + ", ".join(MATRIX_TITLES.get(role, role) for role in roles)
    picture = _svg(_LEFT + 52 * len(roles), 18 * len(layers), title, *pieces)
    return join(element("div", title, style="opacity:.7"), picture)


def _curve(passes: Sequence[SearchPass]) -> Html:
    """Score against sparsity: a line through the passes that hold, rings for those that fail."""
    width, height, finite = 420, 150, [one for one in passes if math.isfinite(one.score)]
    low, high = min(one.score for one in finite), max(one.score for one in finite)
    far = max((one.sparsity for one in finite), default=0) or 1

    def place(one: SearchPass) -> tuple[float, float]:
        return _LEFT + one.sparsity / far * width, 8 + (high - one.score) / ((high - low) or 1) * (height - 16)

    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(one) for one in finite if one.holds))
    pieces = [element("polyline", points=line, fill="none", stroke=GOOD, stroke_width="1.5")]
    for one in finite:
        x, y = place(one)
        state = "holds" if one.holds else "fails"
        text = f"pass {one.iteration}: {number_format.score(one.score)} at {number_format.share(one.sparsity)}, {state}"
        looks = {"fill": GOOD} if one.holds else {"fill": "none", "stroke": _QUIET}
        pieces.append(element("circle", element("title", text), cx=f"{x:.1f}", cy=f"{y:.1f}", r="3.5", **looks))
    for y, value in ((12, high), (height - 4, low)):
        pieces.append(_text(_LEFT - 8, y, number_format.score(value), "end"))
    pieces.append(_text(_LEFT, height + 14, "0 % pruned", "start"))
    pieces.append(_text(_LEFT + width, height + 14, f"{number_format.share(far)} pruned", "end"))
    return _svg(_LEFT + width + 8, height + 20, "Score against sparsity along the search", *pieces)


def _svg(width: float, height: float, label: str, *pieces: Html) -> Html:
    size = {"width": f"{width:.0f}", "height": f"{height:.0f}", "viewBox": f"0 0 {width:.0f} {height:.0f}"}
    style = "display:block;margin:.5em 0;background:none"
    return element("svg", *pieces, role="img", aria_label=label, style=style, **size)


def _text(x: float, y: float, text: str, anchor: str) -> Html:
    place = {"x": f"{x:.0f}", "y": f"{y:.0f}", "text_anchor": anchor, "font_size": "11"}
    return element("text", text, fill=_QUIET, **place)


def _cell(x: float, y: float, width: float, value: float, color: str, text: str, height: float = _CELL) -> Html:
    place = {"x": f"{x:.0f}", "y": f"{y:.0f}", "width": f"{width:.0f}", "height": f"{height:.0f}", "rx": "2"}
    if value <= 0:
        return element("rect", element("title", text), fill=_QUIET, fill_opacity="0.1", **place)
    return element("rect", element("title", text), fill=color, fill_opacity=f"{0.15 + 0.85 * value:.2f}", **place)
