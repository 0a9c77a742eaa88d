"""Files of a ticket: what `ticket.json` says, and whether the masks beside it are of its shapes; without PyTorch."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from tombola.foundations.errors import TombolaError, check_folder, reading
from tombola.foundations.parsing import json_value
from tombola.tickets.kinds import TICKET_KINDS

FORMAT = 1
HEAD, MASKS = FILES = ("ticket.json", "masks.safetensors")
"""The files of a ticket: all but its masks, and these."""
BESIDE = "ticket"
"""Folder of a ticket in that of a model for other tools, which take every safetensors file there for weights."""
MEND = "find it again"
"""Advice for a damaged ticket."""


def read_head(folder: Path) -> dict[str, Any]:
    """Facts of `ticket.json` in a folder, held against its masks, of which only the header is read.

    Raises:
        TombolaError: no ticket there, or one of its files is damaged or of a newer format.
    """
    check_folder(folder, "give the folder of a ticket, such as good/")
    path, what = folder / HEAD, f"the ticket in {folder}"
    with reading(what, MEND):
        for one in (path, folder / MASKS):
            if not one.exists():
                raise TombolaError(
                    f"no ticket in {folder}: {one.name} is missing; give the folder of a ticket, such as good/"
                )
        head: dict[str, Any] = json_value(path.read_bytes(), what, MEND)
        if head["format"] != FORMAT:
            raise TombolaError(f"{path} has format {head['format']}, this Tombola reads {FORMAT}; update Tombola")
        if not isinstance(head["architecture"], str):
            raise ValueError("its architecture is no text")
        if not isinstance(head["provenance"], Mapping):
            raise ValueError("its provenance is no object")
        if head["kind"] not in TICKET_KINDS or not head["shapes"]:
            raise ValueError(f"no masks of {head['kind']}")
        with safe_open(folder / MASKS, "np") as file:
            for name, shape in head["shapes"].items():
                if not shape or any(type(size) is not int or size < 1 for size in shape):
                    raise ValueError(f"{name} has the shape {shape}")
                # Unpacking would fill what lacks with zeros.
                if file.get_slice(name).get_shape() != [-(-math.prod(shape) // 8)]:
                    raise ValueError(f"{name} does not have {math.prod(shape)} bits")
    return head
