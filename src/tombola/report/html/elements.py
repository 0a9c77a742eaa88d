"""HTML that is always escaped, unless it is known to be HTML already, and the parts that a page is made of."""

import html
from collections.abc import Sequence

from tombola.foundations.errors import visible


class Html(str):
    """A piece of finished HTML."""

    __slots__ = ()


def escape(text: str) -> Html:
    """Text as HTML, with control characters as Python writes them; HTML stays what it is."""
    if isinstance(text, Html):
        return text
    return Html(html.escape(visible(text)))


def join(*pieces: str) -> Html:
    """Pieces one after another, each escaped unless it is HTML."""
    return Html("".join(escape(piece) for piece in pieces))


def element(name: str, *children: str, **attributes: str) -> Html:
    """An element; in attribute names a trailing underscore is dropped and the others become hyphens."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"' for key, value in attributes.items()
    )
    # An image has no content, and so no closing tag.
    return Html(f"<{name}{written}>" if name == "img" else f"<{name}{written}>{join(*children)}</{name}>")


def section(title: str, *body: str, lead: str = "") -> Html:
    """A section of the page with its heading, and a word on how to read it."""
    return element("section", *_head("h2", title, lead), *body)


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
    return element("figure", *_head("h3", title, lead), table)


def _head(name: str, title: str, lead: str) -> list[Html]:
    return [element(name, title)] + ([element("p", lead, class_="lead")] if lead else [])


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
