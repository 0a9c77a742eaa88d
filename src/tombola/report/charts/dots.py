"""Scores as dots, of tickets beside others: a study's and the paper's, random ones, those of another task."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from tombola.analysis.locality.random_tickets import RandomTickets, SizeScores
from tombola.analysis.transfer import TransferCell
from tombola.report import number_format
from tombola.report.charts.parts import (
    BROKEN,
    Datum,
    data,
    name_axis,
    note_above,
    overlay,
    rule_at,
    score_axis,
    ticket_color,
    tips,
    top_legend,
)
from tombola.report.labels import model_title
from tombola.report.published import PublishedRow
from tombola.report.summary import Summary
from tombola.tickets.kinds import TICKETS

_TRANSFERRED = ("transferred", "random of its size", "own")


def beside_published(pairs: Sequence[tuple[Summary, PublishedRow]], metric: str) -> alt.LayerChart:
    """Chart beside the paper: its score of a ticket as a hollow diamond with ± std, this study's as a disc."""
    ours = [_model(one, "this study", one.score, f"{number_format.score(one.score)} {one.spread}") for one, _ in pairs]
    theirs = [
        _model(one, "paper", row.mean, f"{row.mean:.2f} ± {row.std:.2f}")
        | {"low": row.mean - row.std, "high": row.mean + row.std}
        for one, row in pairs
    ]
    y = name_axis("title", 180, [str(row["title"]) for row in ours], grid=True)
    shape = alt.Shape(
        "who:N",
        scale=alt.Scale(domain=["this study", "paper"], range=["circle", "diamond"]),
        legend=top_legend(symbolSize=90),
    )
    x, tooltip = score_axis(metric, padding=12), tips(title="ticket", who="whose", text=metric)
    point: dict[str, Any] = {"x": x, "y": y, "shape": shape, "tooltip": tooltip}
    # The reference models take the text's colour.
    reference = alt.Chart(data([row for row in ours if row["ticket"] not in TICKETS]))
    found = alt.Chart(data([row for row in ours if row["ticket"] in TICKETS]))
    published = alt.Chart(data(theirs))
    return overlay(
        published.mark_rule(style="paper-range").encode(x=alt.X("low:Q"), x2="high:Q", y=y),
        published.mark_point(style="paper-point", filled=False, size=90, opacity=1).encode(**point),
        reference.mark_point(style="seed", filled=True, size=80, opacity=1).encode(**point),
        found.mark_point(filled=True, size=80, opacity=1).encode(color=ticket_color(), **point),
        height=26 * len(pairs),
    )


def _model(one: Summary, who: str, score: float, text: str) -> Datum:
    title = model_title(one.ticket, one.stage)
    return {"ticket": one.ticket, "title": title, "who": who, "score": score, "text": text}


def random_dots(sizes: Sequence[tuple[str, Sequence[tuple[RandomTickets, SizeScores]]]], metric: str) -> alt.LayerChart:
    """A line a size: a dot for every random ticket, a diamond for each seed's searched one, full and bound as lines."""
    drawn: list[Datum] = []
    searched: list[Datum] = []
    for label, seeds in sizes:
        for number, (_, size) in enumerate(seeds):
            for draw, score in enumerate(size.scores):
                # Dots of one size are spread over the height of their line, evenly and always in the same way.
                spread = (draw * len(seeds) + number) * 0.618 % 1
                drawn.append({**_dot(label, "random", score), "spread": spread})
            searched.append(_dot(label, "searched", size.searched))
    everyone = [found for _, seeds in sizes for found, _ in seeds]
    full, bound = (sum(getattr(one, name) for one in everyone) / len(everyone) for name in ("full", "bound"))
    names = [label for label, _ in sizes]
    x = score_axis(metric, padding=8, ticks=6)
    y = name_axis("size", 230, names, alt.Scale(paddingInner=0.3), **BROKEN)
    offset = alt.YOffset("spread:Q", scale=alt.Scale(domain=[-0.15, 1.15]))
    kinds = ["searched", "random"]
    color = alt.Color("kind:N", scale=alt.Scale(domain=kinds, range="category"), legend=None)
    shapes = alt.Scale(domain=kinds, range=["diamond", "circle"])
    shape = alt.Shape("kind:N", scale=shapes, legend=top_legend(symbolSize=90))
    tooltip = tips(kind="ticket", text=metric)
    looks: dict[str, Any] = {"x": x, "y": y, "color": color, "shape": shape, "tooltip": tooltip}
    return overlay(
        alt.Chart(data(drawn)).mark_point(filled=True, size=30, opacity=0.55).encode(yOffset=offset, **looks),
        alt.Chart(data(searched)).mark_point(filled=True, size=130, opacity=1).encode(**looks),
        rule_at(bound, "threshold"),
        rule_at(full, "reference"),
        note_above(full, f"full model {number_format.score(full)}", 0, "right"),
        note_above(bound, f"threshold {number_format.score(bound)}", 1, "right"),
        height=44 * len(names),
    )


def _dot(size: str, kind: str, score: float) -> Datum:
    return {"size": size, "score": score, "text": number_format.score(score), "kind": kind}


def transfer_dots(cells: Sequence[TransferCell], metric: str) -> alt.LayerChart:
    """A line a source task: its tickets on one target, random ones of their sizes, the target's own; ± one std."""
    rows: list[Datum] = [
        {
            "source": f"from {cell.source}",
            "ticket": ticket,
            "score": mean,
            "low": mean - std,
            "high": mean + std,
            "text": number_format.spread(mean, std) if cell.n > 1 else number_format.score(mean),
        }
        for cell in cells
        for ticket, mean, std in zip(
            _TRANSFERRED, (cell.score, cell.random, cell.own), (cell.std, cell.random_std, cell.own_std), strict=True
        )
    ]
    offset = alt.YOffset("ticket:N", sort=list(_TRANSFERRED), scale=alt.Scale(paddingInner=0.4))
    # The own ticket takes the good one's colour, random ones theirs.
    scale = alt.Scale(domain=["own", "random of its size", "-", "transferred"], range="category")
    color = alt.Color("ticket:N", scale=scale, legend=top_legend(values=list(_TRANSFERRED), symbolSize=90))
    tooltip = tips(source="ticket", ticket="ticket", text=metric)
    base = alt.Chart(data(rows)).encode(y=name_axis("source", 160), yOffset=offset, tooltip=tooltip)
    full = cells[0].full
    return overlay(
        base.mark_rule(style="whisker").encode(x="low:Q", x2="high:Q"),
        base.mark_point(filled=True, size=100, opacity=1).encode(x=score_axis(metric, padding=10), color=color),
        rule_at(full, "reference"),
        note_above(full, f"full model {number_format.score(full)}", 0, "right"),
        height=64 * len(cells),
    )


def sweep_dots(lines: Sequence[tuple[str, str, float, str]]) -> alt.LayerChart:
    """A line a study and method: a dot for each ticket, at its share of the full model's score.

    Args:
        lines: name of the line, ticket, share, and the score as text.
    """
    rows: list[Datum] = [
        {"line": line, "ticket": ticket, "score": share, "text": f"{number_format.share(share)} ({score})"}
        for line, ticket, share, score in lines
    ]
    names = list(dict.fromkeys(line for line, *_ in lines))
    x = score_axis("share of the full model's score", padding=10)
    y = name_axis("line", 340, names, grid=True)
    points = alt.Chart(data(rows)).encode(x=x, y=y, tooltip=tips(line="study", ticket="ticket", text="score"))
    color = ticket_color(legend=top_legend(symbolSize=90))
    return overlay(
        points.mark_point(filled=True, size=80, opacity=1).encode(color=color),
        rule_at(1.0, "reference"),
        note_above(1.0, "full model", 0, "right"),
        height=26 * len(names),
    )
