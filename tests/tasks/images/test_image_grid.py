"""Sheets of small images, read back pixel by pixel."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from tombola.tasks.images.image_grid import contact_sheet


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_images_stand_in_rows_enlarged_with_a_gap() -> None:
    images = torch.stack([torch.full((1, 8, 8), value) for value in (-1.0, 0.0, 1.0)])
    sheet = _pixels(contact_sheet(images, columns=2))
    # Two rows of two images of 24 pixels, one pixel between them; the fourth place is white.
    assert sheet.shape == (49, 49)
    assert (sheet[:24, :24] == 0).all()
    assert (sheet[:24, 25:] == 128).all()
    assert (sheet[25:] == 255).all()
    assert (sheet[24] == 255).all()


def test_every_pixel_is_where_it_was() -> None:
    images = torch.linspace(-1, 1, 2 * 3 * 30 * 40).view(2, 3, 30, 40)
    sheet = _pixels(contact_sheet(images))
    assert sheet.shape == (30, 81, 3)
    for place, image in zip((slice(0, 40), slice(41, 81)), images, strict=True):
        expected = ((image + 1) * 127.5).round().permute(1, 2, 0).numpy()
        assert (sheet[:, place] == expected).all()


def test_what_is_not_finite_is_white() -> None:
    assert (_pixels(contact_sheet(torch.full((1, 1, 24, 24), torch.nan))) == 255).all()


@pytest.mark.parametrize("shape", [(0, 1, 8, 8), (2, 4, 8, 8), (8, 8)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="images must be"):
        contact_sheet(torch.zeros(shape))
