"""Files of texts, row by row: JSON lines, tables with a column of texts, and plain text."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from limbeck.data.csv_table import CsvTable
from limbeck.data.table_file import is_table, listed, quoted, short
from limbeck.data.table_opening import open_table
from limbeck.data.table_values import texts as as_texts
from limbeck.errors import LimbeckError, UsageError, did_you_mean

JSON_SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
PLAIN_SUFFIXES = (".txt", ".txt.gz")
DEFAULT_COLUMN = "text"
"""What JSON lines have their text under where no column is named."""
MODEL = "the model"
"""Who names the columns where nobody has named others with --text."""


@dataclass(frozen=True)
class TextRow:
    """One row of a file of texts.

    Attributes:
        where: the row in its file, for messages: "line 3", "row 2, counted from 0".
        texts: one for each column; None for one without a value.
        label: as a text; None where the row has none.
        id: as the file has it; None where no column of ids was asked for, or the row has no value there.
    """

    where: str
    texts: tuple[str | None, ...]
    label: str | None = None
    id: Any = None


def is_texts(path: str) -> bool:
    """Whether a file of this name holds texts without being told so: JSON lines, or plain text."""
    return path.lower().endswith((*JSON_SUFFIXES, *PLAIN_SUFFIXES))


def is_plain(path: str) -> bool:
    """Whether a file of this name is plain text, a row in each line."""
    return path.lower().endswith(PLAIN_SUFFIXES)


def text_rows(
    path: Path, columns: Sequence[str], label: str | None = None, id: str | None = None, *, asked_by: str = "data.text"
) -> Iterator[TextRow]:
    """The rows of a file, in its order. Lines with nothing in them are no rows.

    Args:
        path: JSON lines (.jsonl, .ndjson, both also with .gz behind), a table (`open_table`), or plain text (.txt),
            which has one text in each line and nothing else. All in UTF-8.
        columns: the column of texts, or the two of pairs.
        label: the column of labels: texts, whole numbers or booleans.
        id: the column of ids.
        asked_by: who names the columns, for messages.

    Raises:
        UsageError: no such file, or it is a table without one of the columns.
        LimbeckError: it cannot be read, or a row is not as it has to be; names the line.
    """
    if is_table(path.name):
        return _of_table(path, columns, label, id, asked_by)
    if not path.is_file():
        found = "is not a file" if path.exists() else "does not exist"
        raise UsageError(f"{path} {found}, expected a file of texts: check the path")
    if is_plain(path.name):
        return _of_plain(path)
    return _of_json(path, columns, label, id, asked_by)


def _of_plain(path: Path) -> Iterator[TextRow]:
    for number, line in _lines(path):
        yield TextRow(f"line {number}", (line.strip(),))


def _of_json(path: Path, columns: Sequence[str], label: str | None, id: str | None, asked_by: str) -> Iterator[TextRow]:
    keys: dict[str, None] | None = None if label is None else {}  # met so far, until one is the label's
    for number, line in _lines(path):
        where = f"line {number} of {path}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            what = error.msg.removesuffix(" at") if isinstance(error, json.JSONDecodeError) else short(error)
            raise LimbeckError(
                f'{where} is not JSON ({what}), expected an object in every line, such as {{"text": "…"}}: mend it'
            ) from None
        if not isinstance(row, dict):
            raise LimbeckError(
                f'{where} is {_kind(row)}, expected an object, such as {{"text": "…"}}: write one object a line'
            )
        found = tuple(_json_text(row, column, where, asked_by) for column in columns)
        if keys is not None:
            keys = None if label in row else keys | dict.fromkeys(row)
        said = None if label is None else _json_label(row.get(label), label, where)
        yield TextRow(f"line {number}", found, said, None if id is None else row.get(id))
    if keys and label is not None:
        role = "data.label" if asked_by.startswith("data.") else "--label"
        has = did_you_mean(label, list(keys)) or f": they have {listed([quoted(name)[1:-1] for name in keys])}"
        raise UsageError(f'{role} names "{label}", but no line of {path} has it{has}')


def _json_text(row: dict[str, Any], column: str, where: str, asked_by: str) -> str | None:
    if column not in row:
        raise LimbeckError(
            f'{where} has no "{column}", expected a text there{did_you_mean(column, list(row)) or _has(row, asked_by)}'
        )
    text = row[column]
    if text is not None and not isinstance(text, str):
        raise LimbeckError(f'"{column}" in {where} is {_kind(text)}, expected a text: write it in double quotes')
    if text is not None:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise LimbeckError(
                f'"{column}" in {where} has half a character in it (a lone surrogate): write it in whole ones'
            ) from None
    return text


def _json_label(label: Any, column: str, where: str) -> str | None:
    if label is None or label == "":
        return None
    if isinstance(label, bool):
        return "true" if label else "false"
    if isinstance(label, float) and label.is_integer():  # pandas writes 1.0 where other rows have none
        return str(int(label))
    if isinstance(label, str | int):
        return str(label)
    raise LimbeckError(
        f'the label "{column}" in {where} is {_kind(label)}, expected a class (a text, a whole number, true or false): '
        "limbeck learns classes and no quantities; mend it, or leave it out for none"
    )


def _of_table(
    path: Path, columns: Sequence[str], label: str | None, id: str | None, asked_by: str
) -> Iterator[TextRow]:
    table = open_table(path)
    roles = {**dict.fromkeys(columns, asked_by), **{name: "data.label" for name in [label] if name}}
    roles |= {name: "data.id" for name in [id] if name}
    for name, role in roles.items():
        if name not in table.names:
            raise UsageError(
                f'{role} names the column "{name}", but {path} has none of that name'
                f"{did_you_mean(name, table.names) or f', expected one of {listed(table.names)}: {_mend(role)}'}"
            )
    table.check_usable(list(roles))
    if isinstance(table, CsvTable):
        table = replace(table, texts=tuple(columns))
    start = 0
    for chunk in table.chunks(list(roles)):
        for column in columns:
            if table.is_typed and str(chunk[column].type) not in ("string", "large_string", "null"):
                raise LimbeckError(
                    f'column "{column}" of {path} holds numbers, expected texts: name another with data.text'
                )
        texts = [cast(list[Any], chunk[column].to_pylist()) for column in columns]
        count = len(texts[0])
        labels = [None] * count if label is None else as_texts(chunk[label]).to_pylist()
        ids = [None] * count if id is None else chunk[id].to_pylist()
        for at in range(count):
            of_row = tuple(column[at] for column in texts)
            yield TextRow(f"row {start + at}, counted from 0", of_row, labels[at], ids[at])
        start += count


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that hold something, with their numbers from 1."""
    number = 0
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise LimbeckError(
                        f"line {number} of {path} is not UTF-8 (byte 0x{raw[error.start]:02x} at place "
                        f"{error.start + 1}): write the file in UTF-8"
                    ) from None
                if line.strip():
                    yield number, line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise LimbeckError(f"{path} is damaged ({short(error)}), expected a whole gzip file: get it anew") from None
    except OSError as error:
        raise LimbeckError(f"cannot read {path} ({error.strerror or short(error)}): check the file") from None


def _kind(value: Any) -> str:
    """A JSON value as a message calls it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else f"the number {value}"


def _mend(role: str) -> str:
    return "name it with --text" if role == MODEL else "check the name"


def _has(row: dict[str, Any], asked_by: str) -> str:
    if not row:
        return ": it is empty"
    by = "--text" if asked_by == MODEL else asked_by
    other = f"; name another column with {by}" if by.startswith(("data.", "--")) else ""
    return f": it has {listed([quoted(name)[1:-1] for name in row])}{other}"
