"""The page of the command line knows every command and every flag that `--help` shows."""

import re

import pytest

from generated_pages import command_line
from tombola.cli import main
from tombola.cli.parser import COMMANDS

PAGE = command_line.page()
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_stands_in_the_section_of_its_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    shown = set(FLAG.findall(capsys.readouterr().out))
    section = PAGE.split(f"{{ #tombola-{name} }}")[1].split("\n## ")[0]
    assert {"--help", "--json"} <= shown
    assert shown <= set(FLAG.findall(section))
