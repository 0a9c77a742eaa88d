"""Threshold of what must not be lost, on the mean over abilities, or on one of them, as `grammar>=0.9`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from tombola.foundations.errors import TombolaError


@dataclass(frozen=True)
class RetentionThreshold:
    """Threshold on retained abilities.

    Attributes:
        ability: whose; None for the mean over all that count.
        share: of the full model's chance-corrected score that must hold, above 0 and at most 1.
    """

    ability: str | None
    share: float

    @classmethod
    def parse(cls, text: str, abilities: Sequence[str] | None = None) -> Self:
        """Read `0.9`, or `ABILITY>=0.9`.

        Args:
            text: as on the command line.
            abilities: the names that there are; None where they are not known yet.

        Raises:
            TombolaError: it is neither, the ability is unknown, or the share is out of range.
        """
        found = re.fullmatch(r"\s*(?:([^<>=\s]+)\s*>=\s*)?([0-9]*\.?[0-9]+)\s*", text)
        if found is None:
            raise TombolaError(f"cannot read {text!r}; write what must be retained as grammar>=0.9, or as 0.9")
        ability, share = found[1], float(found[2])
        if abilities is not None and ability is not None and ability not in abilities:
            raise TombolaError(f"unknown ability {ability!r} in {text!r}; there are: {', '.join(abilities)}")
        if not 0 < share <= 1:
            raise TombolaError(f"the share to retain must lie above 0 and at most at 1, not {found[2]}")
        return cls(ability, share)
