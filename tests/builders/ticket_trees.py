"""Trees of NumPy masks, as the paper's authors published theirs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def save(folder: Path, heads: Any, mlps: Any) -> Path:
    """One seed's two masks."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "head_mask.npy", heads)
    np.save(folder / "mlp_mask.npy", mlps)
    return folder


def tree(
    folder: Path, seeds: Mapping[str, Sequence[str]], layers: int = 3, heads: int = 4, share: float = 0.6
) -> dict[tuple[str, str], tuple[Any, Any]]:
    """Random masks of floats for each task's seeds."""
    generator = np.random.default_rng(0)
    made = {}
    for task, names in seeds.items():
        for seed in names:
            masks = [(generator.random(shape) < share).astype(np.float64) for shape in ((layers, heads), (layers,))]
            save(folder / task / seed, *masks)
            made[task, seed] = (masks[0], masks[1])
    return made
