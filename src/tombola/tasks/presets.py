"""Presets: settings that go together. `regimes.py` says whose they are."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

Preset = Mapping[str, Any]

TEXT_PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "quick": {"train_rows": 6000, "dev_rows": 2000, "epochs": 1, "learning_rate": 1e-4},
        "paper": {"epochs": 3, "learning_rate": 2e-5},
    }
)
"""`quick`: minutes on two cores. `paper`: all rows, three epochs (Prasanna et al. 2020, appendix)."""

_LANGUAGE: Preset = MappingProxyType(
    {"model": "smollm2", "analyses": (), "refine": False, "curve_until": 0.05, "epochs": 1, "learning_rate": 1e-4}
)
LANGUAGE_PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "quick": {
            **_LANGUAGE,
            "methods": ("heads", "mlps", "weights", "wanda"),
            "controls": ("random",),
            "dev_rows": 80,
            "text_tokens": 3000,
            "heads_step": 0.15,
            "mlps_step": 2,
            "curve_until": 0.4,
            "sparsities": (0.2, 0.3, 0.4, 0.5, 0.6),
            "calibration_samples": 16,
            "sequence_length": 512,
            "importance_samples": 32,
        },
        "paper": {
            **_LANGUAGE,
            "analyses": ("text-generation",),
            "methods": (
                *("heads", "mlps", "neurons", "kv-groups", "blocks", "weights", "magnitude-matrix", "wanda"),
                *("sparsegpt", "random-weights", "magnitude-2of4", "wanda-2of4", "sparsegpt-2of4"),
            ),
            "sparsities": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
        },
    }
)
"""`quick`: a quarter of an hour on two cores with SmolLM2-135M. `paper`: every pruning method, all examples, and the
field's 128 x 2,048 tokens of calibration text."""

_IMAGES: Preset = MappingProxyType(
    {
        "methods": ("heads+channels", "weights"),
        "iterative": True,
        "rewind": "init",
        "refine": False,
        "curve_until": 0.05,
        "batch_size": 64,
        "warmup_ratio": 0.07,
        "precision": "fp32",
        "analyses": ("survivors", "random-curve"),
    }
)
DIGITS_PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "quick": {
            **_IMAGES,
            "model": "unet-16-32",
            "epochs": 53,
            "learning_rate": 2e-3,
            "sparsities": (0.5, 0.74, 0.83, 0.89, 0.95),
            # Every cut costs a training.
            "heads_step": 0.2,
            "neurons_step": 0.2,
        },
        "paper": {
            **_IMAGES,
            "model": "unet-32-64",
            "epochs": 79,
            "learning_rate": 1.5e-3,
            # A fifth of the rest each time, as Frankle and Carbin do.
            "sparsities": tuple(round(1 - 0.8**rounds, 3) for rounds in range(1, 15)),
        },
    }
)
"""`quick`: ten minutes on two cores, a thousand steps a training. `paper`: the larger network for 1,500 steps, up to a
sparsity of 95.6 %."""
_FOLDER: Preset = MappingProxyType(
    {
        "methods": ("heads+channels", "weights"),
        "precision": "fp32",
        "eval_batch_size": 16,
        "batch_size": 16,
        "learning_rate": 1e-4,
        "analyses": ("survivors",),
    }
)
IMAGE_FOLDER_PRESETS: Mapping[str, Preset] = MappingProxyType(
    {"quick": {**_FOLDER, "train_rows": 512, "dev_rows": 128, "epochs": 1}, "paper": _FOLDER}
)
"""`quick`: a sample of the images. What is drawn in 16 bits is another image."""
