"""Grid of many small images as one picture."""

import io
import math

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

SIDE = 24
"""Pixels of an image's longer side, at least: smaller ones are enlarged by a whole number."""
COLUMNS = 10


def contact_sheet(images: Tensor, columns: int = COLUMNS) -> bytes:
    """Images in rows, from left to right, with a thin white gap between them, as a PNG.

    They are floats from -1 to 1 [n, 1 or 3, height, width], n > 0 (else a ValueError); what is not finite is white.
    """
    if images.ndim != 4 or len(images) == 0 or images.shape[1] not in (1, 3):
        raise ValueError(f"images must be [n, 1 or 3, height, width] with n > 0, not {list(images.shape)}")
    values = ((images.nan_to_num(1.0, 1.0, 1.0).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    scale = max(1, math.ceil(SIDE / max(values.shape[2:])))
    values = values.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    gap = max(1, scale // 3)
    tiles = pad(values, (0, gap, 0, gap), value=255)
    blank = -len(tiles) % columns if len(tiles) > columns else 0
    tiles = torch.cat([tiles, torch.full_like(tiles[:1], 255).expand(blank, -1, -1, -1)])
    wide = min(columns, len(tiles))
    sheet = tiles.unflatten(0, (-1, wide)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)[:-gap, :-gap]
    picture = Image.fromarray(sheet.squeeze(-1).cpu().numpy())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
