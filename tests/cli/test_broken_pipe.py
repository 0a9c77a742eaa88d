"""Output that nobody reads to its end, as of `tombola … | head -1`: a quiet end, as of other Unix tools."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FAKES = """
import sys
from rich.console import Console
from tombola.cli import main
from tombola.cli.main import COMMANDS
from tombola.cli.command import Command

def run(options):
    if not options.json:
        Console(markup=False).print("a line of a table\\n" * 9999)
    print("a line\\n" * 9999, file=sys.stderr if options.aside else sys.stdout)
    return {"numbers": [*range(9999)]}

add = lambda parser: parser.add_argument("--aside", action="store_true")
COMMANDS["fake"] = Command("fake", "prints", add, run)
sys.exit(main(sys.argv[1:]))
"""
REAL = "import sys; from tombola.cli import main; sys.exit(main(sys.argv[1:]))"


def unread(program: str, *arguments: str, folder: Path) -> tuple[int, bytes]:
    """Exit code, and what is written aside, of a program whose output ends in a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    aside = subprocess.PIPE if "--aside" not in arguments else writing
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=folder, stdout=writing, stderr=aside, check=False
    )
    os.close(writing)
    return done.returncode, done.stderr or b""


@pytest.mark.parametrize(
    "arguments", [["fake"], ["fake", "--json"], ["fake", "--aside"], ["fake", "--json", "--aside"]]
)
def test_whatever_a_command_prints(arguments: list[str], tmp_path: Path) -> None:
    assert unread(FAKES, *arguments, folder=tmp_path) == (141, b"")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["study", "--help"], ["study", "--schema"], ["study", "--schema", "--json"], ["--version"]],
)
def test_what_needs_no_model(arguments: list[str], tmp_path: Path) -> None:
    code, aside = unread(REAL, *arguments, folder=tmp_path)
    # argparse itself takes no notice.
    assert (code in (0, 141), aside) == (True, b"")
