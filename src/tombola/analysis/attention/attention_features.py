"""Features of what a head attends to: shares of its attention, entropy, distance."""

import math

import torch
from torch import Tensor

FEATURES = ("first", "separator", "previous", "next", "same", "entropy", "entropy_share", "distance")
"""Names of what `features` returns, in order."""


def features(maps: Tensor, separators: Tensor) -> Tensor:
    """Features of attention maps without padding.

    - `first`, `separator`: share of the attention that goes to the first token, to separators. NaN for `separator`
      where there is none.
    - `previous`, `next`, `same`: share that a token gives to the one before it, after it, itself; the mean over the
      tokens that have one. NaN for `previous` and `next` of a single token.
    - `entropy`: of a token's attention, in nats (Clark et al. 2019), mean over tokens; `entropy_share` is that
      divided by its largest value, the logarithm of the number of tokens. NaN for a single token. In a model that
      attends backwards only, most tokens cannot reach that value.
    - `distance`: how many tokens away the attended token is, mean under the attention.

    Args:
        maps: [..., tokens, tokens], rows (queries) sum to 1.
        separators: bool, broadcasts to [..., tokens].

    Returns:
        [..., features], in the order of `FEATURES`.
    """
    tokens = maps.shape[-1]
    received = maps.mean(-2)
    to_separators = (received * separators).sum(-1).where(separators.any(-1), torch.nan)
    entropy = torch.special.entr(maps).sum(-1).mean(-1)
    largest = math.log(tokens)
    found = (
        received[..., 0],
        to_separators,
        maps.diagonal(-1, -2, -1).mean(-1),
        maps.diagonal(1, -2, -1).mean(-1),
        maps.diagonal(0, -2, -1).mean(-1),
        entropy,
        entropy / largest if largest else torch.full_like(entropy, torch.nan),
        torch.einsum("...ij,ij->...", maps, _distances(maps)) / tokens,
    )
    return torch.stack(found, -1)


def _distances(maps: Tensor) -> Tensor:
    """|i - j| [tokens, tokens]."""
    place = torch.arange(maps.shape[-1], device=maps.device)
    return (place[:, None] - place).abs().to(maps.dtype)
