"""Metrics: how predictions are scored, which direction is better, and what guessing would reach.

Every metric is vectorised over leading axes, because the bootstrap scores thousands of resamples at once.
Ties and degenerate cases follow scikit-learn (Matthews, F1); constant predictions correlate 0 with anything
instead of NaN.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tombola.foundations.errors import TombolaError, check_choice, one_line

Array = NDArray[Any]
Kind = Literal["classes", "binary", "ranking", "values", "abilities", "features", "answers"]
MetricFunction = Callable[[Array, Array], float]
"""Score of references [n] and predictions [n], in this order, as scikit-learn's are."""
NOTHING = -100
"""Mark of no answer, which pads predictions and references [examples, answers] of kind `answers`."""


@dataclass(frozen=True)
class _Called:
    """Metric by a function of references and predictions, with the name that errors have."""

    function: MetricFunction
    name: str

    def one(self, predictions: Array, references: Array) -> float:
        """Score of predictions [n]."""
        with one_line(f"the metric {self.name} fails", "give a function of references and predictions"):
            return float(self.function(references, predictions))

    def compute(self, predictions: Array, references: Array) -> Array:
        """Scores [...] of predictions [..., n]."""
        p, r = np.broadcast_arrays(predictions, references)
        n = p.shape[-1]
        scores = [self.one(*pair) for pair in zip(p.reshape(-1, n), r.reshape(-1, n), strict=True)]
        return np.array(scores, dtype=np.float64).reshape(p.shape[:-1])

    def chance(self, references: Array, *, kind: str, higher_is_better: bool) -> float:
        """Best score of a constant."""
        if kind == "values":
            return self.one(np.full(len(references), np.mean(references)), references)
        return _best_constant(self.compute, references, higher_is_better=higher_is_better)


def _of_sums(
    counts: Callable[[Array, Array], Array], of_sums: Callable[[Array], Array], predictions: Array, references: Array
) -> Array:
    return of_sums(counts(predictions, references).sum(-2))


@dataclass(frozen=True)
class Metric:
    """A score of predictions against references.

    Attributes:
        name: as in results and on the command line.
        higher_is_better: False for an error.
        compute: predictions and references, class ids (int) or values (float), broadcastable to [..., n] ->
            float64 scores [...].
        chance: references [n] -> the best score of a guess that does not look at the inputs.
        kind: what it scores: `classes`, `binary` (two classes, of which 1 is positive), `ranking` (probabilities of
            class 1 of two), `values`, or `abilities` of a language model; `features` of generated against those of real
            images, where an example is a vector: predictions and references are [..., n, features] then; `answers`,
            several an example, int64 [..., n, answers] with `NOTHING` where an example has fewer.
        biased: it is worse the fewer different examples there are, and so on every resample: intervals make up for it.
        scale: of a mean over examples, or a share of what they hold, the worst and the best that one can be; None of
            other scores.
        counts: predictions and references [..., n, answers] -> [..., n, k], of whose sums over examples the score is
            `of_sums`: resamples are drawn of these, which is the same and takes a fraction of the time. None of others.
        of_sums: such sums [..., k] -> scores [...].
        alike: of several answers an example, predictions [n, answers] -> whether they are the same of every example.
    """

    name: str
    higher_is_better: bool
    kind: Kind
    compute: Callable[[Array, Array], Array]
    chance: Callable[[Array], float]
    biased: bool = False
    scale: tuple[float, float] | None = None
    counts: Callable[[Array, Array], Array] | None = None
    of_sums: Callable[[Array], Array] | None = None
    alike: Callable[[Array], bool] | None = None

    def __repr__(self) -> str:
        return f"Metric({self.name}, {'higher' if self.higher_is_better else 'lower'} is better)"

    @classmethod
    def of_counts(
        cls,
        name: str,
        counts: Callable[[Array, Array], Array],
        of_sums: Callable[[Array], Array],
        chance: Callable[[Array], float],
        alike: Callable[[Array], bool] | None = None,
    ) -> "Metric":
        """Metric of several answers an example, from 0 to 1, by what is counted of each example, see `counts`."""
        compute = partial(_of_sums, counts, of_sums)
        answers: dict[str, Any] = {"counts": counts, "of_sums": of_sums, "alike": alike or _same_everywhere}
        return cls(name, True, "answers", compute, chance, scale=(0.0, 1.0), **answers)

    @classmethod
    def of(
        cls,
        function: MetricFunction,
        *,
        name: str | None = None,
        higher_is_better: bool = True,
        kind: Literal["classes", "values"] = "classes",
    ) -> Self:
        """Metric of a function `(references, predictions) -> score`, scikit-learn's `f1_score` for example.

        It is called for one resample after the other, where Tombola's own score all at once. Guessing is the best
        constant: of the classes that there are, or the mean value.
        """
        check_choice("kind of metric", kind, ("classes", "values"))
        called = _Called(function, str(name or getattr(function, "__name__", type(function).__name__)))
        chance = partial(called.chance, kind=kind, higher_is_better=higher_is_better)
        return cls(called.name, higher_is_better, kind, called.compute, chance)

    @property
    def axes(self) -> int:
        """Number of axes of one model's predictions: examples, and features or answers of each."""
        return 2 if self.kind in ("features", "answers") else 1

    def check(self, *, regression: bool, classes: int) -> None:
        """Raise a TombolaError unless the metric fits a regression, or a classification with so many classes."""
        kinds = ["values"] if regression else ["classes", "binary", "ranking"] if classes == 2 else ["classes"]
        if self.kind not in kinds:
            what = "values" if regression else f"{classes} classes"
            known = [one.name for one in METRICS.values() if one.kind in kinds]
            raise TombolaError(f"{self.name} does not score {what}; choose {', '.join(known)}")

    def score(self, predictions: ArrayLike, references: ArrayLike) -> float:
        """The score of predictions [n] against references [n], of features [n, features]; a ValueError for others."""
        p, r = np.asarray(predictions), np.asarray(references)
        if p.shape != r.shape or p.ndim != self.axes or p.size == 0:
            axes = "[n]" if self.axes == 1 else "[n, features]"
            raise ValueError(f"predictions {p.shape} and references {r.shape} must both be {axes} with n > 0")
        return float(self.compute(p, r))

    def bound(self, full: float, threshold: float, chance: float | None = None) -> float:
        """Worst score that still counts as holding `threshold` of the full model's, see `bound` of this module."""
        return bound(full, threshold, chance, higher_is_better=self.higher_is_better)

    def holds(self, score: float, bound: float) -> bool:
        """True if `score` is at least as good as `bound`; NaN never is."""
        return bool(score >= bound if self.higher_is_better else score <= bound)

    def beats(self, low: float, high: float, chance: float) -> bool:
        """True if a score's interval lies wholly on the better side of `chance`."""
        return bool(low > chance if self.higher_is_better else high < chance)


def bound(full: float, threshold: float, chance: float | None = None, *, higher_is_better: bool) -> float:
    """Worst score that still counts as holding `threshold` (in (0, 1]) of the full model's score.

    Higher is better: threshold x full; lower is better: full / threshold. For a negative full score the two change
    places, so that the bound is never better than the score itself. With `chance`, what guessing scores, the threshold
    is of the distance between the two.

    Raises:
        TombolaError: the threshold is not in (0, 1], or the full model is not better than chance.
    """
    if not 0 < threshold <= 1:
        raise TombolaError(f"threshold {threshold} makes no sense; give a share of the full score above 0, at most 1")
    if chance is not None:
        if full == chance or (full > chance) != higher_is_better:
            raise TombolaError(
                f"the full model scores {full:.4g} and guessing {chance:.4g}, so that there is nothing over chance; "
                "train it for longer, or leave over_chance out"
            )
        return chance + threshold * (full - chance)
    return full * threshold if (full >= 0) == higher_is_better else full / threshold


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Quotient, 0 where the denominator is 0."""
    numerator = np.asarray(numerator, dtype=np.float64)
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)


def _accuracy(predictions: Array, references: Array) -> Array:
    return np.asarray(np.mean(predictions == references, axis=-1))


def _f1(predictions: Array, references: Array) -> Array:
    predicted, actual = np.broadcast_arrays(predictions == 1, references == 1)
    hits = np.count_nonzero(predicted & actual, axis=-1)
    return _ratio(np.asarray(2 * hits), np.count_nonzero(predicted, axis=-1) + np.count_nonzero(actual, axis=-1))


def _matthews(predictions: Array, references: Array) -> Array:
    """Matthews correlation of any number of classes: Gorodkin's R_K (2004), as in scikit-learn."""
    p, r = np.broadcast_arrays(predictions, references)
    n = p.shape[-1]
    # Float64 holds these sums exactly as long as n² < 2^53, where int64 would overflow in their product.
    agreement = np.count_nonzero(p == r, axis=-1) * float(n)
    labels = range(int(min(p.min(), r.min())), int(max(p.max(), r.max())) + 1)
    # [2, labels, ...]
    counts = np.array([[np.count_nonzero(one == label, axis=-1) for label in labels] for one in (p, r)], np.float64)
    spread = np.sqrt(n * float(n) - (counts * counts).sum(1)).prod(0)
    return _ratio(agreement - counts.prod(0).sum(0), spread)


def _hits(predictions: Array, references: Array) -> tuple[Array, Array, Array]:
    """Counts [labels, ...] of each label: given where it is right, given, and right."""
    p, r = np.broadcast_arrays(predictions, references)
    labels = range(int(min(p.min(), r.min())), int(max(p.max(), r.max())) + 1)
    found = [((p == label), (r == label)) for label in labels]
    hits, given, right = (
        np.array([np.count_nonzero(one, axis=-1) for one in ones], np.float64)
        for ones in ([a & b for a, b in found], [a for a, _ in found], [b for _, b in found])
    )
    return hits, given, right


def _f1_macro(predictions: Array, references: Array) -> Array:
    hits, given, right = _hits(predictions, references)
    return _ratio(_ratio(2 * hits, given + right).sum(0), np.count_nonzero(given + right, axis=0))


def _f1_weighted(predictions: Array, references: Array) -> Array:
    hits, given, right = _hits(predictions, references)
    return np.asarray((_ratio(2 * hits, given + right) * right).sum(0) / right.sum(0))


def _balanced_accuracy(predictions: Array, references: Array) -> Array:
    hits, _, right = _hits(predictions, references)
    return _ratio(_ratio(hits, right).sum(0), np.count_nonzero(right, axis=0))


def _roc_auc(predictions: Array, references: Array) -> Array:
    """Share of pairs of a positive and another example whose order is right, ties for half: Mann and Whitney's U."""
    p, r = np.broadcast_arrays(np.asarray(predictions, dtype=np.float64), np.asarray(references) == 1)
    positive = np.count_nonzero(r, axis=-1).astype(np.float64)
    pairs = positive * (r.shape[-1] - positive)
    from scipy.stats import rankdata

    above = np.sum(rankdata(p, axis=-1) * r, axis=-1) - positive * (positive + 1) / 2
    return np.where(pairs > 0, _ratio(np.asarray(above), pairs), 0.5)


def _pearson(predictions: Array, references: Array) -> Array:
    p, r = np.broadcast_arrays(np.asarray(predictions, dtype=np.float64), np.asarray(references, dtype=np.float64))
    # Rounding can leave a constant row with a tiny deviation from its own mean.
    constant = (p.max(-1) == p.min(-1)) | (r.max(-1) == r.min(-1))
    p, r = p - p.mean(-1, keepdims=True), r - r.mean(-1, keepdims=True)
    spread = np.sqrt(np.einsum("...i,...i", p, p)) * np.sqrt(np.einsum("...i,...i", r, r))
    return np.clip(_ratio(np.einsum("...i,...i", p, r), np.where(constant, 0.0, spread)), -1.0, 1.0)


def _spearman(predictions: Array, references: Array) -> Array:
    from scipy.stats import rankdata

    return _pearson(rankdata(predictions, axis=-1), rankdata(references, axis=-1))


def _pearson_spearman(predictions: Array, references: Array) -> Array:
    return (_pearson(predictions, references) + _spearman(predictions, references)) / 2


def _mean_squared_error(predictions: Array, references: Array) -> Array:
    difference = np.asarray(predictions, dtype=np.float64) - references
    return np.asarray(np.mean(difference * difference, axis=-1))


def _most_common(references: Array) -> float:
    return float(np.unique(references, return_counts=True)[1].max() / references.size)


def _variance(references: Array) -> float:
    return float(np.var(references))


def _best_constant(
    compute: Callable[[Array, Array], Array], references: Array, *, higher_is_better: bool = True
) -> float:
    """Best score of who always says the same class."""
    scores = [float(compute(np.full_like(references, label), references)) for label in np.unique(references)]
    return max(scores) if higher_is_better else min(scores)


def _same_everywhere(predictions: Array) -> bool:
    """True if every example [n, answers] has the same answers, or all answers there are are one."""
    given = predictions[predictions != NOTHING]
    return bool((predictions == predictions[:1]).all() or (given == given[:1]).all())


def constant(chance: float, references: Array) -> float:
    """Score of guessing, where it does not depend on the references."""
    return chance


def _all_positive(references: Array) -> float:
    """F1 of calling everything positive; calling nothing positive scores 0."""
    return float(_f1(np.ones_like(references), references))


_ALL = (
    Metric("accuracy", True, "classes", _accuracy, _most_common, scale=(0.0, 1.0)),
    Metric("matthews_correlation", True, "classes", _matthews, partial(constant, 0.0)),
    Metric("f1", True, "binary", _f1, _all_positive),
    Metric("f1_macro", True, "classes", _f1_macro, partial(_best_constant, _f1_macro)),
    Metric("f1_weighted", True, "classes", _f1_weighted, partial(_best_constant, _f1_weighted)),
    Metric("balanced_accuracy", True, "classes", _balanced_accuracy, partial(_best_constant, _balanced_accuracy)),
    Metric("roc_auc", True, "ranking", _roc_auc, partial(constant, 0.5)),
    Metric("pearson", True, "values", _pearson, partial(constant, 0.0)),
    Metric("spearman", True, "values", _spearman, partial(constant, 0.0)),
    Metric("pearson_spearman", True, "values", _pearson_spearman, partial(constant, 0.0)),
    # The best constant guess is the mean, and its error the variance.
    Metric("mean_squared_error", False, "values", _mean_squared_error, _variance),
)
METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})
"""Every metric by name. F1 is binary with class 1 positive, as in GLUE; other names are scikit-learn's."""


def metric(given: str | Metric | MetricFunction, kind: Literal["classes", "values"] = "classes") -> Metric:
    """The metric of that name, or of a function of a `kind` of predictions; a TombolaError where there is none."""
    if isinstance(given, Metric):
        return given
    if callable(given):
        return Metric.of(given, kind=kind)
    check_choice("metric", given, METRICS)
    return METRICS[given]


def metric_name(what: str, given: str | Metric | MetricFunction, known: Iterable[str]) -> str:
    """Name of a metric that goes by its name alone, one of those that are `known`; a TombolaError for others."""
    name = given if isinstance(given, str) else getattr(given, "name", repr(given))
    check_choice(what, name, known)
    return str(name)


_TITLES = {
    "matthews_correlation": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "pearson_spearman": "mean of Pearson and Spearman correlation",
    "f1": "F1",
    "f1_macro": "macro F1",
    "f1_weighted": "weighted F1",
    "roc_auc": "area under the ROC curve",
    "entity_f1": "entity F1",
    "answer_f1": "F1 of answers",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "frechet_distance": "Fréchet distance",
}


def metric_title(metric: str) -> str:
    """A metric's name in words."""
    return _TITLES.get(metric, metric.replace("_", " "))


def direction(higher_is_better: bool) -> str:
    """Words on a score's direction, for after its metric's title: only of errors and distances it is not plain."""
    return "" if higher_is_better else " (lower is better)"
