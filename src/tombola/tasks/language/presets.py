"""Presets of studies of language models."""

from collections.abc import Mapping
from types import MappingProxyType

from tombola.tasks.regime import Preset

_SHARED: Preset = MappingProxyType(
    {"model": "smollm2", "analyses": (), "refine": False, "curve_until": 0.05, "epochs": 1, "learning_rate": 1e-4}
)
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "quick": {
            **_SHARED,
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
            **_SHARED,
            "analyses": ("text-generation",),
            "methods": (
                *("heads", "mlps", "neurons", "kv-groups", "blocks", "weights", "magnitude-matrix", "wanda"),
                *("sparsegpt", "random-weights", "magnitude-2of4", "wanda-2of4", "sparsegpt-2of4"),
            ),
            "sparsities": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
        },
    }
)
"""`quick`: a quarter of an hour on two cores with SmolLM2-135M. `paper`: every method, all examples, and the field's
128 x 2,048 tokens of calibration text."""
