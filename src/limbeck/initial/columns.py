"""What each column of a user's table is for, as a first guess: input, label, row number, or left out and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from limbeck.data.table import ColumnDescription, TableDescription
from limbeck.data.table_columns import MOST_CATEGORIES
from limbeck.data.table_opening import open_table
from limbeck.data.table_values import whole_numbers

Use = Literal["input", "label", "id", "ignore", "categorical"]

_CALLED_ID = re.compile(r"(?:^|[\s_.-])(?:id|uuid|guid)$|^(?:uuid|guid)$", re.IGNORECASE)
_CAMEL_ID = re.compile(r"[a-z0-9](?:Id|ID)$")
_FEW = 50  # so many numbers may well name kinds of things; more of them name the things


@dataclass(frozen=True)
class ColumnUse:
    """A column, and what a recipe makes of it.

    Attributes:
        column: as the table has it.
        use: "categorical" is an input whose numbers are read as categories.
        reason: why it is no plain input, in a few words; None for the label and for inputs.
    """

    column: ColumnDescription
    use: Use
    reason: str | None = None

    @property
    def name(self) -> str:
        """The column's."""
        return self.column.name


def column_uses(path: Path, described: TableDescription, label: str) -> list[ColumnUse]:
    """Decide for every column of a table, in its order.

    Left out are columns that cannot be inputs, columns of one value alone, and numbers that only count the rows. A
    column that is called an id and holds whole numbers, each once, is the rows' id. What is called an id and comes
    again is a category where there are few of them, and left out where there are many.

    Args:
        path: of the table.
        described: what `describe_table` says of it.
        label: the column to learn.

    Raises:
        LimbeckError: the table cannot be read.
    """
    candidates = [
        column.name
        for column in described.columns
        if column.kind == "numeric"
        and column.name != label
        and not column.missing
        and column.distinct == min(described.rows, MOST_CATEGORIES + 1)
    ]
    each_once = _whole_and_each_once(path, candidates)
    uses: list[ColumnUse] = []
    has_id = False
    for column in described.columns:
        use, reason = _use(column, label, each_once, has_id)
        has_id = has_id or use == "id"
        uses.append(ColumnUse(column, use, reason))
    return uses


def _use(column: ColumnDescription, label: str, each_once: dict[str, bool], has_id: bool) -> tuple[Use, str | None]:
    if column.name == label:
        return "label", None
    if column.kind == "unusable":
        return "ignore", (column.reason or "").split(", expected")[0]
    if column.distinct == 1 and not column.missing:
        return "ignore", "has the same value in every row"
    if column.kind == "categorical":
        return "input", None
    if is_called_id(column.name):
        if column.name in each_once:
            return (
                ("ignore", "is a second id") if has_id else ("id", "has whole numbers, each once, and is called an id")
            )
        if column.distinct <= _FEW:
            return "categorical", "is called an id: its few numbers are names"
        return "ignore", "is called an id: its numbers are names, and too many to be categories"
    if each_once.get(column.name):
        return "ignore", "counts the rows"
    return "input", None


def is_called_id(name: str) -> bool:
    """Whether a column's name says that its values are names: id, ID, customer_id, customerId."""
    return bool(_CALLED_ID.search(name) or _CAMEL_ID.search(name))


def _whole_and_each_once(path: Path, names: Sequence[str]) -> dict[str, bool]:
    """Those of the columns that hold whole numbers of 0 or more, each once; and whether none is left out between."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    if not found:
        return {}
    for chunk in open_table(path).chunks(names):
        for name in list(found):
            numbers, wrong = whole_numbers(chunk[name])
            if wrong is None:
                found[name].append(numbers)
            else:
                del found[name]
        if not found:
            break
    columns = {name: np.sort(np.concatenate(chunks)) for name, chunks in found.items()}
    return {
        name: bool(numbers[-1] - numbers[0] == len(numbers) - 1)
        for name, numbers in columns.items()
        if (np.diff(numbers) > 0).all()
    }
