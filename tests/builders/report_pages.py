"""Pages of the report as a browser sees them: text, charts with their data, and tables."""

import json
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from tombola.tickets.kinds import TicketKind


class Reader(HTMLParser):
    """What a browser would see: elements, text outside scripts, and the content of every script."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif self._open != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    @property
    def specs(self) -> dict[str, dict[str, object]]:
        return {str(a["id"]): json.loads(text) for a, text in self.scripts if str(a.get("id")).startswith("spec-")}


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader


MIXED: tuple[TicketKind, ...] = ("heads+mlps", "heads+neurons", "weights")


def values(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All rows of data of a specification."""
    return [row for rows in spec["datasets"].values() for row in rows]


def named(page: Reader, name: str) -> Mapping[str, Any]:
    (key,) = (attributes["data-spec"] for _, attributes in page.elements if attributes.get("data-name") == name)
    return page.specs[str(key)]


def names(page: Reader) -> set[str | None]:
    return {attributes["data-name"] for _, attributes in page.elements if attributes.get("class") == "plot"}
