"""The check of a built site finds what it is for."""

from pathlib import Path

import pytest

from generated_pages.built_site import faults


def page(body: str) -> str:
    return f"<!doctype html><html><head><title>t</title></head><body>{body}</body></html>"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<script src="https://cdn.example.org/x.js"></script>', "loads https://cdn.example.org/x.js"),
        ('<img src="//example.org/x.png">', "loads //example.org/x.png"),
        ('<p style="background: url(https://example.org/x.png)">', "loads https://example.org/x.png"),
        ('<link rel="stylesheet" href="https://fonts.example.org/css">', "loads https://fonts.example.org/css"),
        ('<a href="gone.html">x</a>', "links to gone.html"),
        ('<link rel="icon" href="images/gone.svg">', "links to images/gone.svg"),
        ('<a href="other.html#gone">x</a>', "links to other.html#gone"),
        ('<a href="#gone">x</a>', "links to #gone"),
        ('<a href="other.html#here">x</a><a href="https://example.org">x</a><img src="other.html">', None),
        ('<link rel="canonical" href="https://example.org/">', None),
    ],
)
def test_what_a_page_loads_and_links_to(body: str, fault: str | None, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(page(body))
    (tmp_path / "other.html").write_text(page('<h1 id="here">x</h1>'))
    found = list(faults(tmp_path))
    assert len(found) == (fault is not None)
    assert all(fault is not None and fault in line for line in found)


def test_what_a_stylesheet_loads(tmp_path: Path) -> None:
    (tmp_path / "site.css").write_text("@import 'https://example.org/a.css'; p { background: url(images/b.png) }")
    assert list(faults(tmp_path)) == ["site.css loads https://example.org/a.css"]
