"""Representations under tickets: similarity to the full model's (CKA), and linear probes for the label."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tombola.analysis.locality.cka import FEWEST, Alignment, alignment
from tombola.analysis.locality.hidden_states import HiddenStates, hidden_states
from tombola.analysis.locality.probing import probe
from tombola.foundations.errors import TombolaError
from tombola.foundations.json_dataclasses import JsonRecord
from tombola.foundations.precision import Precision
from tombola.foundations.progress import SILENT, Progress
from tombola.metrics import statistics
from tombola.subnetworks.subnetwork import Subnetwork
from tombola.tasks.base import Predictions, Task

INPUTS, TRAINING = 500, 1000
"""Dev examples whose representations are compared and probed, and training examples that probes are fitted to."""
FULL = "full"


@dataclass(frozen=True)
class Layer:
    """Similarity and probe of one layer of one model.

    Attributes:
        cka, cka_low, cka_high: debiased linear CKA with the full model's layer, see `cka.alignment`.
        probe, probe_low, probe_high: the task's score of a linear probe, with its bootstrap interval over examples.
        control: score of a probe that was fitted to shuffled labels: what the probe reads from nothing.
    """

    cka: float
    cka_low: float
    cka_high: float
    probe: float
    probe_low: float
    probe_high: float
    control: float


@dataclass(frozen=True)
class Representations(JsonRecord):
    """The layers of several models, of the same examples.

    Attributes:
        metric: of the probes.
        chance: its score without looking at the input.
        examples, training: dev examples, and training examples of the probes.
        models: name → its layers: the first layer's input, then every layer's output. `full` comes first.
    """

    metric: str
    chance: float
    examples: int
    training: int
    models: Mapping[str, tuple[Layer, ...]]


def representations_cost(models: int, inputs: int = INPUTS, training: int = TRAINING) -> float:
    """Expected cost of so many models, in forward passes of one example; fits of the probes included."""
    return models * 2.0 * (inputs + training)


def representations(
    full: Subnetwork,
    others: Mapping[str, Callable[[], Subnetwork]],
    task: Task,
    *,
    inputs: int | None = INPUTS,
    training: int | None = TRAINING,
    seed: int = 0,
    batch_size: int = 64,
    precision: Precision = "fp32",
    resamples: int = statistics.RESAMPLES,
    progress: Progress = SILENT,
) -> Representations:
    """Compare the hidden states of several models with the full model's, and probe all of them for the label.

    Args:
        full: the full model.
        others: name → what makes a subnetwork with as many layers; one after the other, so that memory holds two.
        task: gives data, metric and labels.
        inputs: dev examples, at random; None for all.
        training: training examples of the probes, at random; None for all.
        seed: of both samples, of the shuffled labels and of the bootstrap.
        batch_size, precision: of the passes.
        resamples: of the bootstrap.
        progress: counts examples.

    Raises:
        TombolaError: as `hidden_states`; or there are fewer than five dev examples.
    """

    def states(subnetwork: Subnetwork, split: str, sample: int | None) -> HiddenStates:
        return hidden_states(
            subnetwork,
            task,
            split,
            sample=sample,
            seed=seed,
            batch_size=batch_size,
            precision=precision,
            progress=progress,
        )

    if (found := min(task.size("dev"), inputs or task.size("dev"))) < FEWEST:
        raise TombolaError(f"{found} dev examples have no geometry to compare; take {FEWEST} or more")
    reference = states(full, "dev", inputs)
    references = task.references("dev")[reference.indices]
    models = {}
    makers: dict[str, Callable[[], Subnetwork]] = {FULL: lambda: full, **others}
    for name, make in makers.items():
        subnetwork = make()
        dev = reference if name == FULL else states(subnetwork, "dev", inputs)
        train = states(subnetwork, "train", training)
        labels = task.references("train")[train.indices]
        shuffled = np.random.default_rng(seed).permutation(labels)
        models[name] = tuple(
            _layer(
                alignment(reference.layers[at], dev.layers[at]),
                probe(train.layers[at], labels, dev.layers[at]),
                probe(train.layers[at], shuffled, dev.layers[at]),
                references,
                task,
                seed,
                resamples,
            )
            for at in range(len(dev.layers))
        )
    return Representations(
        metric=task.metric.name,
        chance=task.metric.chance(references),
        examples=len(references),
        training=len(labels),
        models=models,
    )


def _layer(
    aligned: Alignment,
    read_off: Predictions,
    from_nothing: Predictions,
    references: Predictions,
    task: Task,
    seed: int,
    resamples: int,
) -> Layer:
    low, high = statistics.interval(task.metric, read_off, references, seed=seed, resamples=resamples)
    return Layer(
        cka=aligned.value,
        cka_low=aligned.low,
        cka_high=aligned.high,
        probe=task.metric.score(read_off, references),
        probe_low=low,
        probe_high=high,
        control=task.metric.score(from_nothing, references),
    )
