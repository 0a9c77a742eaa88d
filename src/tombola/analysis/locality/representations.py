"""Representations under tickets: similarity to the full model's (CKA), and linear probes for the label."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tombola.analysis.forward_passes import SampleOptions
from tombola.analysis.locality.cka import FEWEST, alignment
from tombola.analysis.locality.hidden_states import hidden_states
from tombola.analysis.locality.probing import probe
from tombola.foundations.errors import TombolaError
from tombola.foundations.json_dataclasses import JsonRecord
from tombola.metrics import statistics
from tombola.subnetworks.subnetwork import Subnetwork
from tombola.tasks.base import Task

INPUTS, TRAINING = 500, 1000
"""Dev examples whose representations are compared and probed, and training examples that probes are fitted to."""
SOME = SampleOptions(sample=INPUTS)
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
    options: SampleOptions = SOME,
    *,
    training: int | None = TRAINING,
    resamples: int = statistics.RESAMPLES,
) -> Representations:
    """Compare the hidden states of several models with the full model's, and probe all of them for the label.

    Args:
        full: the full model.
        others: name → what makes a subnetwork with as many layers; one after the other, so that memory holds two.
        task: gives data, metric and labels.
        options: of the passes, with the split that is compared and probed and a sample of it; the seed is also that of
            the training examples, of the shuffled labels and of the bootstrap.
        training: training examples of the probes, at random; None for all.
        resamples: of the bootstrap.

    Raises:
        TombolaError: as `hidden_states`; or there are fewer than five examples.
    """
    split, seed = options.split, options.seed
    if (found := min(task.size(split), options.sample or task.size(split))) < FEWEST:
        raise TombolaError(f"{found} {split} examples have no geometry to compare; take {FEWEST} or more")
    reference = hidden_states(full, task, options)
    references = task.references(split)[reference.indices]
    models = {}
    makers: dict[str, Callable[[], Subnetwork]] = {FULL: lambda: full, **others}
    for name, make in makers.items():
        subnetwork = make()
        judged = reference if name == FULL else hidden_states(subnetwork, task, options)
        train = hidden_states(subnetwork, task, replace(options, split="train", sample=training))
        labels = task.references("train")[train.indices]
        shuffled = np.random.default_rng(seed).permutation(labels)
        layers = []
        for whole, layer, fitted in zip(reference.layers, judged.layers, train.layers, strict=True):
            read_off, from_nothing = probe(fitted, labels, layer), probe(fitted, shuffled, layer)
            ends = statistics.interval(task.metric, read_off, references, seed=seed, resamples=resamples)
            score = task.metric.score(read_off, references)
            aligned = alignment(whole, layer)
            control = task.metric.score(from_nothing, references)
            layers.append(Layer(aligned.value, aligned.low, aligned.high, score, *ends, control))
        models[name] = tuple(layers)
    return Representations(task.metric.name, task.metric.chance(references), len(references), len(labels), models)
