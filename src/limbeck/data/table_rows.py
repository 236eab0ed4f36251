"""Rows of a table: for a data set, for a saved model, and as frames for teachers that were fitted on frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.data.form import UNKNOWN, Column, TableForm
from limbeck.data.scratch import room_for
from limbeck.data.table_file import TableFile, listed, no_rows, quoted
from limbeck.data.table_opening import open_table
from limbeck.data.table_values import codes_of, encoded, texts, whole, whole_numbers
from limbeck.errors import LimbeckError, UsageError, did_you_mean


@dataclass(frozen=True, eq=False)
class TableRows:
    """Rows of a table for a saved model.

    Attributes:
        inputs: shape (n, columns), float32, as `TableForm` has them.
        labels: shape (n,), int64, −1 where a row has none; None where no label was asked for.
        ids: shape (n,), int64.
        notes: what was met that the model has never seen, a line each.
    """

    inputs: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64] | None
    ids: npt.NDArray[np.int64]
    notes: list[str]


def read_table_rows(
    path: Path,
    form: TableForm,
    label: str | None = None,
    classes: tuple[str, ...] | None = None,
    *,
    id: str | None = None,
    taught: str = "the model",
) -> TableRows:
    """A table's rows as a saved model takes them: columns found by name, in any order, further ones left aside.

    Args:
        path: see `open_table`.
        form: the model's.
        label: the column of labels, where they are wanted; then with `classes`, the model's.
        classes: in the order of the labels.
        id: the column of ids; without it, row numbers from 0.
        taught: who was taught with rows of this form, for messages.

    Raises:
        UsageError: no such file.
        LimbeckError: a column is missing, a column of numbers has a text, a label is none of the classes.
    """
    table = open_table(path)
    for column in [*form.names, *(one for one in (label, id) if one is not None)]:
        if column not in table.names:
            raise LimbeckError(
                f'{path} has no column "{column}", expected {_role(column, label, id, taught)}'
                f"{did_you_mean(column, table.names) or f': found {listed(table.names)}'}"
            )
    table.check_usable([*form.names, *(one for one in (label, id) if one is not None)])
    rows = table.count_rows()
    if not rows:
        raise no_rows(path)
    return all_rows(table, rows, form, label, {name: name for name in classes or ()}, id, taught)


def to_frame(inputs: npt.NDArray[np.float32], form: TableForm) -> Any:
    """Rows as a pandas frame, for models that were fitted on one.

    Args:
        inputs: shape (n, columns), float32, as `TableForm` has them.
        form: the columns.

    Returns:
        Numbers as float64, each the shortest decimal that gives the float32: 0.23 in the file is 0.23 again.
        Categories as texts (dtype object). NaN for a missing value, and for a category that is not known.

    Raises:
        UsageError: the inputs have not as many columns.
        LimbeckError: pandas is not installed.
    """
    try:
        import pandas
        import pyarrow as pa
    except ImportError:
        raise LimbeckError('frames need pandas: pip install "limbeck[data]"') from None
    if inputs.ndim != 2 or inputs.shape[1] != len(form.columns):
        raise UsageError(f"inputs have shape {inputs.shape}, expected (rows, {len(form.columns)}) as in their form")
    series = {}
    for place, column in enumerate(form.columns):
        values = np.asarray(inputs[:, place], dtype=np.float32)
        if column.categories is None:
            exact = pa.array(values).cast(pa.string()).cast(pa.float64())
            series[column.name] = pandas.Series(exact.to_numpy(zero_copy_only=False))
        else:
            names = np.array([*column.categories, np.nan], dtype=object)  # the last for what is missing or unknown
            is_known = (values >= 0) & (values < len(column.categories))
            codes = np.where(is_known, values, len(column.categories)).astype(np.int64)
            series[column.name] = pandas.Series(names[codes], dtype=object)
    return pandas.DataFrame(series)


def all_rows(
    table: TableFile,
    rows: int,
    form: TableForm,
    label: str | None = None,
    classes: Mapping[str, str] | None = None,
    id_column: str | None = None,
    taught: str = "the model",
) -> TableRows:
    """Every row of a table whose columns are known, in one pass.

    Args:
        table: the file.
        rows: how many it has.
        form: the columns that are inputs, all of them there.
        label: the label column.
        classes: the class of each text in it, classes in their order.
        id_column: the column of ids.
        taught: who was taught with rows of this form, for notes.

    Raises:
        LimbeckError: a number, label or id that cannot be (names column and row); the file has changed.
    """
    known = dict(classes or {})
    order = {name: code for code, name in enumerate(dict.fromkeys(known.values()))}
    codes = np.array([*(order[name] for name in known.values()), -1], dtype=np.int64)
    inputs = room_for((rows, len(form.columns)), np.float32)
    labels = None if label is None else np.full(rows, -1, dtype=np.int64)
    ids = np.arange(rows, dtype=np.int64)
    unseen = _Unseen()
    wanted = dict.fromkeys([*form.names, *(one for one in (label, id_column) if one is not None)])
    start = 0
    for chunk in table.chunks(list(wanted)):
        end = start + len(next(iter(chunk.values())))
        if end > rows:
            break
        for place, column in enumerate(form.columns):
            values = chunk[column.name]
            found, wrong = encoded(values, column)
            if wrong is not None:
                raise LimbeckError(
                    f'column "{column.name}" of {table.path} has "{texts(values)[wrong].as_py()}" in row '
                    f"{start + wrong} (counted from 0), expected finite numbers: mend the value, or leave it empty for "
                    "a missing one"
                )
            inputs[start:end, place] = found
            unseen.count(values, found, column)
        if label is not None and labels is not None:
            labels[start:end] = codes[_label_places(table, label, chunk[label], tuple(known), start)]
        if id_column is not None:
            ids[start:end] = _ids(table, id_column, chunk[id_column], start)
        start = end
    else:
        end = start
    if end != rows:
        raise LimbeckError(f"{table.path} changed while it was read: try again when nothing writes to it")
    if id_column is not None:
        _check_each_once(table, id_column, ids)
    return TableRows(inputs, labels, ids, unseen.notes(form, taught))


def _label_places(
    table: TableFile, label: str, values: Any, known: tuple[str, ...], start: int
) -> npt.NDArray[np.int64]:
    """Each label's place among the texts `known`, −1 where there is none."""
    places = codes_of(values, known)
    for at in np.flatnonzero((places == UNKNOWN) & ~np.asarray(values.is_null())):
        text = texts(values)[int(at)].as_py()
        number = whole(text)  # "7.0" is the class 7
        if number is None or str(number) not in known:
            raise LimbeckError(
                f'label column "{label}" of {table.path} has "{text}" in row {start + at} (counted from 0), expected '
                f"one of the classes {listed(known)}: mend the label, or leave it empty for none"
            )
        places[at] = known.index(str(number))
    return places


def _ids(table: TableFile, column: str, values: Any, start: int) -> npt.NDArray[np.int64]:
    found, wrong = whole_numbers(values)
    if wrong is not None:
        text = texts(values)[wrong].as_py()
        raise LimbeckError(
            f'id column "{column}" of {table.path} has {"no value" if text is None else quoted(text)} in row '
            f"{start + wrong} (counted from 0), expected a whole number of 0 or more: mend it, or take data.id out to "
            "number the rows"
        )
    return found


def _check_each_once(table: TableFile, column: str, ids: npt.NDArray[np.int64]) -> None:
    order = np.argsort(ids, kind="stable")
    again = order[1:][ids[order[1:]] == ids[order[:-1]]]
    if len(again):
        row = int(again.min())
        raise LimbeckError(
            f'id column "{column}" of {table.path} has {ids[row]} in row {int(np.argmax(ids == ids[row]))} and again '
            f"in row {row} (counted from 0), expected every id once: mend it, or take data.id out to number the rows"
        )


def _role(column: str, label: str | None, id_column: str | None, taught: str) -> str:
    if column == label:
        return "it to hold the labels"
    return "it to hold the ids" if column == id_column else f"every column that {taught} was trained on"


class _Unseen:
    """What rows hold that their form does not know."""

    def __init__(self) -> None:
        self._texts: dict[str, Counter[str]] = {}
        self._missing: Counter[str] = Counter()

    def count(self, values: Any, codes: npt.NDArray[np.float32], column: Column) -> None:
        """Look at a chunk of a column: its values, and what they came to."""
        if not column.missing and values.null_count:
            self._missing[column.name] += values.null_count
        if column.categories is not None and (codes == UNKNOWN).any():
            rows = np.flatnonzero(codes == UNKNOWN)
            self._texts.setdefault(column.name, Counter()).update(texts(values).take(rows).to_pylist())

    def notes(self, form: TableForm, taught: str) -> list[str]:
        """A line for each column with unknown texts, and for each with values missing that had none missing before."""
        notes = []
        for name in form.names:
            if name in self._texts:
                counts = self._texts[name]
                some = [text for text, _ in counts.most_common(3)]
                more = f", … ({len(counts)} different texts)" if len(counts) > len(some) else ""
                notes.append(
                    f'column "{name}": {_rows(counts.total())} {listed(some)}{more}, which {taught} has never seen: '
                    f"{'it counts' if counts.total() == 1 else 'they count'} as unknown"
                )
            if self._missing[name]:
                notes.append(missing_note(name, self._missing[name], taught))
        return notes


def missing_note(column: str, count: int, taught: str) -> str:
    """What is said of so many values missing in a column where none was before."""
    return f'column "{column}": {_rows(count)} no value, which {taught} has never met here'


def _rows(count: int) -> str:
    return "1 row has" if count == 1 else f"{count} rows have"
