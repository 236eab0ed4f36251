"""A test set in a file of its own, beside the training rows: of a table or of texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from limbeck.data.dataset import Dataset
from limbeck.data.form import TableForm, TextForm
from limbeck.data.part import Part, shared_rows
from limbeck.data.reading import Reading
from limbeck.data.sources import found_beside
from limbeck.data.table_file import TABLE_SUFFIXES, is_table
from limbeck.data.table_opening import open_table
from limbeck.data.table_rows import read_table_rows
from limbeck.data.text_file import JSON_SUFFIXES
from limbeck.data.text_rows import labels_of, read_text_rows
from limbeck.errors import LimbeckError, UsageError


def with_test_file(
    dataset: Dataset,
    given: str,
    reading: Reading,
    *,
    beside: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Dataset:
    """The data set with the rows of a file as its test set, read as its own rows are: columns are found by name.

    Args:
        dataset: a table or texts, with classes.
        given: the path: of a table, or of texts JSON lines or a table.
        reading: how the data set is read: its `label`, and its `id`, which JSON lines must have and a table may have.
        beside: the recipe's folder: a relative path is looked for there, then in the working folder.
        say: told, in a line each, what was left out, or has not been met in the data.

    Raises:
        UsageError: the data have a test set of their own, or are neither a table nor texts; no such file.
        LimbeckError: it cannot be read, has a row without a label or with one that is none of the data's classes, or
            has no row that is not among the data.
    """
    if dataset.test is not None:
        raise UsageError(
            f'data.test = "file:{given}" was given, but {dataset.name} has a test set of its own '
            f"({len(dataset.test)} rows): leave test out"
        )
    form, path = dataset.train.form, found_beside(given, beside)
    if not isinstance(form, TableForm | TextForm):
        raise UsageError(
            f'data.test = "file:{given}": a file of test rows goes with a table or texts, and {dataset.name} is '
            "neither: give a fraction of its rows, or arrays, images or idx files with a test set among them"
        )
    if reading.label is None:
        raise UsageError(f'data.test = "file:{given}": test rows need labels: name their column with data.label')
    if isinstance(form, TextForm):
        part, notes = _texts(path, form, reading, dataset.classes)
    else:
        part, notes = _table(path, form, reading, dataset.classes)
    if len(without := np.flatnonzero(part.labels < 0)):
        raise LimbeckError(
            f"{path} has no label in {len(without):,} of {len(part):,} rows, first in that with id "
            f"{part.ids[without[0]]}: test rows need labels, leave rows without out"
        )
    if len(shared_rows(part, dataset.train)) == len(part):
        raise LimbeckError(
            f"{path}: all of its {len(part):,} rows are rows of {dataset.name}, too, and would measure what was learnt "
            "by heart: give others"
        )
    for note in notes:
        if say is not None:
            say(f"{given}: {note}")
    return replace(dataset, test=part)


def _texts(path: Path, form: TextForm, reading: Reading, classes: tuple[str, ...]) -> tuple[Part, tuple[str, ...]]:
    if not path.name.lower().endswith((*JSON_SUFFIXES, *TABLE_SUFFIXES)):
        raise UsageError(
            f"data.test: {path} is no file of texts with labels: its name does not end in "
            f"{', '.join((*JSON_SUFFIXES, *TABLE_SUFFIXES))}"
        )
    assert reading.label is not None
    id = _id_in(path, reading) if is_table(path.name) else reading.id
    found = read_text_rows(path, form, reading.label, id, asked_by="the data")
    labels = labels_of(found, reading.label, path, classes)
    return Part("test", found.inputs, labels, found.ids, classes, form), found.notes


def _table(path: Path, form: TableForm, reading: Reading, classes: tuple[str, ...]) -> tuple[Part, tuple[str, ...]]:
    if not is_table(path.name):
        raise UsageError(f"data.test: {path} is no table: its name does not end in {', '.join(TABLE_SUFFIXES)}")
    found = read_table_rows(path, form, reading.label, classes, id=_id_in(path, reading), taught="the teacher")
    assert found.labels is not None
    return Part("test", found.inputs, found.labels, found.ids, classes, form), tuple(found.notes)


def _id_in(path: Path, reading: Reading) -> str | None:
    """The column of ids, where a table has it."""
    return reading.id if reading.id in open_table(path).names else None
