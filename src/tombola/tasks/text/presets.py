"""Presets of studies of encoders."""

from collections.abc import Mapping
from types import MappingProxyType

from tombola.tasks.regime import Preset

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "quick": {"train_rows": 6000, "dev_rows": 2000, "epochs": 1, "learning_rate": 1e-4},
        "paper": {"epochs": 3, "learning_rate": 2e-5},
    }
)
"""`quick`: minutes on two cores. `paper`: all rows, three epochs (Prasanna et al. 2020, appendix)."""
