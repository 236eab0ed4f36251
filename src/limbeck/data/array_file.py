"""numpy's files, opened without running anything in them, and their arrays by name."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.errors import LimbeckError, UsageError, did_you_mean

INPUTS, LABELS, IDS = ("inputs", "X", "x"), ("labels", "y"), ("ids",)
OF_ALL_ROWS = ("classes", "features")
_KNOWN = [f"{name}{rows}" for name in (*INPUTS, *LABELS, *IDS) for rows in ("", "_train", "_test")]
_SOUGHT = "inputs and labels (or x_train, y_train, x_test, y_test), ids, classes, features"


@dataclass(frozen=True)
class ArrayFile:
    """The arrays of a file by their names, and where each comes from if not from a member of the file."""

    path: Path
    arrays: dict[str, npt.NDArray[Any]]
    places: dict[str, str]

    def find(self, names: tuple[str, ...], rows: str) -> str | None:
        """The one array of these names, "_train" or the like behind them."""
        found = [name + rows for name in names if name + rows in self.arrays]
        if len(found) > 1:
            raise LimbeckError(f"{self.path} holds {' and '.join(found)}, expected one of them: take one out")
        return found[0] if found else None

    def place(self, name: str) -> str:
        """An array, in a message."""
        return self.places.get(name, f'the array "{name}" of {self.path}')


def opened_arrays(path: Path) -> ArrayFile:
    """A file's arrays: those of an .npz file in memory; an .npy file's as `inputs`, mapped, and the labels beside it.

    Raises:
        UsageError: no such file, or none of numpy's by its name.
        LimbeckError: it is damaged, holds Python objects, or an array whose name says nothing to a data set.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise UsageError(f"{path} {found}, expected an .npy or .npz file: check the path")
    if path.suffix.lower() == ".npy":
        beside = path.with_suffix(".labels.npy")
        arrays, places = {"inputs": _mapped(path)}, {"inputs": str(path)}
        if beside.is_file():
            arrays["labels"], places["labels"] = _mapped(beside), str(beside)
        return ArrayFile(path, arrays, places)
    if path.suffix.lower() != ".npz":
        raise UsageError(f"{path} is no file of numpy's by its name, expected .npy or .npz: check the path")
    try:
        if not zipfile.is_zipfile(path):  # numpy would take it for a pickle
            raise ValueError("it is no zip archive")
        with path.open("rb") as content, np.load(content, allow_pickle=False) as archive:
            unknown = [name for name in archive.files if name not in (*_KNOWN, *OF_ALL_ROWS)]
            if unknown:
                raise LimbeckError(
                    f'{path} has an array "{unknown[0]}", expected {_SOUGHT}'
                    f"{did_you_mean(unknown[0], ['inputs', 'labels', *OF_ALL_ROWS])}: rename it or take it out"
                )
            arrays = {name: archive[name] for name in archive.files}
    except LimbeckError:
        raise
    except Exception as error:  # numpy, zipfile and zlib each have their own exceptions for a bad file
        raise _unreadable(path, error) from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise LimbeckError(f'"{name}" in {path} is no array: save the file with numpy.savez')
    return ArrayFile(path, arrays, {})


def _mapped(path: Path) -> npt.NDArray[Any]:
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # a header may be wrong in many ways
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> LimbeckError:
    reason = " ".join(str(error).split())
    if "bject" in reason:  # "Object arrays cannot be loaded …", "Python objects in dtype"
        return LimbeckError(
            f"{path} holds Python objects, which are not loaded because that could run code, expected numbers: save "
            "the array with a type of numbers, and texts as np.array(texts, dtype=str)"
        )
    return LimbeckError(f"{path} cannot be read as numpy's arrays ({reason[:120]}): save it anew")


def as_texts(file: ArrayFile, name: str, array: npt.NDArray[Any], expected: str) -> npt.NDArray[Any]:
    """An array of texts as str; `expected` says in a message what else it could have been."""
    if array.dtype.kind == "S":
        try:
            return np.char.decode(array, "utf-8")
        except UnicodeDecodeError:
            raise LimbeckError(f"{file.place(name)} holds texts that are not UTF-8: save them as str") from None
    if array.dtype.kind != "U":
        raise LimbeckError(f"{file.place(name)} holds {array.dtype}, expected {expected}: convert it")
    return array


def list_of_texts(file: ArrayFile, name: str) -> tuple[str, ...] | None:
    """A list of different names; None where it is not there."""
    array = file.arrays.get(name)
    if array is None:
        return None
    if array.ndim != 1:
        raise LimbeckError(f"{file.place(name)} has shape {array.shape}, expected a list of texts: flatten it")
    if name == "classes" and array.dtype.kind in "ui":
        array = array.astype(str)
    texts = tuple(map(str, as_texts(file, name, array, "texts")))
    if len(set(texts)) < len(texts):
        twice = next(text for text in texts if texts.count(text) > 1)
        raise LimbeckError(f'{file.place(name)} has "{twice}" more than once, expected different names: rename it')
    return texts
