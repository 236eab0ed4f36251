"""numpy's files as data sets: .npz with inputs and labels, .npy with inputs, which may be larger than memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.data import scratch
from limbeck.data.array_file import IDS, INPUTS, LABELS, OF_ALL_ROWS, ArrayFile, as_texts, list_of_texts, opened_arrays
from limbeck.data.dataset import Dataset
from limbeck.data.form import Column, TableForm
from limbeck.data.part import Part
from limbeck.data.reading import Reading
from limbeck.data.scratch import copied
from limbeck.errors import LimbeckError, did_you_mean

_CHECKED_ROWS = 4096  # in one go


def load_arrays(path: Path, source: str, reading: Reading) -> Dataset:
    """A data set of numpy's arrays.

    An .npz file holds `inputs` (or `X`, `x`), shape (rows, …), and where there are any `labels` (or `y`), shape
    (rows,); or, as Keras's files do, `x_train` and `y_train`, with `x_test` and `y_test` for a test set. `ids` (with
    the same endings) are the rows' ids. `classes` are the classes' names in the order of their labels. `features` are
    the names of a table's columns: then NaN is a missing value. An .npy file holds inputs alone; NAME.labels.npy
    beside NAME.npy its labels.

    Labels are whole numbers 0 … k−1 (−1: none) or texts (empty: none), whose classes are sorted unless `classes` gives
    an order. Inputs of uint8 stay so, booleans become it, other numbers float32. A large .npy file of uint8 or float32
    is mapped and never held in memory; of another type it is converted by chunks, into a temporary file. An .npz
    file's arrays are read whole.

    Args:
        path: the file, .npz or .npy.
        source: the data set's name.
        reading: has nothing that applies to arrays; `load_dataset` refuses what is set in it.

    Raises:
        UsageError: no such file, or one that is neither by its name.
        LimbeckError: a file that is damaged, or arrays that do not fit each other.
    """
    file = opened_arrays(path)
    kind = training_rows(file)
    tested = kind == "_train" and file.find(INPUTS, "_test") is not None
    fitting = {name + rows for name in (*INPUTS, *LABELS, *IDS) for rows in ([kind, "_test"] if tested else [kind])}
    for name in file.arrays:
        if name not in fitting and name not in OF_ALL_ROWS:
            raise LimbeckError(
                f"{file.place(name)} belongs to no inputs, expected inputs of the same ending: take it out"
            )
    features = list_of_texts(file, "features")
    inputs = inputs_of(file, kind, as_table=features is not None)
    raw = _raw_labels(file, kind, len(inputs))
    classes = _classes(file, kind, raw)
    test_inputs = None
    if tested:
        test_inputs = inputs_of(file, "_test", as_table=features is not None)
        if test_inputs.shape[1:] != inputs.shape[1:] or test_inputs.dtype != inputs.dtype:
            raise LimbeckError(
                f"the test inputs of {path} are {test_inputs.dtype} with rows of shape {test_inputs.shape[1:]}, but "
                f"the training inputs {inputs.dtype} of shape {inputs.shape[1:]}: they must be alike"
            )
    form = None if features is None else _form(file, features, inputs, test_inputs)
    train = Part("train", inputs, _labels(file, kind, raw, classes), ids_of(file, kind, len(inputs)), classes, form)
    test = None
    if test_inputs is not None:
        raw = _raw_labels(file, "_test", len(test_inputs))
        labels = _labels(file, "_test", raw, classes)
        test = Part("test", test_inputs, labels, ids_of(file, "_test", len(test_inputs)), classes, form)
    return Dataset(source, train, test, classes)


def training_rows(file: ArrayFile) -> str:
    """How the names of the arrays of a file's (training) rows end: "" or "_train".

    Raises:
        LimbeckError: it holds both, or neither.
    """
    split = file.find(INPUTS, "_train") is not None
    if split == (file.find(INPUTS, "") is not None):
        held = "inputs with and without _train" if split else f"no inputs ({', '.join(file.arrays) or 'nothing'})"
        raise LimbeckError(f'{file.path} holds {held}, expected one array of them: name it "inputs"')
    return "_train" if split else ""


def inputs_of(file: ArrayFile, rows: str, *, as_table: bool) -> npt.NDArray[Any]:
    """The inputs as uint8 or float32 (a table's always), in C order."""
    name = file.find(INPUTS, rows)
    assert name is not None
    array = file.arrays[name]
    if array.dtype.kind not in "buif":
        raise LimbeckError(f"{file.place(name)} holds {array.dtype}, expected numbers: convert it")
    if array.ndim < 2 or not array.size:
        raise LimbeckError(
            f"{file.place(name)} has shape {array.shape}, expected (rows, …) with at least two dimensions and a row: "
            "reshape it"
        )
    small = array.dtype == np.uint8 or array.dtype.kind == "b"
    dtype = np.dtype(np.uint8 if small and not as_table else np.float32)
    # What is small is read, so that nothing depends on the file any more; what is large stays there.
    stays = not isinstance(array, np.memmap) or array.nbytes >= scratch.LARGE_BYTES
    return array if stays and array.dtype == dtype and array.flags.c_contiguous else copied(array, dtype)


def _raw_labels(file: ArrayFile, rows: str, count: int) -> npt.NDArray[Any] | None:
    """Labels as in the file: int64, or texts as str; None where there are none."""
    name = file.find(LABELS, rows)
    if name is None:
        return None
    array = np.array(file.arrays[name])
    if array.shape == (count, 1):  # as in Keras's files
        array = array[:, 0]
    if array.shape != (count,):
        hint = ": take its argmax(axis=1)" if array.ndim == 2 and len(array) == count else ": give every row its label"
        raise LimbeckError(
            f"{file.place(name)} has shape {array.shape}, expected ({count},) for {count} rows of inputs{hint}"
        )
    if array.dtype.kind in "bui":
        return array.astype(np.int64)
    return as_texts(file, name, array, "whole numbers or texts")


def _classes(file: ArrayFile, rows: str, raw: npt.NDArray[Any] | None) -> tuple[str, ...]:
    given = list_of_texts(file, "classes")
    if given is not None or raw is None:
        return given or ()
    found = np.unique(raw)
    if found.dtype.kind == "U":
        return tuple(str(text) for text in found if text)
    found = found[found >= 0]
    gaps = np.flatnonzero(found != np.arange(len(found)))
    if len(gaps):
        name = file.find(LABELS, rows)
        assert name is not None
        raise LimbeckError(
            f"{file.place(name)} goes up to {found[-1]}, but no row has {gaps[0]}, expected 0, 1, 2, … without gaps: "
            'renumber the labels, or name all classes in an array "classes"'
        )
    return tuple(map(str, found))


def _labels(
    file: ArrayFile, rows: str, raw: npt.NDArray[Any] | None, classes: tuple[str, ...]
) -> npt.NDArray[np.int64]:
    """Labels by number, −1 for none."""
    name = file.find(LABELS, rows)
    if raw is None or name is None:
        found = file.find(INPUTS, rows)
        assert found is not None
        return np.full(len(file.arrays[found]), -1, dtype=np.int64)
    if raw.dtype.kind != "U":
        if (raw < -1).any():
            row = int(np.argmax(raw < -1))
            raise LimbeckError(
                f"row {row} of {file.place(name)} is {raw[row]}, expected 0 or more, or -1 for none: mend the label"
            )
        if (raw >= len(classes)).any():
            row = int(np.argmax(raw >= len(classes)))
            raise LimbeckError(
                f"row {row} of {file.place(name)} is {raw[row]}, expected at most {len(classes) - 1} for "
                f'{len(classes)} classes: mend the label, or name all classes in an array "classes"'
            )
        return raw
    numbers = {text: number for number, text in enumerate(classes)} | ({} if "" in classes else {"": -1})
    texts, places = np.unique(raw, return_inverse=True)
    for place, text in enumerate(map(str, texts)):
        if text not in numbers:
            row = int(np.argmax(places == place))
            raise LimbeckError(
                f'row {row} of {file.place(name)} is "{text}", expected one of the {len(classes)} classes '
                f"({', '.join(classes[:12])}){did_you_mean(text, classes)}: mend the label, or name the class"
            )
    return np.array([numbers[str(text)] for text in texts], dtype=np.int64)[places.reshape(-1)]


def ids_of(file: ArrayFile, rows: str, count: int) -> npt.NDArray[np.int64]:
    """The rows' ids, shape (count,): those in the file, or row numbers from 0."""
    name = file.find(IDS, rows)
    if name is None:
        return np.arange(count)
    ids = file.arrays[name]
    if ids.dtype.kind not in "ui" or ids.shape != (count,):
        raise LimbeckError(
            f"{file.place(name)} holds {ids.dtype} of shape {ids.shape}, expected whole numbers of shape ({count},): "
            "give every row its id"
        )
    ids = ids.astype(np.int64)
    found, first, times = np.unique(ids, return_index=True, return_counts=True)
    if (times > 1).any() or found[0] < 0:
        wrong = int(np.argmax(times > 1)) if found[0] >= 0 else 0
        what = f"rows have the id {found[wrong]} more than once" if found[0] >= 0 else f"row {first[0]} is {found[0]}"
        raise LimbeckError(f"{file.place(name)}: {what}, expected ids of 0 or more, each once: renumber the rows")
    return ids


def check_features(file: ArrayFile, features: tuple[str, ...], inputs: npt.NDArray[Any]) -> None:
    """Raise a LimbeckError unless every column of the inputs, shape (rows, columns), has its name."""
    if inputs.shape[1:] != (len(features),):
        raise LimbeckError(
            f"{file.place('features')} names {len(features)} columns, but the inputs have shape {inputs.shape}, "
            "expected (rows, columns): give every column its name"
        )


def _form(
    file: ArrayFile, features: tuple[str, ...], inputs: npt.NDArray[Any], test_inputs: npt.NDArray[Any] | None
) -> TableForm:
    check_features(file, features, inputs)
    missing = missing_values(inputs)
    if test_inputs is not None:
        missing += missing_values(test_inputs)
    return TableForm(tuple(Column(name, None, bool(one)) for name, one in zip(features, missing, strict=True)))


def missing_values(inputs: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """How many NaN each column has, shape (columns,)."""
    found = np.zeros(inputs.shape[1], dtype=np.int64)
    for start in range(0, len(inputs), _CHECKED_ROWS):
        found += np.isnan(inputs[start : start + _CHECKED_ROWS]).sum(axis=0)
    return found
