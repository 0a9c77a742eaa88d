"""Commands under `accelerate launch`: processes that retrain together, of which one writes and speaks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from builders.small_study import flags
from tombola.cli import main
from tombola.study.folder_layout import SeedFolder

LAUNCH = (sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1")


def launched(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*LAUNCH, "--mixed_precision", "no", "-m", "tombola", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_two_processes_retrain_and_one_writes(
    seed_folder: SeedFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["retrain", *flags("retrain", epochs=1), "--ticket", str(seed_folder.ticket("weights", "good")), "--json"]
    done = launched(*given, "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert main([*given, "--out", str(tmp_path / "one")]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert found.keys() == expected.keys()
    assert found["n"] == expected["n"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    names = [sorted(str(path.relative_to(home)) for path in home.rglob("*")) for home in tmp_path.iterdir()]
    assert names[0] == names[1]
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[name] == 0, tensor == 0) for name, tensor in two.items())


@pytest.mark.slow
def test_other_commands_are_one_process(tmp_path: Path) -> None:
    done = launched("study", *flags(), "--out", tmp_path)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("tombola")]
    assert lines == ["tombola: error: study is one process; start it without the launcher"]
    assert not list(tmp_path.iterdir())
