"""Agreement of masks, straight from the masks themselves."""

import numpy as np

from tombola.analysis.agreement.coefficients import Agreement, Group, agreement
from tombola.analysis.agreement.pairwise_overlap import Array, PairwiseOverlap, all_pairs


def agreement_of(masks: Array, pairs: Array | None = None) -> Agreement:
    """The agreement of tickets' masks [tickets, sites], over every two of them or over some pairs."""
    n = len(masks)
    group = Group(np.arange(n), all_pairs(n) if pairs is None else pairs)
    return agreement(PairwiseOverlap.of(masks), int(masks.all(axis=0).sum()), group)
