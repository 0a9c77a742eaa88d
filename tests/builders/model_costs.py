"""Sizes and times of smaller models in a study's folder, made up."""

from pathlib import Path
from typing import Any

from tombola.foundations.atomic_files import write_json


def cost(seconds: tuple[float, float], adds: tuple[int, int] = (1_400_000_000, 700_000_000)) -> dict[str, Any]:
    reached, promised = seconds[0] / seconds[1], adds[0] / adds[1]
    found: dict[str, Any] = {"length": 128, "dtype": "float32", "device": "cpu", "threads": 2}
    for name, second, number in (("dense", seconds[0], adds[0]), ("shrunk", seconds[1], adds[1])):
        found[name] = {"multiply_adds": number, "seconds": {"1": second / 10, "32": second}}
    found["shrunk"] |= {"theoretical_speedup": promised, "measured_speedup": reached, "share": reached / promised}
    return found


def add(folder: Path, seed: int, method: str, disk: tuple[int, int], measured: dict[str, Any] | None) -> None:
    home = folder / "rotten-tomatoes" / f"seed-{seed}"
    for place, size in ((home / "full", disk[0]), (home / method / "good" / "shrunk", disk[1])):
        place.mkdir(parents=True, exist_ok=True)
        (place / "model.safetensors").write_bytes(bytes(size))
    # Its bytes are none of the weights'.
    for other in ("evaluation", "step-10"):
        (home / "full" / f"{other}.safetensors").write_bytes(bytes(500_000))
    if measured is not None:
        write_json(home / method / "good" / "cost.json", measured)
