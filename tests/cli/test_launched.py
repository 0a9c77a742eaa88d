"""Commands under `torchrun`, as `accelerate launch` starts them too: one of the processes writes and speaks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from builders.small_study import flags
from tombola.cli import main
from tombola.study.folder_layout import SeedFolder

LAUNCH = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "tombola")


def launched(*arguments: object) -> subprocess.CompletedProcess[str]:
    # Threads that wait for others would take the time of those.
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = [*LAUNCH, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.exhaustive
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


@pytest.mark.parametrize("rank", [0, 1])
def test_other_commands_are_one_process(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"WORLD_SIZE": 2, "RANK": rank, "LOCAL_RANK": rank}.items():
        monkeypatch.setenv(name, str(value))
    assert main(["study", *flags(), "--out", str(tmp_path)]) == 2
    said = "tombola: error: study is one process; start it without the launcher\n"
    assert capsys.readouterr() == ("", "" if rank else said)
    assert not list(tmp_path.iterdir())
