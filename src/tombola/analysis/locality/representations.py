"""Representations under tickets: similarity to the full model's (CKA), and linear probes for the label."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tombola.analysis.array_record import Floats
from tombola.analysis.forward_passes import SampleOptions
from tombola.analysis.locality.hidden_states import hidden_states
from tombola.foundations.errors import TombolaError
from tombola.foundations.json_dataclasses import JsonRecord
from tombola.metrics import statistics
from tombola.metrics.resampling import LEVEL, RESAMPLES
from tombola.subnetworks.subnetwork import Subnetwork
from tombola.tasks.base import Predictions, Task

INPUTS, TRAINING = 500, 1000
"""Dev examples whose representations are compared and probed, and training examples that probes are fitted to."""
SOME = SampleOptions(sample=INPUTS)
FULL = "full"

BLOCKS = 20
"""Parts of the examples that the jackknife leaves out one after the other."""
FEWEST = 5
"""Examples: the jackknife leaves one out, and the unbiased estimate needs four."""
STRENGTHS = np.logspace(-1, 5, 13)
"""Strengths of the penalty that a probe chooses from, for standardised features."""


@dataclass(frozen=True)
class Layer:
    """Similarity and probe of one layer of one model.

    Attributes:
        cka, cka_low, cka_high: debiased linear CKA with the full model's layer, see `alignment`.
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


def representations_cost(models: int) -> float:
    """Expected cost of so many models, in forward passes of one example; fits of the probes included."""
    return models * 2.0 * (INPUTS + TRAINING)


def representations(
    full: Subnetwork,
    others: Mapping[str, Callable[[], Subnetwork]],
    task: Task,
    options: SampleOptions = SOME,
    *,
    training: int | None = TRAINING,
    resamples: int = RESAMPLES,
) -> Representations:
    """Compare the hidden states of several models with the full model's, and probe all of them for the label.

    Args:
        others: name → what makes a subnetwork with as many layers; one after the other, so that memory holds two.
        options: of the passes, with the split that is compared and probed and a sample of it; the seed is also that of
            the training examples, of the shuffled labels and of the bootstrap.
        training: training examples of the probes, at random; None for all.

    Raises:
        TombolaError: as `hidden_states`; there are fewer than five examples, or they have several labels each.
    """
    split, seed = options.split, options.seed
    if (found := min(task.size(split), options.sample or task.size(split))) < FEWEST:
        raise TombolaError(f"{found} {split} examples have no geometry to compare; take {FEWEST} or more")
    reference = hidden_states(full, task, options)
    references = task.references(split)[reference.indices]
    if references.ndim > 1:
        raise TombolaError(
            f"representations are probed for one label an example, and those of {task.title} have several"
        )
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
            control = task.metric.score(from_nothing, references)
            layers.append(Layer(*alignment(whole, layer), score, *ends, control))
        models[name] = tuple(layers)
    return Representations(task.metric.name, task.metric.chance(references), len(references), len(labels), models)


def alignment(x: NDArray[np.floating], y: NDArray[np.floating]) -> tuple[float, float, float]:
    """Debiased linear CKA (Kornblith et al. 2019) of representations [examples, width], with its 95 % interval.

    It is 1 for representations that differ by rotation and scale, 0 for unrelated ones. The plain estimate grows with
    the width over the number of examples, whatever the representations; the debiased one uses the unbiased HSIC of Song
    et al. (2012, eq. 5), as Nguyen et al. (2021) do, and may be a little below 0. A representation that never varies is
    aligned with nothing: 0.

    A bootstrap would draw examples twice, whose similarity to themselves is no estimate of anything; the jackknife
    leaves out one of 20 parts of the examples at a time (of as many as there are, if fewer), and its error is as well
    known as that of so many values: Student's t.

    Raises:
        ValueError: the representations are of different examples, or of fewer than five.
    """
    if len(x) != len(y) or len(x) < FEWEST:
        raise ValueError(f"representations of {len(x)} and {len(y)} examples; take the same {FEWEST} or more")
    k, m = _gram(x), _gram(y)
    value = _cka(k, m)
    blocks = np.arange(len(k)) % min(BLOCKS, len(k))
    kept = [np.flatnonzero(blocks != block) for block in np.unique(blocks)]
    left = np.array([_cka(k[np.ix_(part, part)], m[np.ix_(part, part)]) for part in kept])
    error = np.sqrt((len(left) - 1) / len(left) * ((left - left.mean()) ** 2).sum())
    reach = float(t.ppf((1 + LEVEL) / 2, len(left) - 1) * error)
    return value, value - reach, value + reach


def _gram(x: NDArray[np.floating]) -> Floats:
    # Centred first: the estimate does not change, and the products lose no digits to a common offset.
    centred = np.asarray(x, dtype=np.float64) - np.mean(x, axis=0, dtype=np.float64)
    return np.asarray(centred @ centred.T)


def _cka(k: Floats, m: Floats) -> float:
    scale = _unbiased_hsic(k, k) * _unbiased_hsic(m, m)
    return _unbiased_hsic(k, m) / float(np.sqrt(scale)) if scale > 0 else 0.0


def _unbiased_hsic(k: Floats, m: Floats) -> float:
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    found = (k * m).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k.sum(0) @ m.sum(0))
    return float(found / (n * (n - 3)))


def probe(train: NDArray[np.floating], labels: Predictions, dev: NDArray[np.floating]) -> Predictions:
    """Predictions of a ridge classifier (for values of a ridge regression) fitted to a representation.

    Features are standardised; the penalty is chosen by leave-one-out cross-validation on the training examples, which
    for ridge has a closed form, so that nothing depends on chance or on how long a fit runs.

    Args:
        train: [examples, width].
        labels: [examples]: int64 class ids, or float64 values.
        dev: [examples, width], to predict.
    """
    if len(np.unique(labels)) < 2:
        return np.full(len(dev), labels[0])
    model = RidgeCV(STRENGTHS) if np.issubdtype(labels.dtype, np.floating) else RidgeClassifierCV(STRENGTHS)
    pipeline = make_pipeline(StandardScaler(), model)
    pipeline.fit(np.asarray(train, dtype=np.float64), labels)
    return np.asarray(pipeline.predict(np.asarray(dev, dtype=np.float64)).astype(labels.dtype))
