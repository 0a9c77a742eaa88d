"""Distributions and correlations of patterns against direct computation."""

import numpy as np
import pytest
import scipy.stats
import torch

from tombola import TombolaError
from tombola.analysis.attention.attention_summary import class_distribution, survival_correlation
from tombola.analysis.attention.pattern_classes import CLASSES
from tombola.analysis.attention.patterns import AttentionPatterns, letters

ROWS, HEADS, INPUTS = 3, 5, 40


def patterns(seed: int = 0, uses: int = 1, inputs: int = INPUTS) -> AttentionPatterns:
    generator = torch.Generator().manual_seed(seed)
    # Heads that differ in how often they are of each class.
    weights = torch.rand(ROWS, HEADS, len(CLASSES), generator=generator) ** 3
    labels = torch.stack(
        [torch.multinomial(one, inputs * uses, replacement=True, generator=generator) for one in weights.flatten(0, 1)]
    )
    rows = labels.view(ROWS, HEADS, inputs, uses).permute(0, 2, 3, 1).unbind(0)
    working = torch.ones(ROWS, HEADS, dtype=torch.bool)
    return AttentionPatterns("some", tuple(range(inputs)), working, {"raw": tuple(map(letters, rows))}, {}, {})


def test_distribution() -> None:
    found = patterns()
    mask = torch.zeros(ROWS, HEADS, dtype=torch.bool)
    mask[0, :3] = mask[2, 4] = True
    summary = class_distribution([found], [mask])
    assert summary.heads == 4
    labels = torch.stack(found.labels("raw"))[:, :, 0].transpose(1, 2)[mask].numpy()
    for number, name in enumerate(CLASSES):
        is_it = labels == number
        share = summary.shares[name]
        assert share is not None
        assert share[0] == pytest.approx(is_it.mean())
        drawn = scipy.stats.bootstrap(
            (is_it.mean(0),), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
        )
        assert share[1:] == pytest.approx(tuple(drawn.confidence_interval), abs=0.02)


def test_shares_add_up_and_uses_are_averaged() -> None:
    found = patterns(uses=3)
    torch.testing.assert_close(found.shares("raw").sum(-1), torch.ones(ROWS, HEADS).double())
    expected = (found.labels("raw")[1][..., 2] == 4).double().mean()
    assert float(found.shares("raw")[1, 2, 4]) == pytest.approx(float(expected))
    summary = class_distribution([found], [None])
    assert sum(share[0] for share in summary.shares.values() if share) == pytest.approx(1)


def test_one_input_bounds_little() -> None:
    for share in class_distribution([patterns(inputs=1)], [None]).shares.values():
        assert share is not None
        assert share[1] < 0.025 + 0.025 * share[0]
        assert share[2] > 0.95


def test_no_heads_have_no_distribution() -> None:
    summary = class_distribution([patterns()], [torch.zeros(ROWS, HEADS, dtype=torch.bool)])
    assert summary.heads == 0
    assert set(summary.shares.values()) == {None}


def test_correlation_is_spearmans() -> None:
    found = patterns()
    survival = torch.rand(ROWS, HEADS, generator=torch.Generator().manual_seed(3))
    result = survival_correlation([found], [survival])
    expected = scipy.stats.spearmanr(found.shares("raw")[..., 4].flatten(), survival.flatten())
    assert result.value == pytest.approx(expected.statistic)
    x, y = found.shares("raw")[..., 4].flatten().numpy(), survival.flatten().numpy()
    drawn = scipy.stats.bootstrap(
        (x, y),
        lambda a, b: scipy.stats.spearmanr(a, b).statistic,
        paired=True,
        vectorized=False,
        n_resamples=1000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert result.low == pytest.approx(drawn.low, abs=0.08)
    assert result.high == pytest.approx(drawn.high, abs=0.08)
    perfect = survival_correlation([found], [found.shares("raw")[..., 4]])
    assert perfect.value == pytest.approx(1)
    assert perfect.low == pytest.approx(1)


def test_what_does_not_vary_has_no_correlation() -> None:
    assert survival_correlation([patterns()], [torch.ones(ROWS, HEADS)]).value is None
    single = torch.zeros(ROWS, HEADS)
    single[0, 0] = 1
    lonely = survival_correlation([patterns()], [single])
    assert lonely.value is not None
    # One survivor is missing from a third of the draws.
    assert lonely.low is lonely.high is None


def test_bad_input() -> None:
    with pytest.raises(TombolaError, match=r"\[3, 5\] heads"):
        class_distribution([patterns()], [torch.ones(2, 2)])
    with pytest.raises(TombolaError, match=r"\[3, 5\] heads"):
        survival_correlation([patterns()], [torch.ones(2, 2)])
    with pytest.raises(TombolaError, match="unknown weighting"):
        class_distribution([patterns()], [None], weighting="heavy")
