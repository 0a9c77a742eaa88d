"""HTML that is always escaped: text is, unless it is known to be HTML already."""

import html


class Html(str):
    """A piece of finished HTML."""

    __slots__ = ()


def escape(text: str) -> Html:
    """Text as HTML; HTML stays what it is."""
    return text if isinstance(text, Html) else Html(html.escape(text))


def join(*pieces: str) -> Html:
    """Pieces one after another, each escaped unless it is HTML."""
    return Html("".join(escape(piece) for piece in pieces))


_VOID = ("img",)
"""Elements without content, which have no closing tag."""


def element(name: str, *children: str, **attributes: str) -> Html:
    """An element; in attribute names a trailing underscore is dropped and the others become hyphens."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"' for key, value in attributes.items()
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*children)}</{name}>")
