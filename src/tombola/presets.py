"""Presets: settings that go together, for each regime."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

LANGUAGE_TASKS = ("understanding",)
"""Tasks of language models, which are judged zero-shot."""
IMAGE_FOLDER = "images"
"""The task of a denoiser and a folder of one's own images."""

Preset = Mapping[str, Any]

TEXT_PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "quick": {"train_rows": 6000, "dev_rows": 2000, "epochs": 1, "learning_rate": 1e-4},
        "paper": {"epochs": 3, "learning_rate": 2e-5},
    }
)
"""`quick`: minutes on two cores. `paper`: all rows, three epochs (Prasanna et al. 2020, appendix)."""

_LANGUAGE: Preset = MappingProxyType(
    {"model": "smollm2", "analyses": (), "refine": False, "until": 0.05, "epochs": 1, "learning_rate": 1e-4}
)
LANGUAGE_PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "quick": {
            **_LANGUAGE,
            "prunings": ("heads", "mlps", "weights", "wanda"),
            "controls": ("random",),
            "dev_rows": 80,
            "text_tokens": 3000,
            "heads_step": 0.15,
            "mlps_step": 2,
            "until": 0.4,
            "sparsities": (0.2, 0.3, 0.4, 0.5, 0.6),
            "calibration_rows": 16,
            "calibration_length": 512,
            "importance_rows": 32,
        },
        "paper": {
            **_LANGUAGE,
            "prunings": (
                *("heads", "mlps", "neurons", "kv-groups", "blocks", "weights", "magnitude-matrix", "wanda"),
                *("sparsegpt", "random-weights", "magnitude-2of4", "wanda-2of4", "sparsegpt-2of4"),
            ),
            "sparsities": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
        },
    }
)
"""`quick`: a quarter of an hour on two cores with SmolLM2-135M. `paper`: every way to prune, all examples, and the
field's 128 x 2,048 tokens of calibration text."""


IMAGE_FOLDER_PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "quick": {"precision": "fp32", "train_rows": 512, "dev_rows": 128, "eval_batch_size": 16},
        "paper": {"precision": "fp32", "eval_batch_size": 16},
    }
)
"""`quick`: a sample of the images. What is drawn in 16 bits is another image."""


def presets(task: str | None) -> Mapping[str, Preset]:
    """The presets of a task's regime."""
    if task == IMAGE_FOLDER:
        return IMAGE_FOLDER_PRESETS
    return LANGUAGE_PRESETS if task in LANGUAGE_TASKS else TEXT_PRESETS
