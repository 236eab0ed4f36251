"""Sparse targets in few bytes: what is rounded, and to what.

Values are kept as their distance d ≤ 0 below the row's highest. In 8 bits (or 6) as levels, L = 256 (64):
round(L · (1 − e^(d/4))), so that e^(d/4) is known within 1 / 2L. That is even in the fourth root of the probability:
finest where probability is, and coarser by a factor of e only every 4 nats, because a higher temperature makes low
values count. From level L − 8 on, where these would be more than half a nat apart (d = −4 ln (L/8): 13.9 nats down, or
8.3), each half nat is a level: there the values of a very sure teacher lie. In 16 bits: the float16 of −d, as the
integer of the same bits. All rise along a row, and their steps are what is coded.

Tails t are rounded to 1/512 and lie between −64 and 64. At T = 2, 4 and 10, t is the tail's log-sum-exp; at T = 1 it is
the tail's log-odds. As all probabilities are one together, the odds also say where the top values lie, so that none of
these is stored, and the sum is exact. What is coded is the distance from the median of all rows, with its sign in the
lowest bit, and 1 added: 0 is an empty tail.

Indices may be numbered anew, the class that is most often among the top first, where that saves more bytes than
the list of classes takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from limbeck.knowledge.sparse_coding import RowReader, buckets_of, coded, fitting_prefixes

Bits = Literal[6, 8, 16]
Array = npt.NDArray[Any]

MOST_CLASSES = 2**24 - 1
_TAIL_STEPS, _TAIL_LIMIT = 512, 64


def narrow(values: Array) -> Array:
    """Integers of at least 0 in the fewest bytes that hold them all."""
    highest = int(values.max(initial=0))
    return values.astype(np.min_scalar_type(highest))


def packed(values: Array, indices: Array, tails: Array, classes: int, bits: Bits) -> dict[str, Array]:
    """Arrays to be written for targets, as `PackedRows` reads them.

    Args:
        values: float32, shape (rows, k), top log-probabilities at temperature 1, highest first.
        indices: integers, shape (rows, k).
        tails: float32, shape (rows, 4).
        classes: how many there are in all.
        bits: of a value.
    """
    steps = np.diff(_value_codes(values, bits), axis=1, prepend=0)
    order, numbers = _order(indices, classes)
    tail_codes, medians = _tail_codes(values, tails)
    rows = coded(np.concatenate([tail_codes, steps, numbers], axis=1))
    # Rows of one k are of much the same length: what they have above the shortest mostly fits a byte.
    least = rows.lengths.min(initial=2**62) if len(rows.lengths) else np.int64(0)
    return {
        "bits": rows.bits,
        "least": np.asarray([least], np.int64),
        "lengths": narrow(rows.lengths - least),
        "prefixes": rows.prefixes,
        "order": order,
        "medians": medians,
    }


class PackedRows:
    """Reads targets back, any rows in any order.

    Args:
        arrays: as `packed` gave them.
        bits: of a value.
    """

    def __init__(self, arrays: Mapping[str, Array], bits: Bits) -> None:
        lengths = arrays["lengths"].astype(np.int64) + arrays["least"]
        self._reader = RowReader(arrays["bits"], lengths, arrays["prefixes"])
        self._medians, self._order, self._bits = arrays["medians"], arrays["order"], bits

    def rows(self, numbers: npt.NDArray[np.int64]) -> tuple[Array, Array, Array]:
        """Values float32 (rows, k), indices int64 (rows, k) and tails float32 (rows, 4) of rows by their numbers."""
        found = self._reader.rows(numbers)
        codes, found = found[:, : len(self._medians)], found[:, len(self._medians) :]
        k = found.shape[1] // 2
        below = _below(np.cumsum(found[:, :k], axis=1), self._bits)
        indices = self._order[found[:, k:]].astype(np.int64) if len(self._order) else np.ascontiguousarray(found[:, k:])
        distances = np.where((codes - 1) & 1, -(codes >> 1), (codes - 1) >> 1)
        tails = ((self._medians + distances) / _TAIL_STEPS).astype(np.float32)
        tails[codes == 0] = -np.inf
        odds = tails[:, 0].astype(np.float64)
        top = -np.logaddexp(0, odds)
        values = below + (top - np.log(np.exp(below).sum(axis=1, dtype=np.float64)))[:, np.newaxis].astype(np.float32)
        tails[:, 0] = -np.logaddexp(0, -odds)
        return values, indices, tails


def _value_codes(values: Array, bits: Bits) -> npt.NDArray[np.int64]:
    below = values - values[:, :1]
    if bits == 16:
        codes: Array = np.minimum(np.abs(below), np.finfo(np.float16).max).astype(np.float16).view(np.uint16)
    else:
        last, lowest = _last_root(bits)
        further = np.rint(np.clip(2 * (lowest - below), 0, MOST_CLASSES - 2**bits))
        codes = np.minimum(np.rint(-np.expm1(below / 4) * 2**bits), last) + further
    return codes.astype(np.int64)


def _below(codes: npt.NDArray[np.int64], bits: Bits) -> npt.NDArray[np.float32]:
    """Distances below the highest value; the inverse of `_value_codes`."""
    if bits == 16:
        return -codes.astype(np.uint16).view(np.float16).astype(np.float32)
    last, _ = _last_root(bits)
    distances: npt.NDArray[np.float32] = (4 * np.log1p(-np.arange(last + 1) / 2**bits)).astype(np.float32)
    further = np.maximum(codes - last, 0)
    return distances[codes - further] - further.astype(np.float32) / np.float32(2)


def _last_root(bits: Bits) -> tuple[int, float]:
    """The last level that is even in the fourth root of the probability, and its distance below the highest value."""
    last = 2**bits - 8
    return last, 4 * float(np.log1p(-last / 2**bits))


def _tail_codes(values: Array, tails: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    kept = tails.astype(np.float64)
    top = values[:, 0].astype(np.float64)
    # The mass of the values themselves, and not 1 − the tail's: neither is then lost beside the other.
    kept[:, 0] -= top + np.log(np.exp(values.astype(np.float64) - top[:, np.newaxis]).sum(axis=1))
    steps = np.rint(_TAIL_STEPS * np.clip(kept, -_TAIL_LIMIT, _TAIL_LIMIT)).astype(np.int64)
    medians = np.sort(steps, axis=0)[len(steps) // 2] if len(steps) else np.zeros(tails.shape[1], np.int64)
    distances = steps - medians
    codes = 1 + 2 * np.abs(distances) - (distances < 0)
    return np.where(np.isneginf(tails), 0, codes), medians


def _order(indices: Array, classes: int) -> tuple[Array, npt.NDArray[np.int64]]:
    """The classes by how often they are among the top (none, if that does not pay), and the indices so numbered."""
    indices = indices.astype(np.int64)
    order = np.argsort(-np.bincount(indices.ravel(), minlength=classes), kind="stable")
    order = order.astype(np.min_scalar_type(classes - 1))
    place = np.empty(classes, np.int64)
    place[order] = np.arange(classes)
    numbers = place[indices]
    plainly, anew = (fitting_prefixes(buckets_of(one))[1] for one in (indices, numbers))
    if (plainly - anew) / 8 > order.nbytes:
        return order, numbers
    return order[:0], indices
