"""The classes of attention maps: hand-made maps, and maps drawn from the definitions."""

import numpy as np
import pytest
import torch
from torch import Tensor

from attention_maps import DEFINITIONS, NOISES, drawn
from tombola.analysis.attention.pattern_classes import CLASSES, classify


def named(maps: Tensor) -> str:
    return CLASSES[int(classify(maps.double() / maps.double().sum(-1, keepdim=True)).labels)]


def column(tokens: int, *places: int) -> Tensor:
    made = torch.zeros(tokens, tokens)
    made[:, list(places)] = 1 / len(places)
    return made


def blocks(*lengths: int) -> Tensor:
    made: Tensor = torch.block_diag(*(torch.full((length, length), 1 / length) for length in lengths))
    return made


def shift(tokens: int, offset: int) -> Tensor:
    made = torch.diag(torch.ones(tokens - abs(offset)), offset)
    missing = made.sum(1) == 0
    made[missing, missing] = 1
    return made


@pytest.mark.parametrize("tokens", [10, 24, 60, 128])
def test_by_hand(tokens: int) -> None:
    even = torch.full((tokens, tokens), 1 / tokens)
    assert named(column(tokens, 0)) == "vertical"
    assert named(column(tokens, 0, tokens - 1)) == "vertical"
    assert named(0.3 * column(tokens, 0) + 0.7 * even) == "vertical"
    assert named(0.1 * column(tokens, 0) + 0.9 * even) == "heterogeneous"
    for offset in (-1, 0, 1):
        assert named(shift(tokens, offset)) == "diagonal"
        assert named(0.5 * shift(tokens, offset) + 0.5 * even) == "diagonal"
        assert named(0.5 * shift(tokens, offset) + 0.5 * column(tokens, 0)) == "vertical+diagonal"
    assert named(shift(tokens, -1) + shift(tokens, 1)) == "diagonal"
    assert named(even) == "heterogeneous"
    # The other diagonal is none.
    assert named(torch.eye(tokens).flip(0)) == "heterogeneous"


@pytest.mark.parametrize("lengths", [(5, 5), (6, 4), (12, 12), (17, 7), (20, 20, 20), (45, 15), (64, 64)])
def test_blocks_by_hand(lengths: tuple[int, ...]) -> None:
    even = torch.full((sum(lengths), sum(lengths)), 1 / sum(lengths))
    assert named(blocks(*lengths)) == "block"
    assert named(0.7 * blocks(*lengths) + 0.3 * even) == "block"


@pytest.mark.parametrize("tokens", [1, 2, 3, 4])
def test_tiny_maps_do_not_fail(tokens: int) -> None:
    structure = classify(torch.full((2, 3, tokens, tokens), 1 / tokens))
    assert structure.labels.shape == (2, 3)
    assert structure.clarity.isfinite().all()
    assert (structure.labels == CLASSES.index("heterogeneous")).all()
    assert named(torch.ones(1, 1)) == "heterogeneous"


def test_a_map_of_zeros_is_heterogeneous() -> None:
    assert CLASSES[int(classify(torch.zeros(12, 12)).labels)] == "heterogeneous"


def test_drawn_from_the_definitions() -> None:
    assert tuple(DEFINITIONS) == CLASSES
    rng = np.random.default_rng(20)
    right = []
    for label, kind in enumerate(CLASSES):
        for _ in range(8):
            for noise in NOISES:
                tokens = int(rng.integers(10, 61))
                structure = classify(torch.from_numpy(drawn(kind, tokens, noise, rng)))
                right.append(int(structure.labels) == label)
                assert 0 <= float(structure.clarity) <= 1
    assert np.mean(right) >= 0.95


def test_many_maps_are_sorted_as_one_by_one() -> None:
    rng = np.random.default_rng(4)
    kinds = [kind for kind in CLASSES for _ in range(4)]
    maps = torch.from_numpy(np.stack([drawn(kind, 20, 0.2, rng) for kind in kinds]))
    together = classify(maps.view(5, 4, 20, 20))
    single = [classify(each) for each in maps]
    assert together.labels.flatten().tolist() == [int(each.labels) for each in single]
    torch.testing.assert_close(together.clarity.flatten(), torch.stack([each.clarity for each in single]))
