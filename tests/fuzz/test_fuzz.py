"""A short run of the fuzzer on every reader, from the corpus of the long ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from builders.readers import FUZZED

HERE = Path(__file__).parent


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FUZZED)
def test_no_input_is_more_than_one_line(name: str) -> None:
    pytest.importorskip("atheris")
    command = [sys.executable, str(HERE / "run.py"), "--runs", "2000", "--seed", "1", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env={**os.environ})
    found = json.loads(done.stdout)
    assert "failed" not in found, found["failed"]
    assert found["executions"] >= 2000
