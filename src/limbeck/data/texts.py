"""Texts as rows of bytes: UTF-8, filled up with zeros, so that they are indexed, hashed and kept like any inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.data.scratch import room_for

BETWEEN = "\x1f"
"""Between the two texts of a pair: the unit separator."""

_CHUNK_BYTES = 4 << 20  # of rows, looked at in one go
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


def wording(text: str) -> str:
    """A text, or a pair with `BETWEEN` in the middle, without what case and white space add to it."""
    return BETWEEN.join(" ".join(one.casefold().split()) for one in text.split(BETWEEN))


def wording_hash(text: str) -> int:
    """A 64-bit hash of a text's wording."""
    return int.from_bytes(hashlib.blake2b(wording(text).encode(), digest_size=8).digest(), "little")


def byte_lengths(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The length of each text in bytes, shape (n,)."""
    if not len(rows):
        return np.zeros(0, np.int64)
    lengths = np.empty(len(rows), np.int64)
    step = max(1, _CHUNK_BYTES // rows.shape[1])
    for start in range(0, len(rows), step):
        filled = rows[start : start + step] != 0
        lengths[start : start + step] = (rows.shape[1] - np.argmax(filled[:, ::-1], axis=1)) * filled.any(axis=1)
    return lengths


def lengths_and_bytes(rows: npt.NDArray[np.uint8]) -> Iterator[bytes]:
    """What there is to hash of texts, some at a time: their lengths (int64, little-endian), then their bytes."""
    step = max(1, _CHUNK_BYTES // rows.shape[1])
    lengths = byte_lengths(rows)
    yield lengths.astype("<i8", copy=False).tobytes()
    places = np.arange(rows.shape[1])
    for start in range(0, len(rows), step):
        some = slice(start, start + step)
        yield rows[some][places < lengths[some, None]].tobytes()


def widened(rows: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    """The same texts in rows of this width, which is that of the longest one or more."""
    if rows.shape[1] == width:
        return rows
    array = room_for((len(rows), width), np.uint8)
    placed(rows, array)
    return array


def placed(rows: npt.NDArray[Any], room: npt.NDArray[Any]) -> None:
    """Copy rows into an array of as many rows, which may be wider where they are texts: zeros fill it up."""
    if rows.shape == room.shape:
        room[...] = rows
        return
    room[:, : rows.shape[1]] = rows
    room[:, rows.shape[1] :] = 0
