"""Pages as a real browser shows them, and a mark that shows wherever text becomes markup or code."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from builders.report_pages import Reader, read

CODE = """'+('OW'+'NED')+'\\"+('OW'+'NED')+\\"</script><b class=planted>"""
"""Ends strings of JavaScript and Vega, and elements of HTML; what runs of it shows as one word."""
TEXT = "</script><b class=planted>"
"""End of the mark, as a reader sees it where it is text."""
RAN = "OWNED"
"""What the mark says where it ran."""
MARKUP = '<b class="planted"'
"""What the mark is in a document where it became an element."""


@dataclass(frozen=True)
class Shown:
    """A page in a browser: its document once the scripts have run, and what the console says."""

    document: str
    console: tuple[str, ...]

    @property
    def charts(self) -> int:
        """Charts that are drawn."""
        return self.document.count('class="marks"')


def shown(page: Path, profile: Path) -> Shown:
    """Open a page in a headless Chromium, with a profile of its own; the test is skipped where there is none."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("needs Chromium")
    # In a container there is no sandbox for it, and the page loads nothing from anywhere.
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--enable-logging=stderr"]
    command = [browser, *options, "--virtual-time-budget=20000", "--dump-dom", page.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return Shown(found.stdout, tuple(line for line in found.stderr.splitlines() if "CONSOLE" in line))


def check_planted(page: Path, profile: Path) -> int:
    """Look at a page whose texts carry the mark: all of it stayed text, every chart is drawn; number of charts."""
    found, charts = shown(page, profile), len(read(page).specs)
    assert found.charts == charts
    assert RAN not in found.document
    assert MARKUP not in found.document
    assert [line for line in found.console if "WARN" not in line] == []
    seen = Reader()
    seen.feed(found.document)
    assert TEXT in seen.words
    return charts
