"""A short run of the fuzzer on every reader, from the corpus of the long ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from builders.readers import FUZZED

HERE = Path(__file__).parent
RUNS = 500


@pytest.mark.exhaustive
def test_no_input_is_more_than_one_line() -> None:
    pytest.importorskip("atheris")
    command = [sys.executable, str(HERE / "run.py"), "--runs", str(RUNS * len(FUZZED)), "--seed", "1"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one for one in found if "failed" in one] == []
    assert [one["reader"] for one in found] == list(FUZZED)
    # The corpus runs too, beside the changes.
    assert all(one["executions"] >= RUNS for one in found)
