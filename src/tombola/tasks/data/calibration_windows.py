"""Windows of calibration text: stretches of one long text, drawn as in the papers."""

import torch
from torch import Tensor

from tombola.foundations.errors import TombolaError


def windows(tokens: Tensor, samples: int, sequence_length: int, *, seed: int = 0) -> list[Tensor]:
    """Stretches of a long text, drawn at random, as the papers draw them.

    Args:
        tokens: ids of the whole text, int64 [tokens].
        samples: number of stretches.
        sequence_length: tokens of each.
        seed: of the draw.

    Returns:
        `samples` batches of one, int64 [1, sequence_length].

    Raises:
        TombolaError: the text is shorter than one stretch.
    """
    if tokens.ndim != 1 or samples < 1 or sequence_length < 1 or len(tokens) < sequence_length:
        raise TombolaError(
            f"{samples} sequences of {sequence_length:,} tokens cannot be drawn from a calibration text of "
            f"{tokens.numel():,}; give a longer text or shorter sequences"
        )
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(len(tokens) - sequence_length + 1, (samples,), generator=generator).tolist()
    return [tokens[start : start + sequence_length][None] for start in starts]
