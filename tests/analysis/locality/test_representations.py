"""CKA against its textbook form, probes against what was planted, hidden states against the model's own."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

from builders.encoders import FAMILIES, classifier, some_sites, some_weights, synthetic
from tombola.analysis.forward_passes import SampleOptions
from tombola.analysis.locality.hidden_states import hidden_states
from tombola.analysis.locality.representations import Representations, alignment, probe, representations
from tombola.foundations.errors import TombolaError
from tombola.subnetworks.subnetwork import Subnetwork, masked, shrunk, whole

RNG = np.random.default_rng(0)


def plain_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Kornblith et al. 2019, section 3: ||YᵀX||² / (||XᵀX|| ||YᵀY||), Frobenius norms."""
    x, y = x - x.mean(0), y - y.mean(0)
    return float(np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


def test_many_examples_need_no_debiasing() -> None:
    x = RNG.normal(size=(800, 3))
    y = x @ RNG.normal(size=(3, 4)) + RNG.normal(size=(800, 4)) + 3
    assert alignment(x, y)[0] == pytest.approx(plain_cka(x, y), abs=5e-3)


def test_debiased_cka_is_the_sum_over_different_examples() -> None:
    x, y = RNG.normal(size=(9, 3)), RNG.normal(size=(9, 5))

    def hsic(a: np.ndarray, b: np.ndarray) -> float:
        """Song et al. 2012 as a sum over quadruples of different examples."""
        k, m = a @ a.T, b @ b.T
        n, total = len(a), 0.0
        for i in range(n):
            for j in range(n):
                for q in range(n):
                    for r in range(n):
                        if len({i, j, q, r}) == 4:
                            total += k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
        return total / (n * (n - 1) * (n - 2) * (n - 3))

    expected = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
    assert alignment(x, y)[0] == pytest.approx(expected)


def test_rotation_scale_and_shift_change_nothing() -> None:
    x = RNG.normal(size=(40, 6))
    rotated = 3 * x @ ortho_group.rvs(6, random_state=1) + 5
    assert alignment(x, rotated)[0] == pytest.approx(1)
    stretched = x * np.array([10, 1, 1, 1, 1, 1])
    assert alignment(x, stretched)[0] < 0.9


def test_unrelated_representations_are_at_zero_only_when_debiased() -> None:
    drawn = [(RNG.normal(size=(40, 200)), RNG.normal(size=(40, 200))) for _ in range(20)]
    assert np.mean([alignment(x, y)[0] for x, y in drawn]) == pytest.approx(0, abs=0.02)
    assert min(plain_cka(x, y) for x, y in drawn) > 0.7


def test_the_interval_covers_what_many_examples_say() -> None:
    mix = RNG.normal(size=(5, 5))
    x = RNG.normal(size=(20_000, 5))
    y = x @ mix + 2 * RNG.normal(size=x.shape)
    truth = plain_cka(x, y)
    covered = 0
    for start in range(0, 10_000, 100):
        part = slice(start, start + 100)
        value, low, high = alignment(x[part], y[part])
        assert low <= value <= high
        covered += low <= truth <= high
    assert 85 <= covered <= 100


def test_too_few_or_other_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="of 4 and 4 examples"):
        alignment(np.eye(4), np.eye(4))
    with pytest.raises(ValueError, match="of 5 and 6 examples"):
        alignment(np.eye(5), np.eye(6))


def test_a_representation_that_never_varies_is_aligned_with_nothing() -> None:
    assert alignment(np.ones((9, 3)), RNG.normal(size=(9, 3)))[0] == 0


def test_a_probe_reads_what_is_linear_and_nothing_else() -> None:
    x = RNG.normal(size=(600, 8))
    direction = RNG.normal(size=8)
    linear = (x @ direction > 0).astype(np.int64)
    product = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    assert (probe(x[:400], linear[:400], x[400:]) == linear[400:]).mean() > 0.93
    assert (probe(x[:400], product[:400], x[400:]) == product[400:]).mean() < 0.62
    values = x @ direction
    found = probe(x[:400], values[:400], x[400:])
    assert found.dtype == np.float64
    assert np.corrcoef(found, values[400:])[0, 1] > 0.99
    assert probe(x[:5], np.ones(5, dtype=np.int64), x[5:9]).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_are_the_models_own(family: str) -> None:
    model, task = classifier(family, dtype=torch.float32), synthetic(train=8, dev=30)
    found = hidden_states(whole(model), task, SampleOptions(batch_size=7))
    assert found.indices.tolist() == list(range(30))
    for batch in task.batches("dev", 5):
        with torch.no_grad():
            states = model(**batch.inputs, output_hidden_states=True).hidden_states
        mask = batch.inputs["attention_mask"][..., None]
        for at, state in enumerate(states):
            expected = torch.stack([row[keep.bool()[:, 0]].mean(0) for row, keep in zip(state, mask, strict=True)])
            np.testing.assert_allclose(found.layers[at][batch.indices], expected, rtol=1e-4, atol=1e-5)
    some = hidden_states(whole(model), task, SampleOptions(sample=9, seed=4))
    np.testing.assert_allclose(some.layers, found.layers[:, some.indices], rtol=1e-4, atol=1e-5)


def test_masked_and_shrunk_states_agree() -> None:
    model, task = classifier(dtype=torch.float32), synthetic(train=8, dev=12)
    ticket = some_sites(model, 3)
    one, other = (hidden_states(made(model, ticket), task, SampleOptions()) for made in (masked, shrunk))
    np.testing.assert_allclose(one.layers, other.layers, rtol=1e-4, atol=1e-5)


def _same(subnetwork: Subnetwork) -> Subnetwork:
    return subnetwork


def test_four_examples_have_no_geometry() -> None:
    with pytest.raises(TombolaError, match=r"4 dev examples have no geometry to compare; take 5 or more"):
        representations(whole(classifier()), {}, synthetic(train=8, dev=4))
    assert representations(whole(classifier()), {}, synthetic(train=8, dev=5), resamples=20).examples == 5


def test_the_whole_comparison(tmp_path: Path) -> None:
    model, task = classifier(dtype=torch.float32), synthetic(train=60, dev=40)
    others = {
        "good pruned": shrunk(model, some_sites(model, 1)),
        "random pruned": masked(model, some_weights(model, 1)),
    }
    makers = {name: functools.partial(_same, one) for name, one in others.items()}
    found = representations(whole(model), makers, task, SampleOptions(), training=None, resamples=50)
    assert list(found.models) == ["full", *others]
    assert (found.examples, found.training) == (40, 60)
    full = found.models["full"]
    assert [layer.cka for layer in full] == pytest.approx([1.0] * 4)
    states = {
        name: hidden_states(one, task, SampleOptions()).layers for name, one in {"full": whole(model), **others}.items()
    }
    for name in others:
        for at, layer in enumerate(found.models[name]):
            assert layer.cka == pytest.approx(alignment(states["full"][at], states[name][at])[0], abs=1e-6)
    # The embeddings are the same whatever is pruned later.
    assert found.models["good pruned"][0] == full[0]
    train = hidden_states(whole(model), task, SampleOptions("train")).layers
    predicted = probe(train[2], task.references("train"), states["full"][2])
    assert full[2].probe == pytest.approx((predicted == task.references("dev")).mean())

    found.write(tmp_path / "representations.json")
    assert Representations.read(tmp_path / "representations.json") == found
    text = (tmp_path / "representations.json").read_text()
    (tmp_path / "representations.json").write_text(text.replace('"cka":', '"ckA":', 1))
    with pytest.raises(TombolaError, match=r"models, full\[0\]: 'cka' is missing"):
        Representations.read(tmp_path / "representations.json")
