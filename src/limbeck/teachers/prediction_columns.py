"""What a file of predictions holds: which of its columns or arrays are ids, which are classes, and in what order."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from limbeck.errors import LimbeckError, did_you_mean

Kind = Literal["probabilities", "log-probabilities", "logits"]

IDS = ("id", "row", "row_id")
LABELS = ("label", "class", "prediction")
PREFIXES: dict[str, Kind] = {
    "p_": "probabilities",
    "prob_": "probabilities",
    "proba_": "probabilities",
    "logp_": "log-probabilities",
    "logit_": "logits",
}
ARRAYS: dict[str, Kind] = {"probabilities": "probabilities", "log_probs": "log-probabilities", "logits": "logits"}
_INDICES = ("", "__index_level_0__")  # what pandas calls an index without a name


@dataclass(frozen=True, eq=False)
class Found:
    """What a file holds, its columns in the order of the data's classes.

    Attributes:
        ids: shape (n,), int64, as they lie in the file.
        values: shape (n, classes), float64; None where there are labels.
        labels: shape (n,), int64, numbers of classes; None where there are values.
        kind: what names say that the values are; None where they do not.
    """

    ids: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64] | None
    labels: npt.NDArray[np.int64] | None
    kind: Kind | None


def read_table(path: Path, classes: tuple[str, ...]) -> Found:
    """Columns of a CSV or Parquet file, by name. A column of labels beside columns of classes is left out.

    Raises:
        LimbeckError: see `limbeck.teachers.predictions.read_predictions`.
    """
    table = _table(path)
    names = [name for name in table.column_names if name not in _INDICES]
    id_names = [name for name in names if name.lower() in IDS and name not in classes]
    if len(id_names) != 1:
        problem = f"{len(id_names)} columns of ids ({listed(id_names)})" if id_names else "no column of ids"
        raise LimbeckError(
            f"{path} has {problem} among its columns {listed(table.column_names)}: expected one, named {_either(IDS)}, "
            "with the number of each row in the data"
        )
    ids = _whole_numbers(path, table.column(id_names[0]), id_names[0])
    rest = [name for name in names if name not in id_names]
    if len(rest) == 1 and rest[0].lower() in LABELS and rest[0] not in classes:
        return Found(ids, None, _labels(path, ids, _texts(table.column(rest[0])), classes), None)
    by_class, kind = _class_columns(path, rest, classes)
    values = np.empty((len(ids), len(classes)))
    for number, name in enumerate(by_class):
        values[:, number] = _numbers(path, ids, table.column(name), name)
    return Found(ids, values, None, kind)


def read_npz(path: Path, classes: tuple[str, ...]) -> Found:
    """Arrays by name.

    Raises:
        LimbeckError: see `limbeck.teachers.predictions.read_predictions`.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except Exception as error:  # numpy, zipfile and zlib each have their own exceptions for a bad file
        raise LimbeckError(f"{path} cannot be read as numpy arrays ({_line(error)})") from None
    wanted = [name for name in (*ARRAYS, "labels") if name in arrays]
    if "ids" not in arrays or len(wanted) != 1:
        raise LimbeckError(
            f'{path} holds {listed(sorted(arrays))}: expected "ids" and one of {_either((*ARRAYS, "labels"))}'
        )
    ids, values = arrays["ids"], arrays[wanted[0]]
    if ids.ndim != 1 or ids.dtype.kind not in "uif":
        raise LimbeckError(
            f'{path}: "ids" are {ids.dtype} of shape {ids.shape}, expected whole numbers of shape (rows,)'
        )
    numbers = _whole(path, ids, "ids")
    if wanted[0] == "labels":
        if values.shape != ids.shape or values.dtype.kind not in "uiU":
            raise _unfit(path, "labels", values, f"names or numbers of classes, shape ({len(ids)},)")
        return Found(numbers, None, _labels(path, numbers, list(map(str, values.tolist())), classes), None)
    names = tuple(map(str, arrays["classes"].reshape(-1).tolist())) if "classes" in arrays else None
    if names is not None:
        _check_classes(path, names, classes)
    if values.shape != (len(ids), len(classes)) or values.dtype.kind not in "uif":
        raise _unfit(path, wanted[0], values, f"numbers of shape ({len(ids)}, {len(classes)}), one for each class")
    values = values.astype(np.float64)
    if names is not None:
        values = values[:, [names.index(name) for name in classes]]
    return Found(numbers, values, None, ARRAYS[wanted[0]])


def listed(names: Sequence[str]) -> str:
    """Names in quotes, at most twelve."""
    shown = ", ".join(f'"{name}"' for name in names[:12])
    return shown if len(names) <= 12 else f"{shown}, … ({len(names)} in all)"


def _table(path: Path) -> Any:
    """The file as an Arrow table; all columns of a CSV file as texts, so that "007" stays a class's name."""
    what = "CSV" if path.suffix.lower() == ".csv" else "Parquet"
    try:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError:
        raise LimbeckError(f'reading {what} needs pyarrow: pip install "limbeck[data]"') from None
    try:
        if what == "Parquet":
            table = _with_range(pa.parquet.read_table(path))
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                names = [name.strip() for name in next(csv.reader(file), [])]
            if not names:
                problem = "starts with an empty line" if path.stat().st_size else "is empty"
                raise LimbeckError(f"{path} {problem}: expected a line of column names, and a line for each row")
            # Columns are typed by name, and a name may be there twice: numbers are names that are not.
            numbered = [str(number) for number in range(len(names))]
            table = pa.csv.read_csv(
                path,
                pa.csv.ReadOptions(column_names=numbered, skip_rows=1),
                convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(numbered, pa.string())),
            ).rename_columns(names)
    except (pa.ArrowException, OSError, UnicodeError, csv.Error) as error:
        raise LimbeckError(f"{path} cannot be read as {what} ({_line(error)}): write it anew") from None
    names = table.column_names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise LimbeckError(f'{path} has the column "{twice}" more than once: give every column its own name')
    return table


def _with_range(table: Any) -> Any:
    """With an index of pandas as a column that is 0, 1, 2, … and so in the file by its bounds alone."""
    import pyarrow as pa

    for index in (table.schema.pandas_metadata or {}).get("index_columns", []):
        if isinstance(index, dict) and index.get("name") is not None and index["name"] not in table.column_names:
            numbers = np.arange(index["start"], index["stop"], index["step"])
            if len(numbers) == len(table):
                table = table.append_column(index["name"], pa.array(numbers))
    return table


def _class_columns(path: Path, names: list[str], classes: tuple[str, ...]) -> tuple[list[str], Kind | None]:
    """The column of each class, in the classes' order, and what prefixes say that they hold."""
    by_class: dict[str, str] = {}
    kinds: set[Kind | None] = set()
    unknown = []
    for name in names:
        prefix = (
            ""
            if name in classes
            else next((p for p in PREFIXES if name[len(p) :] in classes and name.startswith(p)), None)
        )
        if prefix is None:
            unknown.append(name)
            continue
        stem = name[len(prefix) :]
        if stem in by_class:
            raise LimbeckError(
                f'{path} has two columns for class "{stem}", "{by_class[stem]}" and "{name}": leave one for each class'
            )
        by_class[stem] = name
        kinds.add(PREFIXES.get(prefix))
    if len(by_class) == len(classes):
        unknown = [name for name in unknown if name.lower() not in LABELS]
    if unknown or len(by_class) < len(classes):
        # Where all that is left has one prefix, classes are what stands behind it.
        stems = [next((n[len(p) :] for p in PREFIXES if n.startswith(p)), n) if kinds != {None} else n for n in unknown]
        _check_classes(path, (*by_class, *stems), classes)
    if len(kinds) > 1:
        raise LimbeckError(
            f"{path} has columns of more than one kind ({listed(list(by_class.values()))}): expected all of them to be "
            "probabilities, all log-probabilities or all logits, with the same prefix"
        )
    return [by_class[name] for name in classes], kinds.pop()


def _check_classes(path: Path, found: Sequence[str], classes: Sequence[str]) -> None:
    """Whether the file's classes are the data's, in any order."""
    if len(found) == len(classes) and set(found) == set(classes):
        return
    missing = [name for name in classes if name not in found]
    unknown = [name for name in found if name not in classes]
    parts = [f"{listed(missing)} missing"] if missing else []
    if unknown:
        parts.append(f"{listed(unknown)} not in the data{did_you_mean(unknown[0], missing).rstrip('?')}")
    differing = "; ".join(parts) or "one is there twice"
    raise LimbeckError(
        f"{path}: a teacher whose classes differ from the data's: it has {listed(found) or 'none'}, the data have "
        f"{listed(classes)} ({differing}): give one column for each class, named by the class"
    )


def _labels(
    path: Path, ids: npt.NDArray[np.int64], texts: Sequence[str | None], classes: tuple[str, ...]
) -> npt.NDArray[np.int64]:
    """Numbers of the classes that hard labels name."""
    numbers = {name: number for number, name in enumerate(classes)}
    if not numbers.keys() & set(texts):
        places = {str(number): number for number in range(len(classes))}
        places |= {f"{number}.0": number for number in range(len(classes))}  # as a column with gaps once is written
        if all(text in places for text in texts):
            numbers = places
    labels = np.array([numbers.get(text, -1) if text is not None else -1 for text in texts], dtype=np.int64)
    if (labels < 0).any():
        row = int(np.argmax(labels < 0))
        text = texts[row]
        shown = "no label" if text is None else f'the label "{text}"'
        near = did_you_mean(text, classes) if text is not None else ""
        raise LimbeckError(
            f"{path}: id {ids[row]} has {shown}, expected one of the data's {len(classes)} classes, "
            f"{listed(classes)}{near or ': mend the label or leave the row out'}"
        )
    return labels


def _texts(column: Any) -> list[str | None]:
    import pyarrow as pa

    return [text.strip() if text is not None else None for text in column.cast(pa.string()).to_pylist()]


def _numbers(path: Path, ids: npt.NDArray[np.int64], column: Any, name: str) -> npt.NDArray[np.float64]:
    """A column as float64, NaN where it is empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        if pa.types.is_string(column.type):
            column = pc.utf8_trim_whitespace(column)
            column = pc.if_else(pc.equal(column, ""), None, column)
        numbers = column.cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        row = _first_no_number(column) if pa.types.is_string(column.type) else None
        found = f"it is of type {column.type}" if row is None else f'id {ids[row]} has "{column[row].as_py()}"'
        if row is None and not pa.types.is_nested(column.type):
            found += f", {_line(error)}"
        raise LimbeckError(
            f'{path}: column "{name}" holds no numbers: {found}, expected a number for each row'
        ) from None
    return np.asarray(numbers, dtype=np.float64)


def _first_no_number(column: Any) -> int | None:
    for row, text in enumerate(column.to_pylist()):
        try:
            float(text or "nan")
        except ValueError:
            return row
    return None


def _whole_numbers(path: Path, column: Any, name: str) -> npt.NDArray[np.int64]:
    """A column of ids."""
    import pyarrow as pa

    if pa.types.is_integer(column.type) and not column.null_count:
        return _whole(path, column.to_numpy(), name)
    texts = _texts(column)
    try:
        return _whole(path, np.array([int(text or "") for text in texts], dtype=np.int64), name)
    except (ValueError, OverflowError):
        pass
    values = np.empty(len(texts))
    for row, text in enumerate(texts):
        try:
            values[row] = float(text or "nan")
        except ValueError:
            raise _no_id(path, name, row, f'"{text}"') from None
    return _whole(path, values, name)


def _whole(path: Path, values: npt.NDArray[Any], name: str) -> npt.NDArray[np.int64]:
    """Ids, also as floats without a fraction, as a table with gaps once is written."""
    limit = 2**63 if values.dtype.kind in "ui" else 2**53  # whole numbers beyond are no longer apart as floats
    wrong = ~((values >= 0) & (values < limit))
    if values.dtype.kind == "f":
        wrong |= values != np.floor(values)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise _no_id(path, name, row, "none" if np.isnan(values[row]) else f"{values[row]:.15g}")
    return values.astype(np.int64)


def _no_id(path: Path, name: str, row: int, found: str) -> LimbeckError:
    return LimbeckError(
        f'{path}: row {row} has {found} in column "{name}", expected the number of a row in the data: a whole number, '
        "0 or more"
    )


def _unfit(path: Path, name: str, values: npt.NDArray[Any], expected: str) -> LimbeckError:
    return LimbeckError(f'{path}: "{name}" are {values.dtype} of shape {values.shape}, expected {expected}')


def _either(names: Sequence[str]) -> str:
    quoted = [f'"{name}"' for name in names]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
