"""Texts from files as rows of bytes: for a data set, for a transfer set, and for a saved model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from limbeck.data.dataset import Dataset
from limbeck.data.form import TextForm
from limbeck.data.part import Part
from limbeck.data.reading import Reading
from limbeck.data.table_columns import MOST_CATEGORIES, Survey, classes_of
from limbeck.data.table_file import is_table, listed, quoted
from limbeck.data.table_values import whole
from limbeck.data.text_file import DEFAULT_COLUMN, TextRow, is_plain, text_rows
from limbeck.data.texts import packed
from limbeck.errors import LimbeckError, UsageError

LONGEST_BYTES = 1 << 15
"""Of a text; what is behind is cut off, for every row takes as much room as the longest."""

_AS_IT_IS = Reading()


@dataclass(frozen=True, eq=False)
class TextRows:
    """Texts of a file.

    Attributes:
        inputs: shape (n, width), uint8, as `limbeck.data.texts.packed` gives them.
        labels: of each row, as a text, None where it has none; None where no label was asked for.
        ids: shape (n,), int64.
        notes: what was left out or cut, a line each.
        places: where each row is in its file, for messages.
    """

    inputs: npt.NDArray[np.uint8]
    labels: list[str | None] | None
    ids: npt.NDArray[np.int64]
    notes: tuple[str, ...]
    places: list[str]


def load_texts(path: Path, name: str, reading: Reading = _AS_IT_IS, *, asked_by: str = "data.text") -> Dataset:
    """Texts as a data set without a test set; rows whose text is empty are left out, counted and noted.

    Classes are the labels: whole numbers in their order, other texts sorted, booleans "false" and "true"; a row
    without a label gets −1, as all rows do where no label is named. Without `reading.id`, ids are row numbers from 0,
    in which the rows that were left out count.

    Args:
        path: see `text_rows`.
        name: of the data set.
        reading: its `text` (of JSON lines "text" by default), `label` and `id`.
        asked_by: who names the columns of texts, for messages.

    Raises:
        UsageError: no such file; a column that `reading` names is not there, or is named twice.
        LimbeckError: a text, a label, an id or the file itself that cannot be used; names the line.
    """
    form = TextForm(reading.text or (DEFAULT_COLUMN,))
    for role, column in (("label", reading.label), ("id", reading.id)):
        if column in form.columns:
            raise UsageError(
                f'column "{column}" is named by {asked_by} and by data.{role}, expected by one of them: take it out of '
                "the other"
            )
    found = read_text_rows(path, form, reading.label, reading.id, asked_by=asked_by)
    classes: dict[str, str] = {}
    if reading.label is not None and found.labels is not None:
        classes = classes_of(_surveyed(reading.label, found.labels), path)
    order = tuple(dict.fromkeys(classes.values()))
    labels = np.full(len(found.inputs), -1, dtype=np.int64)
    if classes:
        codes = {label: order.index(of_class) for label, of_class in classes.items()}
        labels[:] = [-1 if label is None else codes[label] for label in found.labels or ()]
    return Dataset(name, Part("train", found.inputs, labels, found.ids, order, form), None, order, found.notes)


def read_text_rows(
    path: Path,
    form: TextForm,
    label: str | None = None,
    id: str | None = None,
    *,
    asked_by: str = "data.text",
    rows: int | None = None,
) -> TextRows:
    """A file's texts, without white space around them; rows with an empty text are left out.

    Args:
        path: see `text_rows`.
        form: the columns.
        label: the column of labels, where they are wanted.
        id: the column of ids; without it, row numbers from 0.
        asked_by: who names the columns, for messages.
        rows: only the first so many.

    Raises:
        UsageError, LimbeckError: as `text_rows`; or no row is left, or an id is not one or there twice.
    """
    if is_plain(path.name) and len(form.columns) > 1:
        raise LimbeckError(
            f"{path} is plain text, expected pairs of texts ({listed(list(form.columns))}): give JSON lines (.jsonl) "
            "or a table (.csv, .parquet) with both columns"
        )
    texts: list[tuple[str, ...]] = []
    labels, ids, places = list[str | None](), list[int](), list[str]()
    seen: dict[int, str] = {}
    empty, first_empty, cut, number = 0, "", 0, -1
    for number, row in enumerate(text_rows(path, form.columns, label, id, asked_by=asked_by)):
        if rows is not None and len(texts) == rows:
            break
        found = tuple((text or "").strip() for text in row.texts)
        if not any(found):
            empty, first_empty = empty + 1, first_empty or row.where
            continue
        short = tuple(_cut(text) for text in found)
        cut += short != found
        texts.append(short)
        labels.append(row.label)
        ids.append(number if id is None else _id(row, id, path))
        if id is not None and (before := seen.setdefault(ids[-1], row.where)) != row.where:
            raise LimbeckError(
                f'id column "{id}" of {path} has {ids[-1]} in {before} and again in {row.where}, expected every id '
                "once: mend it, or take data.id out to number the rows"
            )
        places.append(row.where)
    if not texts:
        has = (
            "is empty" if number < 0 else f"holds no text in {'its row' if number == 0 else f'its {number + 1:,} rows'}"
        )
        raise LimbeckError(f"{path} {has}, expected at least one text: use another file")
    inputs = packed([one[0] for one in texts], [one[1] for one in texts] if len(form.columns) > 1 else None)
    return TextRows(
        inputs,
        None if label is None else labels,
        np.array(ids, dtype=np.int64),
        _notes(empty, first_empty, cut),
        places,
    )


def labels_of(found: TextRows, label: str, path: Path, classes: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Labels as a model counts its classes, shape (n,), −1 where a row has none.

    Raises:
        LimbeckError: one is none of the classes; names the row.
    """
    codes = {name: number for number, name in enumerate(classes)}
    labels = np.full(len(found.inputs), -1, dtype=np.int64)
    for place, said in enumerate(found.labels or ()):
        if said is None:
            continue
        name = said if said in codes else str(whole(said))  # "7.0" is the class 7
        if name not in codes:
            raise LimbeckError(
                f'label column "{label}" of {path} has "{said}" in {found.places[place]}, expected one of the classes '
                f"{listed(classes)}: mend the label, or leave it empty for none"
            )
        labels[place] = codes[name]
    return labels


def unlabelled_texts(
    path: Path, form: TextForm, reading: Reading, tell: Callable[[str], None]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """A file's texts and ids for a transfer set: columns by the names that the data have them by.

    Args:
        path: see `text_rows`.
        form: the data's.
        reading: how the data are read: `id` is the column of ids where a table has it; `label` is left aside.
        tell: is told what was left aside or cut.

    Raises:
        UsageError, LimbeckError: as `read_text_rows`.
    """
    id = None
    if is_table(path.name):
        from limbeck.data.table_opening import open_table

        names = open_table(path).names
        id = reading.id if reading.id in names else None
        if reading.label in names:
            tell(f'the label column "{reading.label}" is left aside: these rows count as unlabelled')
    found = read_text_rows(path, form, id=id, asked_by="the data")
    for note in found.notes:
        tell(note)
    return found.inputs, found.ids


def _surveyed(label: str, labels: list[str | None]) -> Survey:
    """A label column as a table's first pass has it."""
    said = [one for one in labels if one is not None]
    different = dict.fromkeys(said)
    no_number = next(((row, one) for row, one in enumerate(labels) if one is not None and not _is_number(one)), None)
    texts = set(list(different)[: MOST_CATEGORIES + 1])
    return Survey(label, False, len(labels), len(labels) - len(said), texts, no_number)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _id(row: TextRow, column: str, path: Path) -> int:
    value = row.id
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        shown = "no value" if row.id is None else quoted(str(row.id)[:60])
        raise LimbeckError(
            f'id column "{column}" of {path} has {shown} in {row.where}, expected a whole number of 0 or more: mend '
            "it, or take data.id out to number the rows"
        )
    return value


def _cut(text: str) -> str:
    if len(text) <= LONGEST_BYTES // 4:
        return text
    return text.encode()[:LONGEST_BYTES].decode(errors="ignore")


def _notes(empty: int, first: str, cut: int) -> tuple[str, ...]:
    notes = []
    if empty:
        rows = f"1 row has an empty text ({first}) and is" if empty == 1 else f"{empty:,} rows have an empty text (the "
        notes.append(f"{rows} left out" if empty == 1 else f"{rows}first: {first}) and are left out")
    if cut:
        rows = "1 text is" if cut == 1 else f"{cut:,} texts are"
        notes.append(f"{rows} longer than {LONGEST_BYTES:,} bytes and cut there")
    return tuple(notes)
