"""Memory that runs out on a CPU, in a study and in a command: one line, and the study goes on afterwards."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from builders import small_study
from tombola.cli import main
from tombola.foundations.errors import MemoryRanOutError, TombolaError, memory_errors
from tombola.tasks.base import Batch, Output
from tombola.tasks.fine_tuned.text_classification import TextTask


@contextlib.contextmanager
def starved() -> Iterator[None]:
    """Texts ask for more memory than a process can have an address for; PyTorch's allocator is what says so."""
    output = TextTask.output

    def hungry(self: TextTask, model: nn.Module, batch: Batch) -> Output:
        torch.ones(2**46)
        return output(self, model, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TextTask, "output", hungry)
        yield


@pytest.mark.slow
def test_a_study_that_ran_out_of_memory_says_so_in_one_line_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"methods": "weights", "controls": "none", "epochs": 1, "device": "cpu"}
    arguments = ["study", *small_study.flags(**settings), "--out", str(tmp_path), "--workers", "1"]
    with starved():
        assert main(arguments) == 1
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if line.startswith("tombola: ")]
    assert line.startswith("tombola: failed: stopped at the step 'fine-tune the full model', finished ones are kept: ")
    assert "--batch-size" in line
    assert "Traceback" not in said
    assert main(arguments) == 0


@pytest.mark.slow
def test_a_score_that_ran_out_of_memory_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    full = small_study.finished().seed_folder(0).full
    capsys.readouterr()
    with starved():
        assert main(["score", *small_study.flags("score", model=full, device="cpu")]) == 1
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("tombola: failed: memory ran out (")
    assert "Traceback" not in said


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
