"""Faults of a built site that MkDocs does not see: loads from elsewhere, and links that lead nowhere."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {
    **dict.fromkeys(("script", "img", "iframe", "source", "video", "audio", "embed"), "src"),
    **dict.fromkeys(("link", "use", "image"), "href"),
    "object": "data",
}
_ELSEWHERE = re.compile(r"^(?:\w+:)?//")
_IN_STYLES = re.compile(r"""(?:url\(\s*|@import\s+)['"]?((?:\w+:)?//[^'")\s]+)""")


def faults(site: Path) -> Iterator[str]:
    """A line for each thing that a page loads from elsewhere, and for each link to what is not there."""
    pages = {path.relative_to(site).as_posix(): _read(path) for path in sorted(site.rglob("*.html"))}
    for name, page in pages.items():
        yield from (f"{name} loads {address} when it is opened" for address in page.loads)
        for link in page.links:
            target = urlsplit(link)
            if target.scheme or target.netloc or name == "404.html":
                continue
            path = (site / name).parent / unquote(target.path) if target.path else site / name
            there = path.resolve().relative_to(site.resolve()).as_posix()
            if not path.exists():
                yield f"{name} links to {link}, which is not there"
            elif target.fragment and there in pages and unquote(target.fragment) not in pages[there].places:
                yield f"{name} links to {link}: the page has no such place"
    for path in sorted(site.rglob("*.css")):
        for address in _IN_STYLES.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)} loads {address}"


def _read(path: Path) -> "_Page":
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.places = {"", "__skip"}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.places |= {given.get("id") or "", given.get("name") or ""}
        self.loads += _IN_STYLES.findall(given.get("style") or "")
        address = given.get(_LOADED.get(tag, "")) or ""
        if _ELSEWHERE.match(address) and given.get("rel") != "canonical":
            self.loads.append(address)
        elif address and given.get("rel") != "canonical":
            self.links.append(address)
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
