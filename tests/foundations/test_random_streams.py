"""Streams of random numbers are their seed and purpose alone."""

import itertools

import torch

from tombola.foundations.random_streams import random_stream


def test_a_stream_is_its_seed_and_purpose() -> None:
    first = torch.randperm(100, generator=random_stream(0, "random", "mnli", None))
    torch.manual_seed(3)
    assert torch.equal(first, torch.randperm(100, generator=random_stream(0, "random", "mnli", None)))


def test_no_two_streams_are_alike() -> None:
    purposes = itertools.product(range(3), ("random", "bad"), ("mnli", None, 0.5))
    drawn = {tuple(torch.randperm(50, generator=random_stream(*one)).tolist()) for one in purposes}
    assert len(drawn) == 18
    # Names do not run together.
    together, apart = random_stream(0, "ab", "c"), random_stream(0, "a", "bc")
    assert not torch.equal(torch.randperm(50, generator=together), torch.randperm(50, generator=apart))
