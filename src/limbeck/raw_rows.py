"""Rows for a saved model to answer: from a table, images, texts, arrays, a data set, or a run's test rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from limbeck.data import Form, ImageForm, Part, TableForm, TextForm, load_dataset
from limbeck.data.file_kind import kind_of
from limbeck.data.reading import Reading
from limbeck.data.sources import is_source
from limbeck.data.table_file import is_table
from limbeck.data.text_file import MODEL, is_plain, is_texts
from limbeck.errors import LimbeckError
from limbeck.recipe.task import TASK
from limbeck.row_files import fitting, read_rows
from limbeck.rows import row_id
from limbeck.run_folder import RunFolder, place_of


class Answering(Protocol):
    """What has to be known of a model to give it rows."""

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Of one raw input; None where any will do."""
        ...

    @property
    def form(self) -> Form | None:
        """What the inputs mean."""
        ...


@dataclass(frozen=True, eq=False)
class RawRows:
    """Raw rows as a model takes them.

    Attributes:
        inputs: shape (n, *input_shape).
        labels: shape (n,), int64, −1 for none; None where the source has none.
        names: what each row is called: its number, or its image's file.
        notes: what was met that the model has never seen, and what was left out, a line each.
    """

    inputs: npt.NDArray[Any]
    labels: npt.NDArray[np.int64] | None
    names: list[str]
    notes: list[str] = field(default_factory=list)


def rows_for(
    model: Answering,
    classes: tuple[str, ...],
    inputs: str,
    where: Path,
    *,
    label: str | None = None,
    text: Sequence[str] = (),
    rows: int | None = None,
    skip_damaged: bool = False,
) -> RawRows:
    """Read rows as a model was taught with them: tables' and texts' columns by name, images in its mode and size.

    Args:
        model: asked later.
        classes: the names of its classes.
        inputs: a table (.csv, .parquet) where the model was taught with one; an image or a folder of images where it
            was taught with such; JSON lines, a table or plain text where it was taught with texts, or one text itself,
            which is no path and no data set's name; an idx, .npy or .npz file; a data set's name, "idx:FOLDER" or
            "images:FOLDER", for its test rows (all rows of one that has no test rows of its own); or a run's folder,
            for the test rows of that run. Labels are known of these last ones, where their classes are the model's.
        where: the model's path, for messages.
        label: of a table or JSON lines, the column of labels.
        text: of these, the column of texts, or the two of pairs; by default called as in the data of the model.
        rows: only the first so many.
        skip_damaged: of an image or a folder of images, leave out damaged ones, each with a note, in place of an error.

    Raises:
        LimbeckError: the rows cannot be read, or do not fit the model.
    """
    path, form = Path(inputs), model.form
    if text:
        form = _with_columns(form, text, inputs, where)
    if isinstance(form, TextForm) and not inputs:
        raise LimbeckError("the text is empty: give one, or a file of texts")
    if isinstance(form, TextForm) and _is_text_itself(inputs):
        return _text_itself(inputs, form, where, label)
    if path.is_dir() and RunFolder(path).is_run():
        return _of_part(run_test_rows(path, where), model, classes, inputs, where, rows)
    if isinstance(form, TableForm) and is_table(inputs):
        from limbeck.data.table import read_table_rows

        found = read_table_rows(path, form, label, classes)
        names = [str(number) for number in range(len(found.inputs))]
        return _first(RawRows(found.inputs, found.labels, names, found.notes), rows)
    if isinstance(form, TextForm) and (is_table(inputs) or is_texts(inputs)):
        return _texts(path, form, classes, label, rows, "--text" if text else MODEL)
    if label is not None:
        raise LimbeckError(f"{inputs} is no table with columns: leave label out")
    if isinstance(form, ImageForm) and path.exists() and (path.is_dir() or kind_of(path) == "image"):
        from limbeck.data.images import read_images

        damaged: list[str] = []
        pixels, files = read_images(path, form, damaged if skip_damaged else None)
        return _first(RawRows(pixels, None, files, [f"{one}: left out" for one in damaged]), rows)
    if not path.exists() and (inputs.startswith(("idx:", "images:")) or not (path.suffix or "/" in inputs)):
        dataset = load_dataset(inputs, _reading(inputs, form))
        return _of_part(dataset.test or dataset.train, model, classes, inputs, where, rows)
    _check_sort(path, form, where)
    raw, labels = read_rows(inputs)
    raw = fitting(raw, model.input_shape, inputs, where, rows)
    return _first(RawRows(raw, labels, [str(number) for number in range(len(raw))]), rows)


def _with_columns(form: Form | None, text: Sequence[str], inputs: str, where: Path) -> TextForm:
    """The form of a model of texts, which are called otherwise in the file."""
    if not isinstance(form, TextForm):
        raise LimbeckError(f"{where} takes no texts: leave --text out")
    if not (is_table(inputs) or is_texts(inputs)) or is_plain(inputs):
        raise LimbeckError(f"{inputs} has no columns, expected a table or JSON lines: leave --text out")
    if len(text) != len(form.columns):
        wants = "a column of texts" if len(form.columns) == 1 else "two columns, of pairs of texts"
        raise LimbeckError(f"--text: found {', '.join(text)}, expected {wants}, as {where} takes them")
    return TextForm(tuple(text))


def _is_text_itself(inputs: str) -> bool:
    """Whether it is no name: of a file or a folder, whether it is there or not, or of a data set."""
    if _exists(Path(inputs)) or is_texts(inputs) or is_table(inputs):
        return False
    return " " in inputs or not (is_source(inputs) or re.search(r"[/\\]|\.[A-Za-z]\w{0,7}$", inputs))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long for a file is a text
        return False


def _text_itself(text: str, form: TextForm, where: Path, label: str | None) -> RawRows:
    """One text as rows."""
    from limbeck.data.texts import packed

    if len(form.columns) > 1:
        raise LimbeckError(f"{where} takes pairs of texts: give a file with {' and '.join(form.columns)}")
    if not text.strip():
        raise LimbeckError("the text is empty, expected one with a word in it: give another")
    if label is not None:
        raise LimbeckError("a text by itself has no column of labels: leave label out")
    notes = [] if " " in text else [f'"{text}" is no file and no data set: it is taken as the text itself']
    return RawRows(packed([text]), None, ["0"], notes)


def _texts(
    path: Path, form: TextForm, classes: tuple[str, ...], label: str | None, rows: int | None, asked_by: str
) -> RawRows:
    """The texts of a file."""
    from limbeck.data.text_rows import labels_of, read_text_rows

    if label is not None and is_plain(path.name):
        raise LimbeckError(f"{path} is plain text without a column of labels: leave label out")
    found = read_text_rows(path, form, label, asked_by=asked_by, rows=rows)
    labels = None if label is None else labels_of(found, label, path, classes)
    return RawRows(found.inputs, labels, [str(number) for number in found.ids], list(found.notes))


def _check_sort(path: Path, form: Form | None, where: Path) -> None:
    """Whether a file is of the sort that a model takes, as far as its name and first bytes say.

    Raises:
        LimbeckError: it is none; numpy's files are looked into by whoever reads them.
    """
    if isinstance(form, TextForm):
        found = "is none of these" if path.exists() else "does not exist"
        raise LimbeckError(
            f"{where} takes a file of texts (.jsonl, .csv, .parquet, .txt), or a text itself, and {path} {found}"
        )
    if not path.is_file() or (kind := kind_of(path)) == "arrays":
        return
    if isinstance(form, TableForm):
        raise LimbeckError(f"{where} takes a table (.csv, .parquet), and {path} is none")
    if kind == "idx":
        return
    if isinstance(form, ImageForm):
        from limbeck.data.images import EXTENSIONS

        raise LimbeckError(f"{where} takes images ({', '.join(EXTENSIONS)}) or a folder of them, and {path} is none")
    if kind in ("table", "texts", "image"):
        sort = {"table": "a table", "texts": "a file of texts"}.get(kind, "an image")
        raise LimbeckError(f"{where} takes arrays (an idx, .npy or .npz file), and {path} is {sort}")


def run_test_rows(folder: Path, model: Path) -> Part:
    """The test rows of a run, as its recipe has them cut; over several tasks, those of a model of the run's own."""
    from limbeck.road import run_split  # a run knows its data

    place, task = place_of(model), None
    if place is not None and place[0].resolve() == folder.resolve():
        found = (RunFolder(folder).results() or {"models": []})["models"]
        task = next((row["variant"].get(TASK) for row in found if row_id(row) == place[1]), None)
    return run_split(folder, task).test


def _reading(inputs: str, form: Form | None) -> Reading:
    """A folder's images are read as the model's were."""
    if not inputs.startswith("images:") or not isinstance(form, ImageForm):
        return Reading()
    return Reading(mode=form.mode, size=(form.height, form.width) if form.resized else None)


def _of_part(
    part: Part, model: Answering, classes: tuple[str, ...], inputs: str, where: Path, rows: int | None
) -> RawRows:
    if isinstance(model.form, TableForm) and part.form != model.form:
        raise LimbeckError(
            f"{inputs} has other columns or categories than {where} was taught with: give a table's .csv or .parquet "
            "file, in which columns are found by name"
        )
    if isinstance(model.form, TextForm) != isinstance(part.form, TextForm):
        holds, takes = ("no texts", "texts") if isinstance(model.form, TextForm) else ("texts", "none")
        raise LimbeckError(f"{inputs} holds {holds}, but {where} takes {takes}: give other rows")
    is_plain_array = not isinstance(part.form, TableForm | TextForm)
    raw = fitting(part.inputs, model.input_shape, inputs, where) if is_plain_array else part.inputs
    return _first(RawRows(raw, _labels(part, classes), [str(number) for number in part.ids]), rows)


def _labels(part: Part, classes: tuple[str, ...]) -> npt.NDArray[np.int64] | None:
    """A part's labels as the model counts its classes; None where they are others."""
    if not set(part.classes) <= set(classes):
        return None
    places = np.array([*(classes.index(name) for name in part.classes), -1], dtype=np.int64)
    return np.asarray(places[part.labels])


def _first(found: RawRows, rows: int | None) -> RawRows:
    labels = None if found.labels is None else found.labels[:rows]
    return RawRows(found.inputs[:rows], labels, found.names[:rows], found.notes)
