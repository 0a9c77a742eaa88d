"""The page of the command line knows every command and flag that `--help` shows, and other pages name no others."""

import re
from pathlib import Path

import pytest

from generated_pages import command_line
from tombola.cli import main
from tombola.cli.main import COMMANDS
from tombola.cli.main import command_line as parser
from tombola.foundations.errors import TombolaError
from tombola.study.config import StudyConfig

PAGE = command_line.page()
ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
NEEDS = {"prune": ("--out", "x"), "compare": ("--out", "x", "a", "b"), "memory": ("a",)}
"""Arguments that a command cannot do without."""
OTHERS = {
    *("--check", "--print-completion"),
    # Of Slurm, Dask and TensorBoard.
    "--logdir",
    *("--array", "--gres", "--cpus-per-task", "--wrap"),
    *("--protocol", "--scheduler-file", "--no-nanny", "--nthreads", "--memory-limit"),
    # Of accelerate, as far as they go: the rest of a name stands behind an underscore.
    *("--num", "--use", "--fsdp", "--nproc"),
}
"""Flags of scripts beside the pages and of other programs, and of no command."""
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_stands_in_the_section_of_its_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    shown = set(FLAG.findall(capsys.readouterr().out))
    section = PAGE.split(f"{{ #tombola-{name} }}")[1].split("\n## ")[0]
    assert {"--help", "--json"} <= shown
    assert shown <= set(FLAG.findall(section))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_name_only_flags_that_there_are(path: Path) -> None:
    assert set(FLAG.findall(path.read_text(encoding="utf-8"))) - set(FLAG.findall(PAGE)) - OTHERS == set()


def test_the_changelog_tells_of_flags_that_are_new_and_of_flags_that_are_gone() -> None:
    table = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("| **Files** |")[0]
    lines = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    now = set(FLAG.findall(PAGE))
    assert len(lines) > 15
    for before, after in lines:
        assert set(FLAG.findall(after)) <= now
        # `prune --keep` became `prune --density`; only `--analyses` and `--method` stand on both sides.
        assert set(FLAG.findall(before)) & now <= {"--analyses"}
        for flag in set(FLAG.findall(before)) - now:
            # No beginning of a new one will do: `--warmup` is not `--warmup-ratio`.
            command = next((name for name in NEEDS if name in before), "study")
            found = parser(command).parse_known_args([command, *NEEDS.get(command, ()), flag, "1"])
            assert flag in found[1]
            with pytest.raises(TombolaError, match="unknown setting"):
                StudyConfig.of("quick", **{flag.removeprefix("--").replace("-", "_"): 1})
