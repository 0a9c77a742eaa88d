"""Completion of commands and flags: what bash makes of the script, and that no other call pays for it."""

import shutil
import subprocess
import sys

import pytest

from tombola.cli import main

WORDS = """
source /dev/stdin
COMP_WORDS=({words}) COMP_CWORD={last}
$(complete -p tombola | sed 's/.*-F \\([^ ]*\\).*/\\1/')
echo "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("tombola st", "study"),
        ("tombola study --sample", "--sample-config"),
        ("tombola prune --densi", "--density"),
        ("tombola study --precision bf", "bf16"),
        ("tombola prune --method wanda-2", "wanda-2of4"),
        # Folders, where one may be given: flags of settings, of commands, and what stands alone.
        ("tombola study --model /dev/ful", "/dev/full"),
        ("tombola prune --out /dev/ful", "/dev/full"),
        ("tombola report /dev/ful", "/dev/full"),
    ],
)
def test_bash_completes_commands_and_flags(typed: str, completed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", "bash"])
    assert ended.value.code == 0
    script = capsys.readouterr().out
    words = typed.split()
    program = WORDS.format(words=typed, last=len(words) - 1)
    done = subprocess.run(["bash", "-c", program], input=script, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [completed]


def test_no_other_call_pays_for_it() -> None:
    program = (
        "import sys; from tombola.cli import main\ntry: main(['--help'])\n"
        "except SystemExit: assert 'shtab' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
