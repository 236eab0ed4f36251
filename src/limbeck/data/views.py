"""Views: images turned, scaled, sheared and shifted at random, each a function of (seed, view, row id).

Random numbers come from Philox (Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3),
which turns a key and a counter into numbers without any state: the key is (seed, view), the
counter is the row's id. So a row's view is the same whatever batch, order or process it is made in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from limbeck.errors import UsageError

# What a view looks like under given settings; raised when that changes, because it enters keys.
VIEWS_VERSION = 1

_PER_ROW = 8  # 64-bit numbers drawn for a row: two Philox counters; seven are in use
_BLOCK = 512  # rows whose numbers are drawn together
_CHUNK_VALUES = 1 << 19  # pixels resampled together, so that they stay in the processor's cache


@dataclass(frozen=True)
class ViewSettings:
    """How far a view may depart from its row; each departure is drawn uniformly from ± its value.

    An image is scaled, then sheared, then turned, each about its centre, then shifted, and jittered.

    Attributes:
        rotate: degrees.
        scale: a fraction below 1: 0.1 draws factors between 0.9 and 1.1.
        shear: horizontal shift per vertical distance: 0.1 slants by up to 5.7 degrees.
        shift: pixels, along each axis.
        jitter: whole pixels, along each axis: a shift that blurs nothing, as in Hinton et al. 2015, sec. 3.

    Raises:
        UsageError: a value that is negative or not a number, a scale of 1 or more, or a jitter of parts of pixels.
    """

    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise UsageError(
                    f"views.{field.name} = {value!r} is not a number of 0 or more: the range is ± this value"
                )
            # 2 and 2.0 are the same setting, and must be the same in a key.
            object.__setattr__(self, field.name, float(value))
        if self.scale >= 1:
            raise UsageError(
                f"views.scale = {self.scale} would scale images down to nothing, expected a fraction "
                "below 1: 0.1 draws factors between 0.9 and 1.1"
            )

        if self.jitter != int(self.jitter):
            raise UsageError(f"views.jitter = {self.jitter} is in whole pixels: round it, or set views.shift")

    @property
    def is_plain(self) -> bool:
        """Whether every view is the row itself."""
        return not (self.resamples or self.jitter)

    @property
    def resamples(self) -> bool:
        """Whether pixels are mixed with their neighbours; a jitter alone only moves them."""
        return bool(self.rotate or self.scale or self.shear or self.shift)


def view_pixels(inputs: np.ndarray, ids: np.ndarray, *, view: int, seed: int, settings: ViewSettings) -> np.ndarray:
    """One view of each image, resampled bilinearly, with zeros from outside the image.

    Args:
        inputs: shape (n, height, width) or (n, height, width, channels), uint8 or float32.
        ids: shape (n,), int64, the rows' ids, not negative.
        view: the view's number; 0 is the row itself.
        seed: 0 to 2⁶⁴ − 1.
        settings: how far a view may depart.

    Returns:
        A new array of the inputs' shape and dtype (`inputs` itself for view 0 or settings of 0);
        uint8 is rounded to the nearest. The same row gives the same bytes in any batch.

    Raises:
        UsageError: inputs that are not images, ids that do not fit, a view or seed out of range.
    """
    _check(inputs, ids, view, seed)
    if view == 0 or settings.is_plain or not inputs.size:
        return inputs
    draws = uniform_draws(ids, view, seed)
    if not settings.resamples:
        return _moved(inputs, _jitters(draws, settings))
    return _resample(inputs, _inverse_maps(draws, settings))


def uniform_draws(ids: np.ndarray, view: int, seed: int, per_row: int = _PER_ROW) -> np.ndarray:
    """Uniform numbers in [−1, 1), shape (n, per_row), float64, the same for the same (seed, view, id).

    Args:
        ids: shape (n,), int64, not negative.
        view: the view's number.
        seed: 0 to 2⁶⁴ − 1.
        per_row: how many, a multiple of 4; another one gives other numbers.
    """
    key = np.array([seed, view], dtype=np.uint64)
    blocks, members = np.unique(ids // _BLOCK, return_inverse=True)
    order = np.argsort(members, kind="stable")
    ends = np.cumsum(np.bincount(members, minlength=len(blocks)))
    raw = np.empty((len(ids), per_row), dtype=np.uint64)
    # By blocks, so that neither a generator is made for each row nor sparse ids need a huge table.
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        rows = order[start:end]
        first, last = int(ids[rows].min()), int(ids[rows].max())
        generator = np.random.Philox(counter=first * per_row // 4, key=key)
        table = generator.random_raw((last - first + 1) * per_row).reshape(-1, per_row)
        raw[rows] = table[ids[rows] - first]
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def _jitters(draws: np.ndarray, settings: ViewSettings) -> np.ndarray:
    """Whole pixels to the right and down, shape (n, 2), int64, each of −jitter … jitter as likely as the others."""
    reach = int(settings.jitter)
    return np.floor((draws[:, 5:7] + 1) / 2 * (2 * reach + 1)).astype(np.int64) - reach


def _moved(inputs: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Images moved by whole pixels, with zeros from outside."""
    height, width = inputs.shape[1:3]
    moves = np.clip(moves, [-width, -height], [width, height])  # nothing is left to see of what moved further
    reach = int(np.abs(moves).max(initial=0))
    border = [(0, 0), (reach, reach), (reach, reach)] + [(0, 0)] * (inputs.ndim - 3)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(inputs, border), (height, width), axis=(1, 2))
    moved = windows[np.arange(len(inputs)), reach - moves[:, 1], reach - moves[:, 0]]
    return np.ascontiguousarray(moved if inputs.ndim == 3 else moved.transpose(0, 2, 3, 1))


def _inverse_maps(draws: np.ndarray, settings: ViewSettings) -> np.ndarray:
    """For each row the affine map from a view's pixel to the place in the image that it shows.

    Returns:
        Shape (n, 2, 3), float64, in pixels from the centre, x first.
    """
    angle = draws[:, 0] * math.radians(settings.rotate)
    # Vectorised sines may differ in the last bit by where in an array a value lies; these do not.
    cos = np.fromiter(map(math.cos, angle.tolist()), np.float64, len(angle))
    sin = np.fromiter(map(math.sin, angle.tolist()), np.float64, len(angle))
    shrink = 1.0 / (1.0 + draws[:, 1] * settings.scale)
    shear = draws[:, 2] * settings.shear
    jitter = _jitters(draws, settings)
    shift_x, shift_y = draws[:, 3] * settings.shift + jitter[:, 0], draws[:, 4] * settings.shift + jitter[:, 1]
    # The inverses of rotation R, shear H and scale S: x = S⁻¹ H⁻¹ R⁻¹ (x' − shift).
    maps = np.empty((len(draws), 2, 3))
    maps[:, 0, 0] = (cos + shear * sin) * shrink
    maps[:, 0, 1] = (sin - shear * cos) * shrink
    maps[:, 1, 0] = -sin * shrink
    maps[:, 1, 1] = cos * shrink
    maps[:, :, 2] = -(maps[:, :, 0] * shift_x[:, None] + maps[:, :, 1] * shift_y[:, None])
    return maps


def _resample(inputs: np.ndarray, maps: np.ndarray) -> np.ndarray:
    import torch
    from torch.nn import functional

    height, width = inputs.shape[1:3]
    columns = torch.arange(width, dtype=torch.float32) - (width - 1) / 2
    lines = torch.arange(height, dtype=torch.float32) - (height - 1) / 2
    # grid_sample's coordinates run from −1 to 1 between the outer edges of the outer pixels.
    scaled = torch.from_numpy((maps * (np.array([2 / width, 2 / height])[:, None])).astype(np.float32))

    result = np.empty_like(inputs, order="C")
    chunk = max(1, _CHUNK_VALUES // (height * width))
    for start in range(0, len(inputs), chunk):
        rows = slice(start, start + chunk)
        images = torch.from_numpy(inputs[rows].astype(np.float32))
        images = images[:, None] if inputs.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
        affine = scaled[rows]
        grid = torch.empty(len(images), height, width, 2)
        # Plain products and sums, not affine_grid: the last bits of its batched matrix product
        # depend on the batch.
        for axis in (0, 1):
            along_x = affine[:, axis, 0, None] * columns + affine[:, axis, 2, None]
            along_y = affine[:, axis, 1, None] * lines
            torch.add(along_x[:, None, :], along_y[:, :, None], out=grid[..., axis])
        sampled = functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        sampled = sampled[:, 0] if inputs.ndim == 3 else sampled.permute(0, 2, 3, 1)
        if inputs.dtype == np.uint8:
            sampled = sampled.round_().clamp_(0, 255).to(torch.uint8)
        result[rows] = sampled.numpy()
    return result


def _check(inputs: np.ndarray, ids: np.ndarray, view: int, seed: int) -> None:
    if inputs.ndim not in (3, 4) or inputs.dtype not in (np.uint8, np.float32):
        raise UsageError(
            f"views were asked of inputs of {inputs.dtype} with shape {inputs.shape}, expected images: "
            "uint8 or float32 with shape (rows, height, width) or (rows, height, width, channels); "
            "leave views out"
        )
    if ids.shape != inputs.shape[:1] or ids.dtype.kind not in "iu" or (ids < 0).any():
        raise UsageError(
            f"ids are an array of {ids.dtype} with shape {ids.shape}, expected {len(inputs)} integers "
            "of 0 or more: one for each row of inputs"
        )
    check_counters(view, seed)


def check_counters(view: int, seed: int) -> None:
    """A view's number and a seed are ones that the generator takes.

    Raises:
        UsageError: one of them is out of range.
    """
    for name, value in (("view", view), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
            raise UsageError(f"{name} = {value!r} is not a whole number from 0 to {2**64 - 1}: change it")
