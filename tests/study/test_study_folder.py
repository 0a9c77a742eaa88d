"""Verdicts of a study's folder: whether models were trained comes from the study, not from what they predict."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from tombola.foundations.atomic_files import write_json
from tombola.metrics.scores import metric
from tombola.pruning.evaluation import Evaluation
from tombola.study.config import StudyConfig
from tombola.study.folder_layout import EVALUATION
from tombola.study.study_folder import StudyFolder
from tombola.tasks.base import Task


@pytest.mark.parametrize(("trained", "rule"), [(True, "seeds"), (False, "bootstrap")])
def test_seeds_whose_full_models_predict_alike(tmp_path: Path, trained: bool, rule: str) -> None:
    references = np.arange(200, dtype=np.int64) % 2
    layout = StudyFolder(tmp_path, StudyConfig.of("quick", methods=("weights",)))
    for seed in (0, 1):
        folder = layout.seed_folder(seed)
        for place in (folder.full, folder.ticket("weights", "good") / "retrained"):
            place.mkdir(parents=True)
            Evaluation(1.0, references, np.zeros(200, np.float32), None, 0.0).write(place / EVALUATION)
            write_json(place / "score.json", {})
    relative = SimpleNamespace(metric=metric("accuracy"))
    task = SimpleNamespace(trained=trained, references=lambda _: references, with_full_model=lambda _: relative)
    (verdict,) = layout.verdicts(cast(Task, task), "retrained")
    assert (verdict["rule"], verdict["n_seeds"], verdict["matches"]) == (rule, 2, True)
    assert "not trained again" not in str(verdict["sentence"])
