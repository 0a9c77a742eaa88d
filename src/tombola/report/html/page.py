"""The frame of every page: one file that loads nothing, in light and dark."""

import base64
import hashlib
from collections.abc import Iterable
from importlib import resources
from string import Template

from tombola.report.charts import theme
from tombola.report.charts.vega import bundle
from tombola.report.html.elements import Html, element, escape, join
from tombola.report.html.figure_registry import script_json


def document(title: str, header: Html, main: Html, footer: Html) -> str:
    """A whole page: one file that loads nothing."""
    library, script = bundle(), _own("page.js")
    return Template(_own("page.html")).substitute(
        title=escape(title),
        policy=_policy(library, script),
        css=_own("page.css"),
        header=header,
        main=main,
        footer=footer,
        themes=script_json({"light": theme.LIGHT, "dark": theme.DARK}),
        bundle=library,
        script=script,
    )


def _own(name: str) -> str:
    return resources.files("tombola.report.html").joinpath(name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    """A content security policy: these scripts may run, and nothing may be loaded, whatever the page contains.

    Vega compiles its expressions with `Function`, hence `unsafe-eval`; it styles its elements, hence the styles.
    """
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts)
    return f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"


def heading(title: Html, facts: Iterable[str]) -> Html:
    """The head of a page: what it is about, and what one must know first."""
    return join(
        element("p", "Tombola · lottery tickets", class_="brand"),
        element("h1", title),
        element("p", " · ".join(facts), class_="facts"),
    )


def ending(made: str) -> Html:
    """The foot of a page: what made it."""
    return element("p", f"{made} This page is one file: it loads nothing and works without a network.")
