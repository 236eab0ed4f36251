"""Arrays without labels that are to go with a data set's rows: whether they fit, and a table's columns among them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.data.array_file import INPUTS, LABELS, ArrayFile, list_of_texts, opened_arrays
from limbeck.data.arrays import check_features, ids_of, inputs_of, missing_values, training_rows
from limbeck.data.form import TableForm
from limbeck.data.part import Part
from limbeck.data.scratch import copied
from limbeck.data.table_file import listed
from limbeck.data.table_rows import missing_note
from limbeck.errors import LimbeckError, did_you_mean


def unlabelled_arrays(
    path: Path, like: Part, tell: Callable[[str], None], taught: str
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """The inputs in a file of numpy's, and their ids.

    Args:
        path: .npy or .npz, as `load_arrays` has it.
        like: rows that these are to go with.
        tell: is told of labels and test rows that are not read.
        taught: who was taught with rows like `like`, for messages.

    Returns:
        Shape (n, …) as in `like` and of its type, still in the file where that is large; and shape (n,).

    Raises:
        LimbeckError: as `unlabelled_part`.
    """
    file = opened_arrays(path)
    rows = training_rows(file)
    name = file.find(INPUTS, rows)
    assert name is not None
    array = file.arrays[name]
    _tell_what_is_left(file, tell)
    form = like.form
    if not isinstance(form, TableForm):
        check_array(path, array, like)
        inputs = inputs_of(file, rows, as_table=False)
        return inputs, ids_of(file, rows, len(inputs))
    features = list_of_texts(file, "features")
    if any(form.categorical):
        texts = listed([column.name for column in form.columns if column.categories is not None], 3)
        raise LimbeckError(
            f"{path} holds numbers alone, but the data has columns of texts ({texts}): give a table (.csv, .tsv, "
            ".parquet) with its columns"
        )
    if features is None or not len(array):
        check_array(path, array, like)
    inputs = inputs_of(file, rows, as_table=True)
    if features is not None:
        check_features(file, features, inputs)
        inputs = _by_name(path, inputs, features, form, taught)
    for column, count in zip(form.columns, missing_values(inputs), strict=True):
        if count and not column.missing:
            tell(missing_note(column.name, int(count), taught))
    return inputs, ids_of(file, rows, len(inputs))


def check_array(path: Path, array: npt.NDArray[Any], like: Part) -> None:
    """That an array has rows, and these the shape and type of the data's.

    Raises:
        LimbeckError: it has not.
    """
    if not len(array):
        raise LimbeckError(f"{path} holds no rows, expected at least one: use another file")
    if array.shape[1:] != like.inputs.shape[1:]:
        raise LimbeckError(
            f"{path} holds inputs of shape {array.shape[1:]}, but the data's have {like.inputs.shape[1:]}: bring them "
            "to that shape"
        )
    is_small = array.dtype == np.uint8 or array.dtype.kind == "b"
    if isinstance(like.form, TableForm) or array.dtype.kind not in "buif":  # whoever reads it says what is wrong
        return
    if is_small != (like.inputs.dtype == np.uint8):
        wanted = like.inputs.dtype
        raise LimbeckError(
            f"{path} holds inputs of {array.dtype}, but the data's are {wanted}: save them as {wanted}, with values "
            "that mean the same as the data's"
        )


def _tell_what_is_left(file: ArrayFile, tell: Callable[[str], None]) -> None:
    for rows in ("", "_train"):
        name = file.find(LABELS, rows)
        if name is not None:
            tell(f"{file.place(name)} is left aside: these rows count as unlabelled")
    name = file.find(INPUTS, "_test")
    if name is not None:
        tell(f"{file.place(name)} is left aside: only training rows are read")


def _by_name(
    path: Path, inputs: npt.NDArray[Any], features: tuple[str, ...], form: TableForm, taught: str
) -> npt.NDArray[Any]:
    """A table's columns in the order of its form."""
    for name in form.names:
        if name not in features:
            raise LimbeckError(
                f'{path} has no column "{name}" among its features, expected every column that {taught} was trained on'
                f"{did_you_mean(name, features) or f': found {listed(features)}'}"
            )
    if features == form.names:
        return inputs
    return copied(inputs[:, [features.index(name) for name in form.names]])
