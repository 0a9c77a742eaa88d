"""The app as a process of its own, and visitors in a headless Chromium; skipped where there is none."""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from builders.small_study import command, environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

pytest.importorskip("nicegui")
pytest.importorskip("playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCREENSHOTS = "TOMBOLA_SCREENSHOTS"
"""Variable that names the folder where the pictures of the documentation go: `docs/images`."""


@dataclass(frozen=True)
class RunningApp:
    """A running app: its address with the token, and its process."""

    address: str
    process: subprocess.Popen[str]

    @property
    def home(self) -> str:
        """The address without the token."""
        return self.address.partition("?")[0]


@contextlib.contextmanager
def running_app(*arguments: object, cwd: Path, **more: str) -> Iterator[RunningApp]:
    """Start `tombola app` as a user does, and end it with its block."""
    given = command("app", *arguments, "--no-browser")
    process = subprocess.Popen(given, stdout=subprocess.PIPE, text=True, cwd=cwd, env=environment(**more))
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        yield RunningApp(found[0], process)
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Visitor:
    """A visitor with a browser session of its own.

    Attributes:
        page: of Playwright.
        outside: requests that left this machine.
        errors: what the console says is wrong.
    """

    page: "Page"
    outside: list[str]
    errors: list[str]


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """A browser, as long as a module's tests run: Playwright keeps an event loop, beside which no other can run."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # In a container there is no sandbox for it, and pages load nothing from anywhere.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def visitor(browser: "Browser", width: int = 1180, height: int = 1000, *, dark: bool = False) -> Iterator[Visitor]:
    """A visitor who was never here, with a window of this size."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light")
    context.set_default_timeout(60_000)
    page, outside, errors = context.new_page(), list[str](), list[str]()

    def requested(request: "Request") -> None:
        if not request.url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
            outside.append(request.url)

    page.on("request", requested)
    page.on("websocket", lambda socket: None if "//127.0.0.1:" in socket.url else outside.append(socket.url))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield Visitor(page, outside, errors)
    context.close()


def picture(page: "Page", name: str) -> None:
    """Take a picture for the documentation, where one is asked for."""
    if folder := os.environ.get(SCREENSHOTS):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
