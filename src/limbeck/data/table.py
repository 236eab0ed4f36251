"""CSV and Parquet tables as data sets, and described.

Two passes: the first finds each column's kind, categories and missing values, the second fills the matrix; so memory
holds a chunk of the file and the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from limbeck.data.dataset import Dataset
from limbeck.data.form import TableForm
from limbeck.data.part import Part
from limbeck.data.reading import Reading
from limbeck.data.table_columns import MOST_CATEGORIES, classes_of, column_of, feature_names, survey, why_unusable
from limbeck.data.table_opening import open_table
from limbeck.data.table_rows import TableRows, all_rows, read_table_rows, to_frame
from limbeck.errors import LimbeckError

__all__ = [
    "ColumnDescription",
    "TableDescription",
    "TableRows",
    "describe_table",
    "load_table",
    "read_table_rows",
    "to_frame",
]

_AS_IT_IS = Reading()


@dataclass(frozen=True)
class ColumnDescription:
    """One column of a table as it would be read.

    Attributes:
        name: the column.
        kind: "numeric", "categorical", or "unusable" as an input.
        distinct: different texts in it, 1,001 where there are more.
        missing: rows without a value.
        reason: why it is unusable and what to do, as the end of a sentence that starts with the column; else None.
    """

    name: str
    kind: Literal["numeric", "categorical", "unusable"]
    distinct: int
    missing: int
    reason: str | None = None


@dataclass(frozen=True)
class TableDescription:
    """A table at a glance: how many rows, and its columns in the file's order."""

    rows: int
    columns: tuple[ColumnDescription, ...]


def load_table(path: Path, name: str, reading: Reading = _AS_IT_IS) -> Dataset:
    """A CSV or Parquet table as a data set without a test set.

    A column is numeric where all of its values are numbers, else categorical; Parquet's own types decide where it
    has them, and booleans are the categories "false" and "true". CSV has a missing value where a field is one of
    `csv_table.MISSING`. Classes are the label column's values: whole numbers in their order, other texts sorted; a row
    without a label gets −1, as all rows do where no label is named. Without `reading.id`, ids are row numbers from 0.

    Args:
        path: see `open_table`.
        name: of the data set.
        reading: its `label`, `id`, `ignore`, `numeric` and `categorical`.

    Raises:
        UsageError: no such file; a column that `reading` names is not there.
        LimbeckError: a column, a label, an id or the file itself that cannot be used; names column and row.
    """
    table = open_table(path)
    names = feature_names(table, reading)
    special = [column for column in (reading.label, reading.id) if column is not None]
    table.check_usable(special)
    table.check_usable(names, can_be_ignored=True)
    found = survey(table, [*names, *special])
    form = TableForm(tuple(column_of(found[name], path, reading) for name in names))
    classes = {} if reading.label is None else classes_of(found[reading.label], path)
    rows = all_rows(table, found[names[0]].rows, form, reading.label, classes, reading.id)
    order = tuple(dict.fromkeys(classes.values()))
    labels = np.full(len(rows.inputs), -1, dtype=np.int64) if rows.labels is None else rows.labels
    return Dataset(name, Part("train", rows.inputs, labels, rows.ids, order, form), None, order)


def describe_table(path: Path) -> TableDescription:
    """Look at every row of a table, and say of each column how it would be read.

    Raises:
        UsageError: no such file.
        LimbeckError: the file cannot be read as a table.
    """
    table = open_table(path)
    usable = [name for name in table.names if name not in table.unusable]
    if not usable:
        raise LimbeckError(f"{path} has no column of numbers or texts, expected at least one: use another file")
    found = survey(table, usable)
    described = []
    for name in table.names:
        if name in table.unusable:
            described.append(ColumnDescription(name, "unusable", 0, 0, table.why_unusable(name)))
            continue
        column = found[name]
        reason = why_unusable(column, is_numeric=column.is_numeric)
        kind: Literal["numeric", "categorical"] = "numeric" if column.is_numeric else "categorical"
        distinct = min(len(column.texts), MOST_CATEGORIES + 1)
        described.append(ColumnDescription(name, "unusable" if reason else kind, distinct, column.missing, reason))
    return TableDescription(found[usable[0]].rows, tuple(described))
