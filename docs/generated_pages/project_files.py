"""Files outside `docs/` as parts of the site: those at the top of the project as pages, and links to files."""

from collections.abc import Mapping

from generated_pages.sources import ROOT

_FILES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}

_PLACES = {
    **{file: page for page, file in _FILES.items()},
    "src/tombola/__init__.py": "reference/tombola.md",
    "src/tombola/cli": "reference/command-line.md",
}
"""File or folder of the project → the page that is made from it."""


def pages() -> Mapping[str, str]:
    """Path and Markdown of each; their links to docs/, and to one another, are turned into links within the site."""
    return {page: _linked((ROOT / file).read_text(encoding="utf-8")) for page, file in _FILES.items()}


def _linked(markdown: str) -> str:
    for page, file in _FILES.items():
        for end in ("#", ")"):
            markdown = markdown.replace(f"]({file}{end}", f"]({page}{end}")
    return markdown.replace("](docs/", "](")


def within_site(markdown: str, page: str) -> str:
    """A page whose links to files of the project, which a reader of the repository follows, lead to their pages."""
    up = "../" * page.count("/")
    for file, place in _PLACES.items():
        for end in ("#", ")"):
            markdown = markdown.replace(f"]({up}../{file}{end}", f"]({up}{place}{end}")
    return markdown
