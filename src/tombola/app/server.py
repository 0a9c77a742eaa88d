"""Server of the app: one port of this machine, a browser or a window that shows it, until Ctrl-C ends it."""

import shutil
import socket
import subprocess
import threading
import webbrowser
from collections.abc import Callable

import uvicorn

from tombola.app.app_state import AppState
from tombola.app.guard import TOKEN, Guard
from tombola.app.pages import register
from tombola.foundations.atomic_files import temporary_folder
from tombola.foundations.errors import TombolaError

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "microsoft-edge", "brave-browser")
"""Browsers that show a page in a window of its own, without an address or tabs."""


def serve(
    state: AppState, opened: Callable[[str], None], *, port: int = 0, browser: bool = True, window: bool = False
) -> None:
    """Serve the app until Ctrl-C, or until its window is closed.

    Args:
        state: what it shows.
        opened: is given the address, with its token, once the app can be asked.
        port: of 127.0.0.1; 0 for a free one.
        browser: open the address in the user's browser.
        window: show it in a window of its own instead, which ends the app when it is closed.

    Raises:
        TombolaError: the port is taken, or there is nothing that shows a window.
    """
    program = _window_program() if window else None
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError as error:
            why = f"port {port} cannot be used ({error.strerror})"
            raise TombolaError(f"{why}; give another one with --port") from error
        port = listening.getsockname()[1]
        guard = Guard(register(state), port)
        address = f"http://127.0.0.1:{port}/?{TOKEN}={guard.token}"
        server = uvicorn.Server(uvicorn.Config(guard, log_level="error", access_log=False, timeout_graceful_shutdown=1))

        def show() -> None:
            while not server.started:
                if ended.wait(0.02):
                    return
            opened(address)
            if program is not None:
                _show_window(program, address)
                server.should_exit = True
            elif browser:
                webbrowser.open(address)

        ended = threading.Event()
        threading.Thread(target=show, daemon=True).start()
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt:
            pass
        finally:
            ended.set()


def _window_program() -> str:
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        raise TombolaError(f"--window needs one of {', '.join(_BROWSERS)}; without it the app opens in your browser")
    return found


def _show_window(program: str, address: str) -> None:
    """Show the address in a window of its own, with a profile that is gone afterwards, and wait until it is closed."""
    with temporary_folder("tombola-window-") as profile:
        options = [f"--app={address}", f"--user-data-dir={profile}", "--no-first-run", "--window-size=1180,900"]
        subprocess.run([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
