"""Rows that nobody has labelled, from a file of one's own: part of a transfer set, read as the data's own rows are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from limbeck.data.dataset import Split
from limbeck.data.file_kind import FileKind, kind_of
from limbeck.data.form import ImageForm, TableForm, TextForm
from limbeck.data.idx import read_idx_images
from limbeck.data.images import read_images, training_images
from limbeck.data.part import Part, shared_rows
from limbeck.data.reading import Reading
from limbeck.data.sources import FETCHED_TEXTS, found_beside
from limbeck.data.table_opening import open_table
from limbeck.data.table_rows import read_table_rows
from limbeck.data.text_rows import unlabelled_texts
from limbeck.data.unlabelled_arrays import check_array, unlabelled_arrays
from limbeck.errors import LimbeckError, UsageError

_KINDS: dict[FileKind, str] = {
    "table": "a table",
    "texts": "a file of texts",
    "arrays": "arrays",
    "idx": "idx images",
    "image": "an image",
    "folder": "a folder",
}
_SHOWN = 3  # row numbers in a message
_TAUGHT = "the teacher"


def unlabelled_part(
    given: str,
    like: Part,
    reading: Reading,
    *,
    beside: Path | None = None,
    name: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Part:
    """The rows of a file or folder as a part without labels, with the inputs' type, shape and form as in the data.

    Tables and JSON lines have their columns found by name, and further ones are left aside; plain text has a row in
    each line. Of an .npz file the inputs are read by
    the names that a data source has them by (`load_arrays`). Images are brought to the mode of the data's, and to
    their size if those were. Of a file or folder that is a data set with a test set of its own (`x_train` and
    `x_test`, `train-…` and `t10k-…`, `train` and `test`) the training rows are taken. Large arrays stay in their file.

    Args:
        given: the path, after "file:" or without it: a table (.csv, .tsv, both also with .gz behind, .parquet), texts
            (.jsonl, .txt, or a table; or the name of public ones that are fetched), arrays (.npy, .npz), images (a
            folder, "images:FOLDER", one image), MNIST's format (one file of images, "idx:FOLDER", a folder).
        like: a part of the data set that the rows are to go with.
        reading: how the data set is read: of a table, `id` is the column of ids where the file has it, and `label` one
            to leave aside; `skip_damaged` leaves out damaged images.
        beside: the recipe's folder: a relative path is looked for there, then in the working folder.
        name: of the part; "file:PATH" by default.
        say: told, in a line each, what was left aside or has not been met in the data.

    Returns:
        Rows whose labels are all −1, with `classes` and `form` as in `like`. Ids are row numbers from 0, unless the
        file has ids of its own.

    Raises:
        UsageError: no such file or folder, or one of no known kind.
        LimbeckError: it cannot be read, has no rows, or rows that do not fit the data; one line.
    """
    given = given.removeprefix("file:")
    name = f"file:{given}" if name is None else name
    path, kind = _found(given, beside, say)
    _check_kind(path, kind, like)

    def tell(note: str) -> None:
        if say is not None:
            say(f"{name}: {note}")

    ids: np.ndarray | None = None
    if isinstance(like.form, TextForm):
        inputs, ids = unlabelled_texts(path, like.form, reading, tell)
    elif kind == "table":
        inputs, ids = _of_table(path, like, reading, tell)
    elif kind == "arrays":
        inputs, ids = unlabelled_arrays(path, like, tell, _TAUGHT)
    elif kind == "idx":
        inputs = read_idx_images(path)
        check_array(path, inputs, like)
        if path.is_dir():
            tell(f"of {path} only the training images are read")
    else:
        inputs = _of_images(path, like, reading, tell)
    ids = np.arange(len(inputs)) if ids is None else ids
    return Part(name, inputs, np.full(len(inputs), -1, dtype=np.int64), ids, like.classes, like.form)


def check_held_out(part: Part, split: Split) -> None:
    """That no row of an unlabelled part is a validation or test row, as `shared_rows` finds it. Training rows may be.

    Raises:
        LimbeckError: some are; says how many, and names the first.
    """
    found: list[str] = []
    for held_out, word in ((split.test, "test"), (split.validation, "validation")):
        rows = shared_rows(part, held_out)
        if len(rows):
            of_all = "" if found else f" of its {len(part):,} rows"
            are, what = ("is also a", "row") if len(rows) == 1 else ("are also", "rows")
            shown = ", ".join(map(str, part.ids[rows[:_SHOWN]])) + (", …" if len(rows) > _SHOWN else "")
            found.append(f"{len(rows):,}{of_all} {are} {word} {what} (row {shown})")
    if found:
        raise LimbeckError(
            f"{part.name}: {' and '.join(found)}: take them out: a student would learn from what it is measured on"
        )


def without_held_out(part: Part, splits: Sequence[Split]) -> Part:
    """The rows of a part that are no validation or test rows of any of these splits, as `shared_rows` finds them.

    Raises:
        LimbeckError: none is left.
    """
    held_out = [rows for split in splits for rows in (split.test, split.validation)]
    shared = np.unique(np.concatenate([shared_rows(part, rows) for rows in held_out]))
    if len(shared) == len(part):
        raise LimbeckError(f"{part.name}: all of its {len(part):,} rows are validation or test rows: give others")
    return part.take(np.setdiff1d(np.arange(len(part)), shared)) if len(shared) else part


def _of_table(path: Path, like: Part, reading: Reading, tell: Callable[[str], None]) -> tuple[np.ndarray, np.ndarray]:
    assert isinstance(like.form, TableForm)
    names = open_table(path).names
    rows = read_table_rows(path, like.form, id=reading.id if reading.id in names else None, taught=_TAUGHT)
    if reading.label in names:
        tell(f'the label column "{reading.label}" is left aside: these rows count as unlabelled')
    for note in rows.notes:
        tell(note)
    return rows.inputs, rows.ids


def _of_images(path: Path, like: Part, reading: Reading, tell: Callable[[str], None]) -> np.ndarray:
    assert isinstance(like.form, ImageForm)
    if path.is_dir() and (training := training_images(path)) != path:
        tell(f"only the images in {training} are read, the training images of a data set")
        path = training
    damaged: list[str] = []
    pixels, _ = read_images(path, like.form, damaged if reading.skip_damaged else None, taught=_TAUGHT)
    for one in damaged:
        tell(f"{one}: left out")
    return pixels


def _found(given: str, beside: Path | None, say: Callable[[str], None] | None) -> tuple[Path, FileKind]:
    prefix, colon, rest = given.partition(":")
    is_said = bool(colon) and prefix in ("idx", "images")
    if not (rest if is_said else given):
        raise UsageError(f'the part "file:{given}" names no file: write "file:{given}PATH"')
    path = found_beside(rest if is_said else given, beside)
    if given in FETCHED_TEXTS and not path.exists():
        from limbeck.data.fetching import fetch

        return fetch(given, say=say), "texts"
    if not path.exists():
        is_looked_for = beside is not None and not path.is_absolute() and beside.resolve() != Path.cwd()
        looked = f" in {beside} or in the working folder" if is_looked_for else ""
        raise UsageError(
            f"{path} does not exist{looked}, expected a file or folder of rows without labels: check the path"
        )
    if is_said:
        return path, "idx" if prefix == "idx" else "image" if path.is_file() else "folder"
    kind = kind_of(path)
    if kind is None:
        raise UsageError(
            f"{path} is of no kind that is known by its name, expected a table (.csv, .tsv, .parquet), texts (.jsonl, "
            ".txt), arrays (.npy, .npz), idx images, or a folder of images: write it as one of these"
        )
    return path, kind


def _check_kind(path: Path, kind: FileKind, like: Part) -> None:
    """That a file is of a kind from which rows like the data's can be read."""
    if isinstance(like.form, TableForm):
        wanted: tuple[FileKind, ...] = ("table", "arrays")
        data, give = "the data is a table", "a table (.csv, .tsv, .parquet) with its columns"
    elif isinstance(like.form, ImageForm):
        wanted = ("folder", "image", "arrays", "idx")
        data, give = "the data holds images", "a folder of images"
    elif isinstance(like.form, TextForm):
        wanted = ("texts", "table")
        data, give = "the data holds texts", "JSON lines (.jsonl), plain text (.txt) or a table (.csv, .parquet)"
    else:
        wanted = ("arrays", "idx")
        data = f"the data holds arrays of shape {like.inputs.shape[1:]}"
        give = "an .npy or .npz file" if like.inputs.ndim != 3 else "an .npy, .npz or idx file"
    if kind not in wanted:
        raise LimbeckError(f"{path} is {_KINDS[kind]}, but {data}: give {give}")
