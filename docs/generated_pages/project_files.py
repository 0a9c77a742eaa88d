"""Pages of files that stand at the top of the project: how to contribute, what changed."""

from collections.abc import Mapping

from generated_pages.sources import ROOT

_FILES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}


def pages() -> Mapping[str, str]:
    """Path and Markdown of each; their links to docs/ are turned into links within the site."""
    return {page: (ROOT / file).read_text(encoding="utf-8").replace("](docs/", "](") for page, file in _FILES.items()}
