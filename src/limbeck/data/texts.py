"""Texts as rows of bytes: UTF-8, filled up with zeros, so that they are indexed, hashed and kept like any other inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.data.scratch import room_for

BETWEEN = "\x1f"
"""Between the two texts of a pair: the unit separator."""

_KEPT_OUT = str.maketrans({"\0": " ", BETWEEN: " "})


def packed(texts: Sequence[str], second: Sequence[str] | None = None) -> npt.NDArray[np.uint8]:
    """Texts, or pairs of texts, as an array; a NUL or a unit separator in one becomes a space.

    Args:
        texts: n of them.
        second: of pairs, the second ones.

    Returns:
        uint8 of shape (n, width), where width is the longest one's length in bytes, at least 1.
    """
    rows = [text.translate(_KEPT_OUT) for text in texts]
    if second is not None:
        rows = [f"{one}{BETWEEN}{two.translate(_KEPT_OUT)}" for one, two in zip(rows, second, strict=True)]
    encoded = [row.encode() for row in rows]
    array = room_for((len(encoded), max(1, max(map(len, encoded), default=1))), np.uint8)
    for number, row in enumerate(encoded):
        array[number, : len(row)] = np.frombuffer(row, np.uint8)
        array[number, len(row) :] = 0
    return array


def unpacked(rows: npt.NDArray[Any]) -> list[str]:
    """The texts in rows as `packed` gives them; pairs have `BETWEEN` in the middle."""
    return [bytes(row).rstrip(b"\0").decode(errors="replace") for row in np.asarray(rows)]


def byte_lengths(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The length of each text in bytes, shape (n,)."""
    if not len(rows):
        return np.zeros(0, np.int64)
    return np.asarray(rows.shape[1] - np.argmax(rows[:, ::-1] != 0, axis=1), np.int64) * (rows != 0).any(axis=1)


def widened(rows: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    """The same texts in rows of this width, which is that of the longest one or more."""
    if rows.shape[1] == width:
        return rows
    array = room_for((len(rows), width), np.uint8)
    array[:, : rows.shape[1]] = rows
    array[:, rows.shape[1] :] = 0
    return array
