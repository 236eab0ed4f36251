"""Arrays that may be larger than memory: over a size they lie in a temporary file, which is gone with them."""

from __future__ import annotations

import errno
import math
import os
import tempfile

import numpy as np
import numpy.typing as npt

from limbeck.errors import LimbeckError

LARGE_BYTES = 256 * 2**20
"""From here on an array is put into a file."""

_CHUNK_BYTES = 4 * 2**20  # copied at a time


def room_for(shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
    """An array to be filled: in memory, or where that takes `LARGE_BYTES` or more, over an unlinked temporary file.

    The file lies where `tempfile` puts it (TMPDIR), and its space is taken at once: a disk that runs full under a
    mapped file would end the process without a word.

    Raises:
        LimbeckError: there is not that much space.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < LARGE_BYTES:
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile() as file:
            if hasattr(os, "posix_fallocate"):
                try:
                    os.posix_fallocate(file.fileno(), 0, size)
                except OSError as error:
                    if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that cannot be asked
                        raise
            return np.memmap(file, dtype, "r+", shape=shape)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise LimbeckError(
            f"no room in {tempfile.gettempdir()} for {size / 1e9:.3g} GB of temporary data ({reason}): free some "
            "space, or set TMPDIR to a folder on a larger disk"
        ) from error


def copied(
    array: np.ndarray, dtype: npt.DTypeLike | None = None, rows: npt.NDArray[np.int64] | None = None
) -> np.ndarray:
    """A copy in C order, made by chunks, in memory or in a file as `room_for` has it.

    Args:
        array: shape (n, …), possibly a mapped file.
        dtype: of the copy; by default the array's.
        rows: which rows, in this order; by default all.

    Raises:
        LimbeckError: as `room_for`.
    """
    count = len(array) if rows is None else len(rows)
    copy = room_for((count, *array.shape[1:]), dtype or array.dtype)
    step = max(1, _CHUNK_BYTES // max(1, math.prod(array.shape[1:]) * array.dtype.itemsize))
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit a dtype becomes infinite; a part says so
        for start in range(0, count, step):
            some = slice(start, start + step)
            copy[some] = array[some if rows is None else rows[some]]
    return copy
