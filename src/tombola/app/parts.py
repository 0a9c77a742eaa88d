"""Parts of a page: plain HTML elements with names that a screen reader says, and lines that tell what went wrong."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import ParamSpec, TypeVar

from nicegui import ui

from tombola.foundations.errors import TombolaError
from tombola.report.html.elements import element, escape, join

P = ParamSpec("P")
T = TypeVar("T")
Handler = Callable[[], Awaitable[None] | None]
Changed = Callable[[str], Awaitable[None] | None]


def html(content: str = "", tag: str = "div", **attributes: str) -> ui.html:
    """An element of escaped text, or of finished HTML; attributes are written as for `report.html.elements.element`."""
    made = ui.html(escape(content), sanitize=False, tag=tag)
    return set_attributes(made, **attributes)


def box(tag: str = "div", **attributes: str) -> ui.element:
    """An element that others are put into by `with`."""
    return set_attributes(ui.element(tag), **attributes)


E = TypeVar("E", bound=ui.element)


def set_attributes(made: E, **attributes: str) -> E:
    """Set attributes of an element, and send them to the browser; the element itself."""
    for name, value in attributes.items():
        if name == "class_":
            made.classes(replace=value)
        elif name == "style":
            made.style(replace=value)
        else:
            made.props[name.rstrip("_").replace("_", "-")] = value
    made.update()
    return made


def show(made: ui.html, content: str) -> None:
    """Show other text, or finished HTML, in an element."""
    made.set_content(escape(content))


def button(label: str, on_click: Handler, **attributes: str) -> ui.html:
    """A button."""
    made = html(label, "button", type="button", **attributes)
    made.on("click", on_click, args=[])
    return made


def choice(label: str, options: Mapping[str, str], on_change: Changed, chosen: str = "") -> ui.html:
    """A list to choose from, under its label; `options` are values with what they are called."""
    with box("label", class_="field"):
        html(label, "span")
        made = html(_options(options, chosen), "select")
        made.on("change", lambda event: on_change(str(event.args)), js_handler="(e) => emit(e.target.value)")
    return made


def set_choice(made: ui.html, options: Mapping[str, str], chosen: str = "") -> None:
    """Offer other options in a list to choose from."""
    show(made, _options(options, chosen))


def _options(options: Mapping[str, str], chosen: str) -> str:
    return join(
        *(
            element("option", text, value=value, **({"selected": ""} if value == chosen else {}))
            for value, text in options.items()
        )
    )


def field(label: str, on_input: Changed, *, tag: str = "input", **attributes: str) -> ui.element:
    """A field to type into, under its label; what it holds is read as it is typed, and set by `fill`."""
    with box("label", class_="field wide"):
        html(label, "span")
        made = box(tag, **attributes)
        # A quarter of a second after the last key: a model is not asked about half a word.
        wait = "(e) => { const t = e.target; clearTimeout(t.soon); t.soon = setTimeout(() => emit(t.value), 250); }"
        made.on("input", lambda event: on_input(str(event.args)), js_handler=wait)
    return made


def fill(made: ui.element, text: str) -> None:
    """Put a text into a field. The browser alone knows what is typed, so that no answer overwrites it."""
    ui.run_javascript(f"getHtmlElement({made.id}).value = {json.dumps(text)}")


async def in_thread(line: ui.html, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Do what takes long beside the server; where a user can mend what is wrong, the line says so, and None returns."""
    try:
        found = await asyncio.to_thread(work, *args, **kwargs)
    except TombolaError as error:
        show(line, str(error))
        return None
    show(line, "")
    return found


def error_line() -> ui.html:
    """A line for what is wrong and what to do, which a screen reader says at once; empty where nothing is."""
    return html("", "p", role="alert", class_="error")


def percent(share: float) -> str:
    """A share as a whole percentage, which is 0 or 100 only where it is exactly that."""
    return f"{100 * share:.0f} %" if share in (0, 1) or 0.005 <= share < 0.995 else ("<1 %" if share < 0.5 else ">99 %")
