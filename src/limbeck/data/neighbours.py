"""Which row of a table is nearest to each: what MUNGE mixes a row with."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.data.form import ImageForm, TableForm, TextForm
from limbeck.data.part import Part
from limbeck.errors import UsageError

Floats = npt.NDArray[np.float64]

_BLOCK = 256, 4096  # rows whose distances to others are computed together, and those others
_NARROW = 64  # up to so many categories, a column is compared by matrix product

_nearest: weakref.WeakKeyDictionary[Part, npt.NDArray[np.int64]] = weakref.WeakKeyDictionary()


def nearest_rows(part: Part) -> npt.NDArray[np.int64]:
    """For each row the nearest that differs from it: its place in the part, shape (n,).

    The squared distance is the sum of squared differences between numbers, scaled to [0, 1] in each column, plus 1
    for each category that differs. A number that is missing stands at the column's mean, a category that is missing
    is one of its own. Of several rows equally near, one is chosen by its values; where all rows are equal, a row is its
    own neighbour. All pairs are compared, block by block: 45,000 rows of 30 columns take about ten seconds on one core.
    Kept as long as the part is.

    Raises:
        UsageError: inputs that are no table.
    """
    check_table(part)
    if part not in _nearest:
        _nearest[part] = _all_nearest(part)
    return _nearest[part]


def categorical_columns(part: Part) -> npt.NDArray[np.bool_]:
    """Which columns of a table hold categories, shape (columns,); none without a form."""
    if isinstance(part.form, TableForm):
        return part.form.categorical
    return np.zeros(part.inputs.shape[1], dtype=bool)


def check_table(part: Part) -> None:
    """Refuse inputs that are no table.

    Raises:
        UsageError: they are images, texts, or of another shape.
    """
    if part.inputs.ndim != 2 or isinstance(part.form, ImageForm | TextForm):
        raise UsageError(
            f'synthetic rows were asked of part "{part.name}" with inputs of shape {part.inputs.shape}, expected a '
            "table of shape (rows, columns): images have views in their place"
        )


def _all_nearest(part: Part) -> npt.NDArray[np.int64]:
    categorical = categorical_columns(part)
    codes = np.empty((len(part), int(categorical.sum())), np.int64)
    for place, column in enumerate(np.flatnonzero(categorical)):
        codes[:, place] = np.unique(part.inputs[:, column], return_inverse=True)[1].reshape(-1)
    kinds = codes.max(axis=0, initial=-1) + 1
    narrow = kinds <= _NARROW
    dimensions = int((~categorical).sum() + kinds[narrow].sum() + (~narrow).sum())
    # In whole numbers and of this size, products and sums are exact in float64, in whatever order they are taken: so
    # the nearest row is the same under any number of threads, and ties are ties.
    unit = math.isqrt(2**50 // max(1, dimensions))
    numbers = np.rint(_to_unit_range(part.inputs[:, ~categorical]) * (unit * math.sqrt(2)))
    table = np.column_stack([numbers.astype(np.int64), codes])
    _, first, distinct = np.unique(table, axis=0, return_index=True, return_inverse=True)
    codes = codes[first]
    shown = [np.eye(count)[codes[:, place]] * unit for place, count in enumerate(kinds) if narrow[place]]
    nearest = _nearest_of(np.column_stack([numbers[first], *shown]), codes[:, ~narrow], 2.0 * unit**2)
    return np.asarray(first[nearest[distinct.reshape(-1)]], dtype=np.int64)


def _to_unit_range(numbers: npt.NDArray[Any]) -> Floats:
    """Columns scaled to [0, 1], with their means where values are missing."""
    wide = numbers.astype(np.float64)
    known = ~np.isnan(wide)
    low = np.where(known, wide, np.inf).min(axis=0, initial=np.inf)
    span = np.where(known, wide, -np.inf).max(axis=0, initial=-np.inf) - low
    usable = np.isfinite(span) & (span > 0)
    scaled = np.where(known & usable, (wide - np.where(usable, low, 0)) / np.where(usable, span, 1), 0)
    means = scaled.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.asarray(np.where(known, scaled, means))


def _nearest_of(points: Floats, codes: npt.NDArray[np.int64], differing: float) -> npt.NDArray[np.int64]:
    """For each of several points, no two of which are equal, the nearest other one; the first of those equally near.

    Args:
        points: shape (n, dimensions).
        codes: categories beside them, shape (n, columns).
        differing: the squared distance that a category adds that differs.

    Returns:
        Shape (n,); a single point's is itself.
    """
    squares = (points**2).sum(axis=1)
    nearest = np.zeros(len(points), np.int64)
    for start in range(0, len(points), _BLOCK[0]):
        here = slice(start, start + _BLOCK[0])
        rows = np.arange(start, min(start + _BLOCK[0], len(points)))
        least = np.full(len(rows), np.inf)
        for begin in range(0, len(points), _BLOCK[1]):
            there = slice(begin, begin + _BLOCK[1])
            distances = points[here] @ points[there].T
            distances *= -2
            distances += squares[there]  # without the row's own square, which is the same for all
            for column in codes.T:
                distances += differing * (column[here, np.newaxis] != column[there])
            own = np.flatnonzero((rows >= begin) & (rows < begin + distances.shape[1]))
            distances[own, rows[own] - begin] = np.inf
            found = distances.argmin(axis=1)
            value = distances[np.arange(len(rows)), found]
            nearer = value < least
            least[nearer] = value[nearer]
            nearest[rows[nearer]] = found[nearer] + begin
    return nearest
