"""Folder beside a result that keeps the training of its step."""

from pathlib import Path

from tombola.study.step_record import StepRecord
from tombola.training.kept_training import TrainingFolder


def training_folder(result: Path) -> TrainingFolder:
    """Folder that keeps a training of the step of a result, beside it, while it is made from what its record says."""
    record = StepRecord.of(result)
    return TrainingFolder(result.with_name(f".{result.name}.training"), "" if record is None else record.identity)
