"""Hook that MkDocs calls while it builds the site: adds pages that are made from the code, checks what was built."""

import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from generated_pages import api_reference, command_line, project_files, rooms
from generated_pages.built_site import faults

LOG = logging.getLogger("mkdocs.hooks.tombola")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the API reference into the navigation."""
    _fill(config.nav, "Python", [*api_reference.pages()])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code."""
    for path, text in _pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Draw the house, and turn links to files of the project into links to their pages."""
    page_path = page.file.src_uri
    return project_files.within_site(rooms.fill(markdown) if page_path == "house.md" else markdown, page_path)


def on_post_build(config: MkDocsConfig) -> None:
    """Warn, and so fail, of links that lead nowhere and of pages that load anything from elsewhere."""
    for line in faults(Path(config.site_dir)):
        LOG.warning(line)


@cache
def _pages() -> Mapping[str, str]:
    return {**api_reference.pages(), "reference/command-line.md": command_line.page(), **project_files.pages()}


def _fill(nav: list[Any] | None, title: str, pages: list[str]) -> None:
    """Append pages to the section of a title, wherever in the navigation it stands."""
    for entry in nav or ():
        if isinstance(entry, dict):
            for name, inside in entry.items():
                if name == title:
                    inside.extend(pages)
                elif isinstance(inside, list):
                    _fill(inside, title, pages)
