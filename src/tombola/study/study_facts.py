"""Facts of a study in `study.json`: what is studied, and with what."""

import functools
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Self

import psutil
import torch

from tombola.architectures.anatomy import Anatomy, Places
from tombola.foundations.json_dataclasses import JsonRecord


@dataclass(frozen=True)
class MatrixFacts:
    """Prunable matrix: its role, the number of its layer, and its shape."""

    role: str
    layer: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ArchitectureFacts:
    """Architecture of the model.

    Attributes:
        signature, model_type: as in `Anatomy`.
        layers, heads: number of layers, and of heads in each.
        neurons: of each MLP; None where they differ.
        layer_names, attention_names, residual_names: of the rows of masks, see `Places`.
        matrices: the prunable ones.
        without_sites: attentions, MLPs and residual blocks that have no sites, and why, see `Anatomy.without_sites`.
    """

    signature: str
    model_type: str
    layers: int
    heads: int
    neurons: int | None = None
    layer_names: tuple[str, ...] = ()
    attention_names: tuple[str, ...] = ()
    residual_names: tuple[str, ...] = ()
    matrices: tuple[MatrixFacts, ...] = ()
    without_sites: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, anatomy: Anatomy) -> Self:
        """Architecture of a model by its anatomy."""
        places, neurons = Places.of(anatomy), {row.neurons for row in anatomy.feed_forwards}
        return cls(
            signature=anatomy.signature,
            model_type=anatomy.model_type,
            layers=len(places.layers),
            heads=anatomy.heads[1],
            neurons=neurons.pop() if len(neurons) == 1 else None,
            layer_names=tuple(places.layers),
            attention_names=tuple(places.attentions),
            residual_names=tuple(places.residuals),
            matrices=tuple(MatrixFacts(one.role, one.layer, tuple(one.shape)) for one in anatomy.matrices),
            without_sites={one.name: one.reason for one in anatomy.without_sites},
        )


@dataclass(frozen=True)
class ScoreFloor:
    """Scores that no model is judged better than: of images, what real ones reach against real ones.

    Attributes:
        title: whose scores they are.
        note: the same in a sentence.
        scores: metric → mean and standard deviation.
    """

    title: str
    note: str
    scores: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class TaskFacts:
    """Facts that every task has; those of one regime stand beside them in `StudyFacts.task`.

    Attributes:
        name, title: of the task.
        metric: of the score.
        search_metric: that searches go by, where it is another one.
        glue: the name that GLUE gives the task; None for another task.
        higher_is_better: whether a larger score is a better one.
        classes: their names; None where there are none.
        rows: split → number of examples.
        floor: what real examples reach; None where none are scored.
    """

    name: str
    title: str
    metric: str
    search_metric: str | None = None
    glue: str | None = None
    higher_is_better: bool = True
    classes: tuple[str, ...] | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    floor: ScoreFloor | None = None


@dataclass(frozen=True)
class StudyFacts(JsonRecord):
    """Facts about a study, as `study.json` has them.

    Attributes:
        name, hash: of the study; a single step has no hash.
        command: the commands that it was run with so far, a line each.
        config: its settings.
        threshold: share of the full score that a search keeps.
        chance: what guessing scores, where the threshold is of what lies over it.
        seeds: asked for or finished.
        versions: package → version.
        machine: where it ran last.
        architecture: of the model.
        task: facts that the task tells.
        seconds: of each kind of step, and in total.
    """

    name: str
    command: str
    config: Mapping[str, object]
    seeds: tuple[int, ...]
    versions: Mapping[str, str]
    machine: Mapping[str, object]
    architecture: ArchitectureFacts
    task: Mapping[str, object]
    seconds: Mapping[str, float]
    hash: str = ""
    threshold: float = 0.9
    chance: float | None = None


def versions() -> dict[str, str]:
    """Versions of the packages that results depend on."""
    packages = ("tombola", "torch", "transformers")
    return {name: version(name) for name in packages} | {"python": platform.python_version()}


def machine_facts(device: torch.device, workers: int) -> dict[str, object]:
    """Processor, cores, workers, memory and device."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "workers": workers,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
    }


def computed_on(device: torch.device) -> str:
    """Device, processor and version of PyTorch of this process, on which the last digits of a result depend."""
    named = machine_facts(device, 1)
    where = named["processor"] if device.type == "cpu" else f"{named['device']}, {named['processor']}"
    return f"{where}, PyTorch {version('torch')}"


@functools.cache
def _processor() -> str:
    """The processor's own name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
