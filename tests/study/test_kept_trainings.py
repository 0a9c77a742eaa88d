"""A study that is killed within a training goes on within it, and leaves nothing of it behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from builders.small_study import read_rows, study_in, timeless
from tombola.training import kept_training
from tombola.training.kept_training import KeptTraining


class KilledError(Exception):
    pass


def deadly(step: Callable[[KeptTraining, int], None], left: list[int]) -> Callable[[KeptTraining, int], None]:
    """Keeping of a training, of a process that is killed after so many steps."""

    def wrapper(self: KeptTraining, done: int) -> None:
        step(self, done)
        left[0] -= 1
        if not left[0]:
            raise KilledError

    return wrapper


@pytest.mark.slow
def test_a_study_goes_on_within_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {
        "methods": ("weights",),
        "controls": (),
        "analyses": (),
        "rewind": "step-2",
        "epochs": 2,
    }
    expected = study_in(tmp_path / "undisturbed", **settings).run()
    monkeypatch.setattr(kept_training, "INTERVAL", 0.0)
    plain, taken = KeptTraining.step, list[int]()
    # In fine-tuning, past the step that is rewound to; then, six steps on, in retraining, which begins with the third.
    for kill in (5, 6 + 4):
        with monkeypatch.context() as patch:
            patch.setattr(KeptTraining, "step", deadly(plain, [kill]))
            with pytest.raises(KilledError):
                study_in(tmp_path / "killed", **settings).run()
        (state,) = tmp_path.rglob("state.safetensors")
        assert state.parent.name == (".full.training" if kill == 5 else ".retrained.training")
    monkeypatch.setattr(KeptTraining, "step", lambda self, done: taken.append(done))
    found = study_in(tmp_path / "killed", **settings).run()
    assert taken == [7, 8, 9, 10, 11]
    assert timeless(read_rows(found)) == timeless(read_rows(expected))
    assert not list(found.rglob("*.training"))
    models = [*expected.rglob("model.safetensors"), *expected.rglob("step-2.safetensors")]
    assert len(models) > 2
    for path in models:
        other = load_file(found / path.relative_to(expected))
        assert all(torch.equal(tensor, other[name]) for name, tensor in load_file(path).items()), path
