"""Sizes and times of smaller models in a study's folder, made up."""

from pathlib import Path

from tombola.profiling.model_cost import Cost, Costs


def cost(seconds: tuple[float, float], adds: tuple[int, int] = (1_400_000_000, 700_000_000)) -> Costs:
    variants = {
        name: Cost(
            parameters=1,
            disk=1,
            multiply_adds=number,
            seconds={1: second / 10, 32: second},
            processor_seconds={1: second / 10, 32: second},
            memory=None,
        )
        for name, second, number in zip(("dense", "shrunk"), seconds, adds, strict=True)
    }
    return Costs(variants, length=128, dtype="float32", device="cpu", threads=2)


def add(folder: Path, seed: int, method: str, disk: tuple[int, int], measured: Costs | None) -> None:
    home = folder / "rotten-tomatoes" / f"seed-{seed}"
    for place, size in ((home / "full", disk[0]), (home / method / "good" / "shrunk", disk[1])):
        place.mkdir(parents=True, exist_ok=True)
        (place / "model.safetensors").write_bytes(bytes(size))
    # Its bytes are none of the weights'.
    for other in ("evaluation", "step-10"):
        (home / "full" / f"{other}.safetensors").write_bytes(bytes(500_000))
    if measured is not None:
        measured.write(home / method / "good" / "cost.json")
