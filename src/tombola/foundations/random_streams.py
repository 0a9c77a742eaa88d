"""Streams of random numbers, each named by what is drawn from it, so that no two draws are alike by accident."""

import hashlib
import json

import torch


def random_stream(seed: int, *purpose: object) -> torch.Generator:
    """Generator of a stream of its own for each seed and purpose, on the CPU.

    Two draws from generators of the same seed are the same permutation wherever they are of the same length, which
    makes a random and a bad ticket, or the random tickets of two tasks, look as if they agreed.

    Args:
        seed: a whole number.
        purpose: what is drawn, and for what: strings, numbers or None.
    """
    name = json.dumps([seed, *purpose], default=str).encode()
    # 63 bits: what PyTorch takes as a seed without a sign.
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(name).digest()[:8], "big") >> 1)
