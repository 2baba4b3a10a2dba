"""Small pictures of numbers (feature maps, filters, images) as PNG data URIs, many in one sprite or one by one."""

import base64
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
"""(height, width) grey, or (height, width, 3 or 4) red, green, blue and opacity."""

ABOVE = (0, 114, 178)  # Okabe & Ito's blue and vermilion: seen apart by the colour-blind, on light and dark
BELOW = (213, 94, 0)


def data_uri(pixels: Pixels) -> str:
    """A PNG as "data:image/png;base64,...", to be the source of an <img> or of Bokeh's image_url."""
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def grey(values: NDArray[np.floating], low: float | None = None, high: float | None = None) -> Pixels:
    """Numbers of any shape as levels of grey: `low` (default: the least) is black, `high` (the largest) white.

    Where all are equal, the grey is middle. NaN is black.
    """
    least = float(np.nanmin(values)) if low is None else low
    most = float(np.nanmax(values)) if high is None else high
    if not most > least:
        return np.full(values.shape, 128, dtype=np.uint8)
    share = np.nan_to_num((values.astype(np.float64) - least) / (most - least), nan=0.0)
    return np.round(255 * np.clip(share, 0, 1)).astype(np.uint8)


def diverging(values: NDArray[np.floating], most: float | None = None) -> Pixels:
    """Numbers of any shape as colours (..., 4): above zero blue, below vermilion, zero and NaN transparent.

    Opacity grows with the magnitude and is full at `most` (default: the largest), so that the page's own
    ground, light or dark, is the middle.
    """
    sizes = np.abs(np.nan_to_num(values.astype(np.float64)))
    whole = float(sizes.max(initial=0.0)) if most is None else most
    pixels = np.zeros((*values.shape, 4), dtype=np.uint8)
    pixels[..., :3] = np.where((np.nan_to_num(values) >= 0)[..., None], ABOVE, BELOW)
    pixels[..., 3] = np.round(255 * np.clip(sizes / whole, 0, 1)) if whole > 0 else 0
    return pixels


def photograph(image: NDArray[np.generic]) -> Pixels:
    """One image (C, H, W), uint8 or float, as pixels: three channels in colour, otherwise the mean in grey.

    Floats are stretched from the least to the largest value of the image.
    """
    levels = image if image.dtype == np.uint8 else grey(image.astype(np.float64))
    if len(levels) == 3:
        return np.asarray(np.moveaxis(levels, 0, -1), dtype=np.uint8)
    return np.asarray(np.round(levels.mean(axis=0)), dtype=np.uint8)


def sprite(pictures: Sequence[Pixels], columns: int, gap: int = 1) -> Pixels:
    """Pictures of one size side by side, `columns` in a line, with `gap` transparent pixels between: (H, W, 4)."""
    height, width = pictures[0].shape[:2]
    lines = -(-len(pictures) // columns)
    across = min(columns, len(pictures))
    sheet = np.zeros((lines * (height + gap) - gap, across * (width + gap) - gap, 4), dtype=np.uint8)
    for place, picture in enumerate(pictures):
        top, left = place // columns * (height + gap), place % columns * (width + gap)
        sheet[top : top + height, left : left + width] = _opaque(picture)
    return sheet


def _opaque(picture: Pixels) -> Pixels:
    """Any pixels as (H, W, 4)."""
    coloured = np.repeat(picture[..., None], 3, axis=-1) if picture.ndim == 2 else picture
    if coloured.shape[-1] == 4:
        return coloured
    return np.concatenate([coloured, np.full((*coloured.shape[:2], 1), 255, dtype=np.uint8)], axis=-1)
