"""Arrays of raw inputs from idx, .npy and .npz files, and from data sets."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.data import load_dataset
from limbeck.data.idx import read_idx_images
from limbeck.errors import LimbeckError


def fitting(
    raw: npt.NDArray[Any], shape: Sequence[int] | None, inputs: str, model: Path, rows: int | None = None
) -> npt.NDArray[Any]:
    """Raw inputs as a model takes them, shape (n, *shape): a single one gets its first axis.

    Args:
        raw: as they were read.
        shape: of one input that the model takes; None where any will do.
        inputs: where they come from, for messages.
        model: whose inputs they are to be, for messages.
        rows: only the first so many.

    Raises:
        LimbeckError: if they have another shape, are none, or one is not finite.
    """
    shape = raw.shape[1:] if shape is None else tuple(shape)
    if raw.shape[1:] != shape:
        if raw.shape == shape:
            raw = raw[np.newaxis]
        else:
            raise LimbeckError(f"{inputs} holds inputs of shape {raw.shape[1:]}, but {model} takes {shape}")
    raw = raw[:rows]
    if not len(raw):
        raise LimbeckError(f"{inputs} holds no rows: give at least one")
    if raw.dtype.kind == "f":
        raw = raw.astype(np.float32)
        if not np.isfinite(raw).all():
            row = int(np.argmin(np.isfinite(raw).reshape(len(raw), -1).all(axis=1)))
            raise LimbeckError(f"{inputs}: row {row} is not finite: mend the row or leave it out")
    return raw


def read_inputs(inputs: str) -> npt.NDArray[Any]:
    """Raw inputs (n, …) from an idx, .npy or .npz file, or the test rows of a data set.

    Raises:
        LimbeckError: if there is no such file, or it holds no array of numbers.
    """
    return read_rows(inputs)[0]


def read_rows(inputs: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64] | None]:
    """Raw inputs as `read_inputs` reads them, and their labels, shape (n,), where they are a data set's.

    Raises:
        LimbeckError: if there is no such file, or it holds no array of numbers.
    """
    path = Path(inputs)
    if not path.exists():
        if not inputs.startswith("idx:") and (path.suffix or "/" in inputs):
            raise LimbeckError(f"{inputs}: no such file, expected an idx, .npy or .npz file")
        dataset = load_dataset(inputs)
        part = dataset.test or dataset.train
        return part.inputs, part.labels
    if path.is_dir():
        raise LimbeckError(f"{inputs} is a folder: give one file, or idx:{inputs} for its test rows")
    if path.suffix in (".npy", ".npz"):
        return _numpy_array(path), None
    return read_idx_images(path), None


def read_features(inputs: str) -> tuple[str, ...] | None:
    """The names of a table's features, where an .npz file has them as an array of strings, "features"."""
    path = Path(inputs)
    if path.suffix != ".npz" or not path.is_file():
        return None
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile), np.load(path) as found:
        names = np.asarray(found["features"])
        if names.ndim == 1 and names.dtype.kind == "U":
            return tuple(map(str, names))
    return None


def _numpy_array(path: Path) -> npt.NDArray[Any]:
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            array = found
        else:
            name = "inputs" if "inputs" in found.files else found.files[0] if len(found.files) == 1 else None
            if name is None:
                raise LimbeckError(f'{path} holds {", ".join(found.files)}: name the array of inputs "inputs"')
            array = np.asarray(found[name])  # a member that is no array comes as bytes
    except LimbeckError:
        raise
    except Exception as error:  # numpy, zipfile and zlib each have their own exceptions for a bad file
        raise LimbeckError(f"{path} cannot be read as numpy arrays ({' '.join(str(error).split())[:120]})") from None
    if array.dtype.kind not in "uif" or array.ndim < 2:
        raise LimbeckError(f"{path} holds {array.dtype} of shape {array.shape}: expected numbers of shape (rows, …)")
    return array if array.dtype == np.uint8 else array.astype(np.float32)
