"""Presets of studies of denoisers: of digits trained from nothing, and of one's own images."""

from collections.abc import Mapping
from types import MappingProxyType

from tombola.tasks.regime import Preset

_DIGITS: Preset = MappingProxyType(
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
DIGITS: Mapping[str, Preset] = MappingProxyType(
    {
        "quick": {
            **_DIGITS,
            "model": "unet-16-32",
            "epochs": 53,
            "learning_rate": 2e-3,
            "sparsities": (0.5, 0.74, 0.83, 0.89, 0.95),
            # Every cut costs a training.
            "heads_step": 0.2,
            "neurons_step": 0.2,
        },
        "paper": {
            **_DIGITS,
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
IMAGES: Mapping[str, Preset] = MappingProxyType(
    {"quick": {**_FOLDER, "train_rows": 512, "dev_rows": 128, "epochs": 1}, "paper": _FOLDER}
)
"""`quick`: a sample of the images. What is drawn in 16 bits is another image."""
