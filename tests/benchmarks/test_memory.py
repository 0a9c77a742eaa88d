"""Peak memory of a worker stays within its goals at every step of a study."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("model", "goal"), [("minilm", 1.5e9), ("smollm2", 3e9)])
def test_a_worker_needs_no_more_than_its_goal(model: str, goal: float, tmp_path: Path) -> None:
    file = tmp_path / "memory.jsonl"
    command = [sys.executable, str(ROOT / "benchmarks" / "memory.py"), "--models", model, "--json", str(file)]
    subprocess.run(command, check=True)
    _, *lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    assert len(lines) > 10
    assert {line["step"]: line["peak"] for line in lines if line["peak"] >= goal} == {}
