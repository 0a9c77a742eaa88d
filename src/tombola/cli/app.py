"""`tombola app`: pages in a browser on this machine, to switch heads off and see what a model does without."""

import argparse
import importlib.util
from pathlib import Path
from typing import Any

from tombola.cli.command import Command, say
from tombola.foundations.errors import TombolaError


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a number to 65535, not {text!r}")
    return int(text)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    study = "folder of a study; without it the first page lists those in runs/, and offers a small ready one"
    parser.add_argument("study", type=Path, nargs="?", metavar="STUDY", help=study)
    parser.add_argument("--window", action="store_true", help="show it in a window of its own, not in the browser")
    parser.add_argument("--port", type=_port, default=0, metavar="N", help="port of 127.0.0.1 (a free one)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    out = "folder that tickets are saved to (tickets)"
    parser.add_argument("--out", type=Path, default=Path("tickets"), metavar="DIR", help=out)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    if importlib.util.find_spec("nicegui") is None:
        raise TombolaError("the app needs more packages: pip install 'tombola[app]'")
    from tombola.study.study_record import read_record

    if options.study is not None:
        read_record(options.study, whole=True)
    from tombola.app.app_state import AppState
    from tombola.app.server import serve

    found: dict[str, Any] = {}

    def opened(address: str) -> None:
        found["address"] = address
        say(f"Tombola is open at {address} (Ctrl-C ends it)", stderr=options.json)

    state = AppState(options.study, options.out)
    serve(state, opened, port=options.port, browser=not options.no_browser, window=options.window)
    return found


COMMAND = Command("app", "pages in a browser: switch heads off and see what is lost", _add_arguments, _run)
