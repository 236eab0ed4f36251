"""Inputs that are images, and the questions asked of them, as pictures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from limbeck.trees.arrays import Array

NONE, LEFT, RIGHT = (246, 246, 244), (11, 99, 165), (200, 78, 0)


def picture_shape(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """The height, width and channels of an input that is an image; None for any other."""
    if len(shape) == 2:
        return (shape[0], shape[1], 1)
    if len(shape) == 3 and shape[2] in (1, 3, 4):
        return (shape[0], shape[1], shape[2])
    return None


def picture_of_question(weights: Array, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """A question's weights by a scale of their own: from blue, left, to orange, right; colours about a mid-grey.

    Args:
        weights: shape (features,), of one question.
        shape: height, width and channels.

    Returns:
        Shape (height, width, 3).
    """
    weights = weights.astype(np.float64).reshape(shape)
    sizes = np.sort(np.abs(weights), axis=None)
    # As in the page: one pixel that is far beyond the others would leave them all pale.
    scale = sizes[int(0.995 * (len(sizes) - 1))] or sizes[-1] or 1.0
    share = np.clip(weights / scale, -1, 1)
    if shape[2] > 1:
        return np.asarray(np.rint(128 + 127 * share[:, :, :3]), dtype=np.uint8)
    towards = np.where(share > 0, np.array(RIGHT), np.array(LEFT))
    return np.asarray(np.rint(np.array(NONE) + np.abs(share) * (towards - np.array(NONE))), dtype=np.uint8)


def picture_of_input(one: Array, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """An input's own shades: a low range of uint8 (digits: 0 to 16) is brightened, other numbers are spread out.

    Args:
        one: a raw input.
        shape: height, width and channels.

    Returns:
        Shape (height, width, 1 or 3).
    """
    pixels = one.reshape(shape).astype(np.float64)[:, :, :3]
    if one.dtype == np.uint8:
        low, high = 0.0, 255.0 if pixels.max() >= 128 else max(float(pixels.max()), 1.0)
    else:
        low, high = min(0.0, float(pixels.min())), float(pixels.max())
    shades = np.clip(255 * (pixels - low) / ((high - low) or 1.0), 0, 255)
    return np.rint(shades).astype(np.uint8)
