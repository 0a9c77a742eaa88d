"""SparseGPT against optimal brain surgery column by column with exact inverses, and against what ignores the inputs."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tombola.foundations.errors import TombolaError
from tombola.pruning.magnitude import keep_largest
from tombola.pruning.sparsegpt import InverseHessian, sparsegpt
from tombola.pruning.weight_criteria import wanda_scores
from tombola.tickets.nm_sparsity import WeightPattern


def problem(rows: int, columns: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """A matrix and inputs [positions, columns] whose units are correlated and of different sizes."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    mixing = torch.randn(columns, columns, generator=generator, dtype=torch.float64) / columns**0.5
    sizes = torch.rand(columns, generator=generator, dtype=torch.float64) * 2 + 0.1
    inputs = torch.randn(4 * columns, columns, generator=generator, dtype=torch.float64)
    return weight.to(dtype), ((inputs @ mixing + inputs) * sizes).to(dtype)


def by_columns(
    weight: Tensor, gram: Tensor, removed: float, pattern: tuple[int, int] | None, damping: float, block: int
) -> tuple[np.ndarray, np.ndarray]:
    """The same by its definition: the inverse is taken anew for each column, over those that are left."""
    w, hessian = weight.numpy().copy(), gram.numpy().copy()
    hessian += np.eye(len(hessian)) * damping * np.diag(hessian).mean()
    rows, columns = w.shape
    mask = np.ones(w.shape, dtype=bool)
    inverse = {column: np.linalg.inv(hessian[column:, column:]) for column in range(columns)}
    cost = np.array([inverse[column][0, 0] for column in range(columns)])
    for column in range(columns):
        if pattern is None and column % block == 0:
            end = min(column + block, columns)
            saliency = w[:, column:end] ** 2 / cost[column:end]
            goes = round(removed * rows * end) - round(removed * rows * column)
            order = np.argsort(saliency.ravel(), kind="stable")[:goes]
            mask[:, column:end].flat[order] = False
        if pattern is not None and column % pattern[1] == 0:
            kept, group = pattern
            saliency = w[:, column : column + group] ** 2 / cost[column : column + group]
            for row in range(rows):
                mask[row, column + np.argsort(saliency[row], kind="stable")[: group - kept]] = False
        for row in np.flatnonzero(~mask[:, column]).tolist():
            w[row, column:] -= w[row, column] * inverse[column][0] / inverse[column][0, 0]
            w[row, column] = 0
    return mask, w


@pytest.mark.parametrize("damping", [0.01, 0.2])
@pytest.mark.parametrize("block", [1, 5, 8, 128])
@pytest.mark.parametrize("pattern", [None, (2, 4), (1, 2), (4, 8)])
def test_equals_columns_with_exact_inverses(pattern: tuple[int, int] | None, block: int, damping: float) -> None:
    weight, inputs = problem(7, 24)
    before = weight.clone()
    if pattern is not None:
        # Groups are decided when they are reached, so that the size of blocks has no say.
        mask, values = sparsegpt(
            weight, InverseHessian.of(inputs.T @ inputs, damping), 0.5, WeightPattern(*pattern), block=block
        )
    else:
        mask, values = sparsegpt(weight, InverseHessian.of(inputs.T @ inputs, damping), 0.6, block=block)
    expected_mask, expected = by_columns(weight, inputs.T @ inputs, 0.6, pattern, damping, block)
    assert np.array_equal(mask.numpy(), expected_mask)
    np.testing.assert_allclose(values.numpy(), expected, atol=1e-9)
    assert torch.equal(weight, before)
    assert not torch.signbit(values[~mask]).any()
    if pattern is None:
        assert int((~mask).sum()) == round(0.6 * weight.numel())


@pytest.mark.parametrize("pattern", [None, WeightPattern(2, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_the_layers_error_is_below_those_of_wanda_and_magnitude(seed: int, pattern: WeightPattern | None) -> None:
    weight, inputs = problem(48, 64, seed, torch.float32)

    def error(kept: Tensor) -> float:
        return float(((weight - kept) @ inputs.T).square().sum())

    norms = inputs.norm(dim=0)
    if pattern is None:
        row = torch.sort(wanda_scores(weight, norms), dim=1).values[:, 31:32]
        by_wanda = wanda_scores(weight, norms) > row
        by_magnitude = keep_largest({"": weight}, weight.numel() // 2)[""]
    else:
        by_wanda, by_magnitude = (pattern.largest(scores) for scores in (wanda_scores(weight, norms), weight.abs()))
    mask, values = sparsegpt(weight, InverseHessian.of(inputs.T @ inputs), 0.5, pattern)
    assert int(mask.sum()) == int(by_wanda.sum()) == int(by_magnitude.sum()) == weight.numel() // 2
    ours, wanda, magnitude = error(values), error(weight.where(by_wanda, 0.0)), error(weight.where(by_magnitude, 0.0))
    assert ours < 0.9 * wanda < 0.9 * magnitude


def test_inputs_that_are_always_zero_lose_their_weights_first() -> None:
    weight, inputs = problem(6, 16)
    inputs[:, [3, 9]] = 0
    mask, values = sparsegpt(weight, InverseHessian.of(inputs.T @ inputs), 2 / 16)
    assert not mask[:, [3, 9]].any()
    assert mask.sum() == 6 * 14
    others = [column for column in range(16) if column not in (3, 9)]
    torch.testing.assert_close(values[:, others], weight[:, others])


def test_linearly_dependent_inputs_are_damped_until_they_can_be_inverted() -> None:
    weight, inputs = problem(6, 32, dtype=torch.float32)
    few = inputs[:1].expand(64, -1) * 1e4
    mask, values = sparsegpt(weight, InverseHessian.of(few.T @ few, 1e-7), 0.5)
    assert values.isfinite().all()
    assert mask.sum() == 96


def test_no_inverse_is_a_clear_line() -> None:
    gram = -torch.eye(8)
    with pytest.raises(TombolaError, match="cannot be inverted"):
        InverseHessian.of(gram)


def test_new_weights_have_the_old_type() -> None:
    weight, inputs = problem(6, 16, dtype=torch.float32)
    _, values = sparsegpt(weight.bfloat16(), InverseHessian.of(inputs.T @ inputs), 0.5)
    assert values.dtype == torch.bfloat16
