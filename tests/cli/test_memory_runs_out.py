"""Memory that runs out on a CPU, in one process and in a worker: one line, and the study goes on afterwards."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from builders import small_study
from tombola.foundations.errors import MemoryRanOutError, TombolaError, memory_errors

CHILD = """
import resource, sys
import torch
from tombola.cli.main import main
from tombola.tasks.fine_tuned.text_classification import TextTask

output = TextTask.output

def hungry(self, model, batch):
    torch.ones(2**36)
    return output(self, model, batch)

TextTask.output = hungry
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**32, size + 2**32))
sys.exit(main(sys.argv[1:]))
"""


def starved(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=small_study.environment(),
        check=False,
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a bound on memory")
def test_a_study_that_ran_out_of_memory_says_so_in_one_line_and_goes_on(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"methods": "weights", "controls": "none", "epochs": 1, "device": "cpu"}
    arguments = ("study", *small_study.flags(**settings), "--out", tmp_path, "--workers", 1)
    done = starved(*arguments)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("tombola: ")]
    assert line.startswith("tombola: failed: stopped at the step 'fine-tune the full model', finished ones are kept: ")
    assert "--batch-size" in line
    assert "Traceback" not in done.stderr
    assert small_study.tombola(*arguments).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a bound on memory")
def test_a_score_that_ran_out_of_memory_is_one_line() -> None:
    full = small_study.finished().seed_folder(0).full
    done = starved("score", *small_study.flags("score", model=full, device="cpu"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("tombola: failed: memory ran out (")
    assert "Traceback" not in done.stderr


def test_whatever_says_that_memory_ran_out_is_one_line_but_for_a_gpu() -> None:
    torches = RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: 9 bytes")
    for error in (torches, MemoryError(), OSError(12, "Cannot allocate memory"), RuntimeError("std::bad_alloc")):
        with (
            pytest.raises(MemoryRanOutError, match=r"^work: memory ran out \([^\n]+\); take"),
            memory_errors("work"),
        ):
            raise error
    with pytest.raises(MemoryRanOutError), memory_errors():
        np.ones(2**58, np.int8)
    with pytest.raises(torch.OutOfMemoryError), memory_errors():
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(TombolaError, match=r"^mine$"), memory_errors():
        raise TombolaError("mine")
