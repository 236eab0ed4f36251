"""A table on disk, of whatever format: its columns' names, and its rows by chunks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError

TABLE_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")


@dataclass(frozen=True)
class TableFile(ABC):
    """A table's header, and its rows by chunks: memory holds one of them at a time.

    Attributes:
        path: the file.
        names: its columns, each name once.
        unusable: columns of a type that is neither number nor text, each with that type.
    """

    path: Path
    names: tuple[str, ...]
    unusable: Mapping[str, str]

    @property
    @abstractmethod
    def is_typed(self) -> bool:
        """Whether the file itself says which columns are numbers (Parquet does, CSV does not)."""

    @abstractmethod
    def chunks(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The rows in the file's order, some at a time.

        Args:
            names: the columns wanted, at least one.

        Yields:
            Each column's values as a pyarrow array of strings, integers or floats, null where one is missing.

        Raises:
            LimbeckError: the file is damaged, or a row has not as many fields as the header; names the line.
        """

    @abstractmethod
    def count_rows(self) -> int:
        """How many rows there are; of CSV, all of them are read for that.

        Raises:
            LimbeckError: the file is damaged, as in `chunks`.
        """

    def check_usable(self, names: Sequence[str], *, can_be_ignored: bool = False) -> None:
        """Raise a LimbeckError for the first of these columns that is neither number nor text."""
        for name in names:
            if name in self.unusable:
                raise LimbeckError(
                    f'column "{name}" of {self.path} {self.why_unusable(name, can_be_ignored=can_be_ignored)}'
                )

    def why_unusable(self, name: str, *, can_be_ignored: bool = True) -> str:
        """What is wrong with the type of a column, and what to do, as the end of a sentence."""
        ignore = f"leave it out with data.ignore = [{quoted(name)}], or " if can_be_ignored else ""
        return (
            f"is of type {self.unusable[name]}, expected numbers, texts or booleans: {ignore}write it as one of these"
        )


def is_table(path: str) -> bool:
    """Whether a file of this name is read as a table."""
    return path.lower().endswith(TABLE_SUFFIXES)


def no_rows(path: Path) -> LimbeckError:
    """The error for a table that has a header and nothing below."""
    return LimbeckError(f"{path} has a header but no rows, expected at least one: use another file")


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names for a message, the first of them."""
    shown = ", ".join(f'"{name}"' for name in names[:most])
    return shown if len(names) <= most else f"{shown}, … ({len(names)} in all)"


def quoted(name: str) -> str:
    """A name as TOML has it."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def short(error: Exception) -> str:
    """The words of another library's error, in one line."""
    return " ".join(str(error).split())[:120]
