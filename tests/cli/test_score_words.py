"""Scores that are printed say of what metric they are, which direction is better where it is not plain, how sure."""

import subprocess
import sys
from pathlib import Path

import pytest

from builders.fake_study import fake_study
from tombola.cli.given_ticket import score_line
from tombola.report.terminal import results_table

ENTRY = {"score_low": 0.25, "score_high": 0.75, "n": 96, "chance": 0.125}


def test_a_line_of_a_score() -> None:
    found = score_line({"metric": "matthews_correlation", "higher_is_better": True, "score": 0.5, **ENTRY})
    assert found == "Matthews correlation 0.5000 (95 % interval 0.2500 to 0.7500, n = 96; chance 0.1250)"
    found = score_line({"metric": "frechet_distance", "higher_is_better": False, "score": 0.5, **ENTRY})
    assert found.startswith("Fréchet distance 0.5000 (lower is better; 95 % interval 0.2500 to 0.7500, n = 96; ")


def test_a_table_of_distances(tmp_path: Path) -> None:
    folder = fake_study(tmp_path)
    assert str(results_table(folder, higher_is_better=False).title).startswith(
        "accuracy (lower is better) with its 95 %"
    )
    assert str(results_table(folder).title).startswith("accuracy with its 95 %")


@pytest.mark.exhaustive
def test_what_other_libraries_miss_is_not_said() -> None:
    program = (
        "from tombola.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass\n"
        "from diffusers import DDPMPipeline, StableDiffusionPipeline"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
