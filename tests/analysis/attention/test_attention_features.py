"""Features against closed forms on constructed maps."""

import math

import pytest
import torch
from torch import Tensor

from tombola.analysis.attention.map_reducer import FEATURES, features

N = 8


def found(maps: Tensor, separators: list[int] | None = None) -> dict[str, float]:
    marks = torch.zeros(maps.shape[-1], dtype=torch.bool)
    marks[separators or []] = True
    return dict(zip(FEATURES, features(maps.double(), marks).tolist(), strict=True))


def test_uniform() -> None:
    values = found(torch.full((N, N), 1 / N), [3, 7])
    for name in ("first", "previous", "next", "same"):
        assert values[name] == pytest.approx(1 / N)
    assert values["separator"] == pytest.approx(2 / N)
    assert values["entropy"] == pytest.approx(math.log(N))
    assert values["entropy_share"] == pytest.approx(1)
    # Mean of |i - j| over all pairs: (n² - 1) / 3n.
    assert values["distance"] == pytest.approx((N**2 - 1) / (3 * N))


def test_identity() -> None:
    values = found(torch.eye(N), [7])
    expected = {"first": 1 / N, "separator": 1 / N, "previous": 0, "next": 0, "same": 1}
    assert values == pytest.approx(expected | {"entropy": 0, "entropy_share": 0, "distance": 0})


@pytest.mark.parametrize(("offset", "name"), [(-1, "previous"), (1, "next")])
def test_shift_counts_the_tokens_that_have_a_neighbour(offset: int, name: str) -> None:
    shift = torch.diag(torch.ones(N - 1), offset)
    edge = 0 if offset < 0 else N - 1
    shift[edge, edge] = 1
    values = found(shift)
    assert values[name] == pytest.approx(1)
    assert values["same"] == pytest.approx(1 / N)
    assert values["distance"] == pytest.approx((N - 1) / N)
    assert values["first"] == pytest.approx((2 if offset < 0 else 0) / N)


def test_one_column() -> None:
    maps = torch.zeros(N, N)
    maps[:, 0] = 1
    values = found(maps, [0])
    assert values["first"] == values["separator"] == pytest.approx(1)
    assert values["distance"] == pytest.approx((N - 1) / 2)
    assert values["previous"] == pytest.approx(1 / (N - 1))


def test_what_is_not_there_is_undefined() -> None:
    assert math.isnan(found(torch.full((N, N), 1 / N))["separator"])
    single = found(torch.ones(1, 1), [0])
    assert [name for name, value in single.items() if math.isnan(value)] == ["previous", "next", "entropy_share"]
    assert single["same"] == single["separator"] == 1


def test_many_maps_at_once() -> None:
    maps = torch.rand(3, 2, N, N, dtype=torch.float64).softmax(-1)
    marks = torch.rand(3, 1, N) < 0.5
    together = features(maps, marks)
    assert together.shape == (3, 2, len(FEATURES))
    for i in range(3):
        for j in range(2):
            torch.testing.assert_close(together[i, j], features(maps[i, j], marks[i, 0]), equal_nan=True)
