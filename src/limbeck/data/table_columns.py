"""The first pass over a table: what each column holds, and from that its kind, its categories or its classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.data.form import Column
from limbeck.data.reading import Reading
from limbeck.data.table_file import TableFile, listed, no_rows, quoted
from limbeck.data.table_values import numbers, texts, too_large, whole
from limbeck.errors import LimbeckError, UsageError, did_you_mean

MOST_CATEGORIES = 1000
"""Of a column, and of classes: with more it is a name or a number, not a category."""

_FEW_CATEGORIES = 50  # so many may differ in every row: a small table is not refused
_FEW_SPACES = 3  # in a name or an address; sentences have more


@dataclass
class Survey:
    """What one column of a table holds, found chunk by chunk.

    Attributes:
        name: the column.
        is_text: the file says that these are texts, numbers though they may look like.
        rows: counted so far.
        missing: rows without a value.
        texts: the different texts, all of them unless it `is_endless`.
        no_number: the first text that is no number, with its row.
        too_large: the first number that float32 cannot hold, with its row.
    """

    name: str
    is_text: bool = False
    rows: int = 0
    missing: int = 0
    texts: set[str] = field(default_factory=set)
    no_number: tuple[int, str] | None = None
    too_large: tuple[int, str] | None = None

    @property
    def is_numeric(self) -> bool:
        """Whether all of its values are numbers."""
        return not self.is_text and self.no_number is None

    @property
    def is_endless(self) -> bool:
        """Whether there are more different texts than were counted."""
        return len(self.texts) > MOST_CATEGORIES

    @property
    def is_as_good_as_unique(self) -> bool:
        """Whether so many rows differ that its texts are names rather than categories."""
        return len(self.texts) > max(_FEW_CATEGORIES, self.rows / 2)

    @property
    def is_running_text(self) -> bool:
        """Whether its texts are sentences, by the spaces in them, rather than names."""
        return sum(text.count(" ") for text in self.texts) > _FEW_SPACES * len(self.texts)

    def add(self, values: Any, typed: bool) -> None:
        """Look at one more chunk's values, as `TableFile.chunks` gives them."""
        import pyarrow as pa

        # Of a column without any value, Parquet may say no type: a text like any other then.
        self.is_text = self.is_text or (typed and values.type == pa.string() and values.null_count < len(values))
        if self.no_number is None:
            found, wrong = numbers(values)
            if wrong is not None:
                self.no_number = self.rows + wrong, values[wrong].as_py()
            elif self.too_large is None and (place := too_large(found)) is not None:
                self.too_large = self.rows + place, texts(values)[place].as_py()
        if not self.is_endless:
            different = texts(values).unique().drop_null()
            self.texts.update(different[: MOST_CATEGORIES + 1].to_pylist())
        self.rows += len(values)
        self.missing += values.null_count


def survey(table: TableFile, names: Sequence[str]) -> dict[str, Survey]:
    """Look at every row of the columns named, once.

    Raises:
        LimbeckError: the table has no rows, or is damaged.
    """
    found = {name: Survey(name) for name in names}
    for chunk in table.chunks(names):
        for name, values in chunk.items():
            found[name].add(values, table.is_typed)
    if not next(iter(found.values())).rows:
        raise no_rows(table.path)
    return found


def feature_names(table: TableFile, reading: Reading) -> tuple[str, ...]:
    """The columns that are inputs: all but the label, the ids and what is to be ignored.

    Raises:
        UsageError: `reading` names a column that is not there, or one twice.
        LimbeckError: no column is left.
    """
    roles: dict[str, str] = {}
    given: list[tuple[str, Iterable[str]]] = [
        ("label", [] if reading.label is None else [reading.label]),
        ("id", [] if reading.id is None else [reading.id]),
        ("ignore", reading.ignore),
        ("numeric", reading.numeric),
        ("categorical", reading.categorical),
    ]
    for role, names in given:
        for name in names:
            if name not in table.names:
                raise UsageError(
                    f'data.{role} names the column "{name}", but {table.path} has none of that name'
                    f"{did_you_mean(name, table.names) or f', expected one of {listed(table.names)}: check the name'}"
                )
            if roles.setdefault(name, role) != role:
                raise UsageError(
                    f'column "{name}" is named by data.{roles[name]} and by data.{role}, expected by one of them: '
                    "take it out of the other"
                )
    names = tuple(name for name in table.names if roles.get(name) not in ("label", "id", "ignore"))
    if not names:
        raise LimbeckError(f"{table.path} has no column left to learn from, expected at least one: ignore fewer")
    return names


def column_of(found: Survey, path: Path, reading: Reading) -> Column:
    """The column as it goes into a `TableForm`; categories in the order of their sorted texts.

    Raises:
        LimbeckError: it cannot be an input; says why, and what to do.
    """
    name, wants_numbers, wants_categories = found.name, found.name in reading.numeric, found.name in reading.categorical
    if wants_numbers and found.no_number is not None:
        row, text = found.no_number
        raise LimbeckError(
            f'column "{name}" of {path} has "{text}" in row {row} (counted from 0), expected numbers, as data.numeric '
            "says: mend the value, or take the column out of data.numeric"
        )
    is_numeric = wants_numbers or (found.is_numeric and not wants_categories)
    reason = why_unusable(found, is_numeric=is_numeric, may_be_unique=wants_categories)
    if reason:
        raise LimbeckError(f'column "{name}" of {path} {reason}')
    return Column(name, None if is_numeric else tuple(sorted(found.texts)), found.missing > 0)


def why_unusable(found: Survey, *, is_numeric: bool, may_be_unique: bool = False) -> str | None:
    """Why a column cannot be an input, and what to do, as the end of a sentence; None where it can."""
    ignore = f"leave it out with data.ignore = [{quoted(found.name)}]"
    if not found.texts:
        return f"has no value in any row, expected some: {ignore}"
    if is_numeric:
        if found.too_large is None:
            return None
        row, text = found.too_large
        return (
            f"has {text} in row {row} (counted from 0), expected finite numbers that float32 can hold: "
            f"mend the value, or leave it empty for a missing one, or {ignore}"
        )
    if found.is_running_text:
        ignore = f"learn from these texts alone, with an encoder, by data.text = {quoted(found.name)}, or {ignore}"
    if found.is_endless:
        return (
            f"has more than {MOST_CATEGORIES:,} different texts{_first_text(found)}, expected numbers or categories "
            f"that come again: {ignore}"
        )
    if found.is_as_good_as_unique and not may_be_unique:
        return (
            f"has {len(found.texts)} different texts in {found.rows} rows{_first_text(found)}, expected numbers or "
            f"categories that come again: {ignore}, or keep it with data.categorical = [{quoted(found.name)}]"
        )
    return None


def _first_text(found: Survey) -> str:
    """Which text makes a column of numbers one of texts, where it looks like one slip."""
    if found.is_text or found.no_number is None or found.no_number[0] == 0:
        return ""
    row, text = found.no_number
    return f' (the first that is no number: "{text}" in row {row}, counted from 0)'


def classes_of(found: Survey, path: Path) -> dict[str, str]:
    """The classes of a label column.

    Returns:
        The class of each text in the file, classes in their order: whole numbers by size, other texts sorted.

    Raises:
        LimbeckError: there is no class to tell from another, or the labels are a quantity.
    """
    where = f'label column "{found.name}" of {path}'
    if len(found.texts) < 2:
        only = f'"{next(iter(found.texts))}" in every row' if found.texts else "no value in any row"
        raise LimbeckError(f"{where} has {only}, expected at least two classes: name another column as data.label")
    as_whole = {text: whole(text) for text in found.texts}
    if found.is_numeric:
        odd = sorted(text for text, number in as_whole.items() if number is None)
        if odd:
            raise LimbeckError(
                f'{where} has numbers such as "{odd[0]}", expected classes (whole numbers or texts): limbeck learns '
                "classes and no quantities; cut it into classes, or name another column as data.label"
            )
    if found.is_endless:
        raise LimbeckError(
            f"{where} has more than {MOST_CATEGORIES:,} different values, expected classes that come again: limbeck "
            "learns classes and no quantities; cut it into classes, or name another column as data.label"
        )
    if all(number is not None for number in as_whole.values()):
        return {text: str(as_whole[text]) for text in sorted(as_whole, key=lambda text: (as_whole[text] or 0, text))}
    return {text: text for text in sorted(found.texts)}
