"""Layout of a page: sections, figures, and what stands side by side."""

from collections.abc import Sequence

from tombola.report.html.markup import Html, element


def section(title: str, *body: str, lead: str = "") -> Html:
    """A section of the page with its heading."""
    head = [element("h2", title)] + ([element("p", lead, class_="lead")] if lead else [])
    return element("section", *head, *body)


def figures_section(title: str, figures: Sequence[Html], lead: str = "") -> Html | None:
    """A section of figures side by side; None where there is no figure."""
    return section(title, beside(*figures), lead=lead) if figures else None


def figure(title: str, caption: str, *plots: str, layout: str = "") -> Html:
    """Plots and the sentence that reads them."""
    head = [element("h3", title)] if title else []
    body = element("div", *plots, class_=f"plots {layout}".strip())
    return element("figure", *head, body, element("figcaption", caption))


def table_figure(title: str, table: Html, lead: str = "") -> Html:
    """A table under a title, with a word on how to read it."""
    head = [element("h3", title)] + ([element("p", lead, class_="lead")] if lead else [])
    return element("figure", *head, table)


def beside(*pieces: str) -> Html:
    """Layout side by side, two or three in a line."""
    # Two and four make full lines of two; any other number leaves a smaller hole in lines of three.
    three = len(pieces) > 2 and len(pieces) != 4
    return element("div", *pieces, class_="pair three" if three else "pair")


def folded(summary: str, *body: str) -> Html:
    """Folded part of the page, shown when its summary is opened."""
    return element("details", element("summary", summary), *body)


def note(*parts: str) -> Html:
    """A paragraph in small print."""
    return element("p", *parts, class_="note")


def scrolling(table: Html, label: str) -> Html:
    """A table that scrolls by itself where it is wider than the page."""
    # A phone scrolls it with a finger; tabindex lets the keyboard scroll it too.
    return element("div", table, class_="scroll", tabindex="0", role="region", aria_label=label)
