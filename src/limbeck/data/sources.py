"""From a source's name to its data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from limbeck.data.bundled import load_digits, load_mnist, load_synthetic
from limbeck.data.dataset import Dataset
from limbeck.data.idx import load_idx_folder
from limbeck.data.reading import Reading
from limbeck.data.table_file import TABLE_SUFFIXES, is_table
from limbeck.data.text_file import JSON_SUFFIXES, PLAIN_SUFFIXES, is_plain, is_texts
from limbeck.errors import UsageError, did_you_mean

FETCHED = ("letters", "diamonds")
"""Public tables that are fetched into the user's cache where they are missing."""

FETCHED_TEXTS = ("reviews", "tweets", "products", "glosses", "english")
"""Public texts, likewise; of the last one no row has a label."""

_NAMES = ("mnist", "digits", "synthetic", *FETCHED, *FETCHED_TEXTS)
_FOLDERS = ("idx", "images")
_ARRAYS = (".npy", ".npz")
_OF_TABLES = ("label", "id", "ignore", "numeric", "categorical")
_OF_TEXTS = ("text", "label", "id")
_OF_IMAGES = ("size", "mode", "skip_damaged")
_AS_IT_IS = Reading()
_BUNDLED: dict[str, Callable[[], Dataset]] = {"mnist": load_mnist, "digits": load_digits, "synthetic": load_synthetic}


def load_dataset(
    source: str,
    reading: Reading = _AS_IT_IS,
    *,
    beside: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Dataset:
    """Load a data set, all of it or not at all. Needs no network, but the first time for what is fetched.

    Args:
        source: "mnist" (bundled), "digits" (scikit-learn's 8×8 digits, for quick work), "synthetic" (a table that
            scikit-learn generates), "letters" or "diamonds" (public tables), "reviews", "tweets", "products",
            "glosses" or "english" (public texts; see `fetch` for all of these), "idx:FOLDER" (a folder in MNIST's file
            format, such as Fashion-MNIST, KMNIST or EMNIST), "images:FOLDER" (image files), or a file: a table (.csv,
            .csv.gz, .tsv, .parquet), which holds texts where `reading.text` names their column, JSON lines (.jsonl),
            plain text (.txt) or arrays (.npy, .npz).
        reading: how a table, texts or images are read.
        beside: the recipe's folder: a relative path is looked for there, then in the working folder.
        say: told, in one line, that something is being fetched.

    Raises:
        UsageError: a source that is unknown or not there, or a setting of `reading` that it does not have.
        LimbeckError: files that are damaged or do not fit each other; what could not be fetched.
    """
    kind, colon, rest = source.partition(":")
    if kind in _FOLDERS and colon:
        if not rest:
            raise UsageError(f'data source "{source}" names no folder: write "{kind}:FOLDER"')
        folder = found_beside(rest, beside)
        if kind == "idx":
            _check_reading(source, reading, ())
            return load_idx_folder(folder, source)
        _check_reading(source, reading, _OF_IMAGES)
        from limbeck.data.images import load_image_folder

        return load_image_folder(folder, source, reading)
    if source in _NAMES:
        _check_reading(source, reading, _of_named(source))
        if source in (*FETCHED, *FETCHED_TEXTS):
            from limbeck.data.fetching import load_fetched

            return load_fetched(source, reading, say=say)
        return _BUNDLED[source]()
    if is_texts(source) or (is_table(source) and reading.text):
        _check_reading(source, reading, () if is_plain(source) else _OF_TEXTS)
        from limbeck.data.text_rows import load_texts

        return load_texts(found_beside(source, beside), source, reading)
    if is_table(source):
        _check_reading(source, reading, _OF_TABLES)
        from limbeck.data.table import load_table

        return load_table(found_beside(source, beside), source, reading)
    if source.lower().endswith(_ARRAYS):
        _check_reading(source, reading, ())
        from limbeck.data.arrays import load_arrays

        return load_arrays(found_beside(source, beside), source, reading)
    raise _unknown(source, beside)


def is_source(source: str) -> bool:
    """Whether it names a data set, or a folder of idx files or images."""
    return source in _NAMES or source.startswith(tuple(f"{kind}:" for kind in _FOLDERS))


def _of_named(source: str) -> tuple[str, ...]:
    """The settings of a reading that apply to a source that has a name."""
    if source in FETCHED:
        return _OF_TABLES
    return _OF_TEXTS if source in FETCHED_TEXTS and source != "english" else ()


def found_beside(given: str, beside: Path | None) -> Path:
    """Where a path leads: beside the recipe where there is something, else from the working folder."""
    path = Path(given).expanduser()
    if beside is not None and (beside / path).exists():
        return beside / path  # an absolute path stays as it is
    return path


def _check_reading(source: str, reading: Reading, allowed: tuple[str, ...]) -> None:
    given = [field.name for field in fields(reading) if getattr(reading, field.name) != field.default]
    wrong = [name for name in given if name not in allowed]
    if wrong:
        names = " and ".join(f"data.{name}" for name in wrong)
        has = f"expected at most {', '.join(f'data.{name}' for name in allowed)}" if allowed else "which has no such"
        raise UsageError(
            f'{names} {"does" if len(wrong) == 1 else "do"} not apply to data source "{source}", {has}'
            f"{'' if allowed else ' settings'}: take {'it' if len(wrong) == 1 else 'them'} out"
        )


def _unknown(source: str, beside: Path | None) -> UsageError:
    kind, colon, _ = source.partition(":")
    path = found_beside(source, beside)
    if source and path.is_dir():
        hint = f': write "idx:{source}" or "images:{source}" to read this folder'
    elif source and path.is_file():
        endings = (*TABLE_SUFFIXES, JSON_SUFFIXES[0], PLAIN_SUFFIXES[0], *_ARRAYS)
        hint = f": write the file as one that ends in {', '.join(endings)}"
    else:
        folders = [f"{folder}:FOLDER" for folder in _FOLDERS]
        hint = did_you_mean(f"{kind}:FOLDER" if colon else kind, [*_NAMES, *folders])
    names = ", ".join(f'"{name}"' for name in _NAMES)
    return UsageError(
        f'unknown data source "{source}", expected {names}, "idx:FOLDER", "images:FOLDER", a table '
        f"(.csv, .parquet), texts (.jsonl, .txt) or arrays (.npy, .npz){hint}"
    )
