"""Columns of small integers in the bits they need: a prefix code over ranges of values, of its own for each column.

Values 0 to 3 are a bucket each; above, the values from 2^e to 2^(e+1) − 1 are two of equal width. A value is written as
the prefix of its bucket, by a canonical Huffman code (Huffman 1952), and then as the e − 1 bits that say where in the
bucket: Elias' gamma code (1975), finer, and with prefixes that fit the column. Evenly spread values cost what a fixed
width costs; where low values are frequent, less.

A row is its columns' codes one after the other, the highest bit first, filled up to whole bytes with zeros, so that a
row can be read without those before it. Rows are read at once, column by column.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BUCKETS = 48  # values are below 2^24; a bucket's prefix and place must fit 32 bits together
LONGEST = 10  # of a prefix, in bits: what is frequent is short, and a table of all prefixes stays small
_BITS_AT_ONCE = 2**22
_ROWS_AT_ONCE = 2**13
# Of each bucket, the bits that say where in it a value is, and the lowest value.
_WIDTHS = np.maximum(np.arange(BUCKETS) // 2 - 1, 0)
_LOWEST = np.where(np.arange(BUCKETS) < 4, np.arange(BUCKETS), (2 + np.arange(BUCKETS) % 2) << _WIDTHS)

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CodedRows:
    """Rows of integers as bits.

    Attributes:
        bits: uint8, the rows one after the other.
        lengths: int64, shape (rows,), the bytes of each row.
        prefixes: uint8, shape (columns, BUCKETS), 0 for a bucket that does not occur, else 1 + the bits of its prefix.
    """

    bits: npt.NDArray[np.uint8]
    lengths: Ints
    prefixes: npt.NDArray[np.uint8]


def buckets_of(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The bucket of each value."""
    values = np.asarray(values, np.int64)
    octave = np.maximum(np.frexp(values.astype(np.float64))[1] - 1, 1)  # exact, as float64 holds the values
    return np.where(values < 4, values, 2 * octave + ((values >> (octave - 1)) & 1)).astype(np.uint8)


def fitting_prefixes(buckets: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], int]:
    """The prefixes that fit buckets of shape (rows, columns), and the bits that all rows would take with them."""
    columns = buckets.shape[1]
    flat = (buckets + BUCKETS * np.arange(columns)).ravel()
    counts = np.bincount(flat, minlength=columns * BUCKETS).reshape(columns, BUCKETS)
    prefixes = np.array([_huffman(column) for column in counts.tolist()], np.uint8).reshape(columns, BUCKETS)
    taken = counts * (np.maximum(prefixes.astype(np.int64), 1) - 1 + _WIDTHS)
    return prefixes, int(taken.sum())


def coded(values: npt.NDArray[Any]) -> CodedRows:
    """Integers as bits.

    Args:
        values: shape (rows, columns), integers from 0 to 2^24 − 1.
    """
    rows, columns = values.shape
    buckets = buckets_of(values)
    prefixes, _ = fitting_prefixes(buckets)
    words = _canonical(prefixes)
    every = np.arange(columns)
    lengths = np.empty(rows, np.int64)
    pieces = []
    step = max(1, _BITS_AT_ONCE // (32 * max(1, columns)))
    for start in range(0, rows, step):
        some = slice(start, min(start + step, rows))
        bucket = buckets[some].astype(np.int64)
        widths = np.zeros((len(bucket), columns + 1), np.int64)
        widths[:, :-1] = prefixes[every, bucket].astype(np.int64) - 1 + _WIDTHS[bucket]
        used = widths.sum(axis=1)
        lengths[some] = (used + 7) // 8
        widths[:, -1] = 8 * lengths[some] - used
        codes = np.zeros(widths.shape, np.uint32)
        codes[:, :-1] = (words[every, bucket] << _WIDTHS[bucket]) + (values[some] - _LOWEST[bucket])
        pieces.append(_bits_of(codes.ravel(), widths.ravel()))
    return CodedRows(np.concatenate(pieces) if pieces else np.empty(0, np.uint8), lengths, prefixes)


class RowReader:
    """Reads rows of integers from their bits.

    Args:
        bits: as `CodedRows.bits`.
        lengths: as `CodedRows.lengths`.
        prefixes: as `CodedRows.prefixes`.
    """

    def __init__(self, bits: npt.NDArray[np.uint8], lengths: Ints, prefixes: npt.NDArray[np.uint8]) -> None:
        # Eight bytes are read from wherever a code begins, beyond the end of the last row, too.
        padded = np.concatenate([bits, np.zeros(8, np.uint8)])
        self._windows = np.ndarray((len(bits) + 1,), ">u8", buffer=padded.data, strides=(1,))
        self._starts = 8 * (np.cumsum(lengths) - lengths)
        self._tables = _tables(prefixes)

    def rows(self, numbers: Ints) -> npt.NDArray[np.int64]:
        """The integers of rows by their numbers (rows,), shape (rows, columns)."""
        found = np.empty((len(self._tables), len(numbers)), np.int64)
        for first in range(0, len(numbers), _ROWS_AT_ONCE):
            some = slice(first, first + _ROWS_AT_ONCE)
            self._read(self._starts[numbers[some]], found[:, some])
        return found.T

    def _read(self, at: Ints, into: npt.NDArray[np.int64]) -> None:
        one, all_but_one, rest = np.uint64(1), np.uint64(63), np.uint64(64 - LONGEST)
        for column, table in enumerate(self._tables):
            window = self._windows[at >> 3].astype(np.uint64)
            window <<= (at & 7).astype(np.uint64)
            entry = table[window >> rest].astype(np.int64)
            length, bucket = entry & 15, entry >> 4
            width = _WIDTHS[bucket]
            window <<= length.astype(np.uint64)
            # In two steps, because no bits at all would be a shift by 64, which processors take for one by 0.
            place = (window >> one) >> (all_but_one - width.astype(np.uint64))
            into[column] = place.astype(np.int64) + _LOWEST[bucket]
            at = at + length + width


def _huffman(counts: list[int]) -> list[int]:
    """Of each bucket 1 + the length of its prefix, at most LONGEST; 0 where the count is 0."""
    while True:
        trees = [(count, bucket, [bucket]) for bucket, count in enumerate(counts) if count]
        lengths = [int(count > 0) for count in counts]
        heapq.heapify(trees)
        while len(trees) > 1:
            (low, tie, left), (high, _, right) = heapq.heappop(trees), heapq.heappop(trees)
            for bucket in left + right:
                lengths[bucket] += 1
            heapq.heappush(trees, (low + high, tie, left + right))
        if max(lengths, default=0) <= LONGEST + 1:
            return lengths
        counts = [(count + 1) // 2 for count in counts]  # nearer to each other, until none is too long


def _canonical(prefixes: npt.NDArray[np.uint8]) -> Ints:
    """The prefixes themselves, shape (columns, BUCKETS): in the order of their length, then of their bucket."""
    words = np.zeros(prefixes.shape, np.int64)
    for column, lengths in enumerate(prefixes.tolist()):
        word, before = 0, 0
        for length, bucket in sorted((length - 1, bucket) for bucket, length in enumerate(lengths) if length):
            word <<= length - before
            words[column, bucket] = word
            word, before = word + 1, length
    return words


def _tables(prefixes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """What LONGEST bits begin with, shape (columns, 2^LONGEST): 16 · bucket + the length of its prefix."""
    tables = np.zeros((len(prefixes), 1 << LONGEST), np.uint16)
    words = _canonical(prefixes)
    for column, bucket in np.argwhere(prefixes > 0).tolist():
        length = int(prefixes[column, bucket]) - 1
        first = int(words[column, bucket]) << (LONGEST - length)
        tables[column, first : first + (1 << (LONGEST - length))] = 16 * bucket + length
    return tables


def _bits_of(codes: npt.NDArray[np.uint32], widths: Ints) -> npt.NDArray[np.uint8]:
    """Codes of these widths one after the other, packed; together they are whole bytes."""
    ends = np.cumsum(widths)
    left = np.repeat(ends.astype(np.int32), widths) - np.arange(1, int(ends[-1]) + 1, dtype=np.int32)
    return np.packbits(((np.repeat(codes, widths) >> left.astype(np.uint32)) & 1).astype(np.uint8))
