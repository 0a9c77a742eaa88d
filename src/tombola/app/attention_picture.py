"""Picture of an attention map: tokens attend to tokens, drawn as SVG in the page's own colours, and said in words."""

import numpy as np
from numpy.typing import NDArray

from tombola.report.html.elements import Html, element, join

_SHOWN = 32
"""Tokens that are drawn; of a longer text the first ones."""
_LETTERS = 10
_CELL, _NAMES, _RIGHT = 16, 84, 44
"""Points of a cell, of the names beside and above, and of what the last name above needs to its right."""


def attention_picture(map: NDArray[np.float32], tokens: tuple[str, ...], name: str, *, off: bool) -> Html:
    """Picture of a head's map [tokens, tokens] with a caption; `off` says that nobody hears what the head finds."""
    shown = min(len(tokens), _SHOWN)
    words = [one if len(one) <= _LETTERS else f"{one[: _LETTERS - 1]}…" for one in tokens[:shown]]
    size = _NAMES + _CELL * shown
    parts = [
        element("rect", class_="cell", x=_at(key), y=_at(query), width=str(_CELL - 1), height=str(_CELL - 1),
                style=f"--shade: {100 * float(map[query, key]) ** 0.5:.0f}%")
        for query in range(shown)
        for key in range(shown)
    ]  # fmt: skip
    for place, word in enumerate(words):
        middle = _NAMES + _CELL * place + _CELL / 2
        parts.append(element("text", word, x=str(_NAMES - 6), y=f"{middle + 4}", text_anchor="end"))
        turned = f"rotate(-60 {middle} {_NAMES - 6})"
        parts.append(element("text", word, x=f"{middle}", y=str(_NAMES - 6), transform=turned))
    label = f"Attention map of {name}; rows attend to columns"
    picture = element(
        "svg",
        *parts,
        viewBox=f"0 0 {size + _RIGHT} {size}",
        role="img",
        aria_label=label,
        style=f"max-width: {1.6 * size:.0f}px",
    )
    return join(picture, element("figcaption", _in_words(map, tokens, off=off)))


def _in_words(map: NDArray[np.float32], tokens: tuple[str, ...], *, off: bool) -> str:
    """Strongest lines of a map."""
    received = map.mean(0)
    first = int(received.argmax())
    most = f"Most goes to “{tokens[first].strip()}”: {100 * received[first]:.0f} % of all attention."
    text = f"Rows attend to columns. {most}"
    more = f" The first {_SHOWN} of {len(tokens)} tokens are drawn." if len(tokens) > _SHOWN else ""
    return f"{text}{more}{' The head is off: it still looks, and nothing of what it finds is used.' if off else ''}"


def _at(place: int) -> str:
    return str(_NAMES + _CELL * place)
