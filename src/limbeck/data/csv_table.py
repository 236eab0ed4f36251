"""CSV files as tables. They are read as texts: what a column holds is known only when its last row has been seen."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO

from limbeck.data.table_file import TableFile, short
from limbeck.errors import LimbeckError

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")
"""What a CSV file has in place of a value that is missing, blanks around it aside."""

_BLOCK_BYTES = 2 << 20  # pyarrow reads up to twenty of them ahead, and no row may be longer


@dataclass(frozen=True)
class CsvTable(TableFile):
    """A CSV file.

    Attributes:
        delimiter: between fields.
        header_lines: lines before the first row.
        texts: columns of running text, in which only an empty field is a missing value.
    """

    delimiter: str = ","
    header_lines: int = 1
    texts: tuple[str, ...] = ()

    @property
    def is_typed(self) -> bool:
        """It is not: all values are texts."""
        return False

    def chunks(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """As `TableFile.chunks`; all values are texts, null where one is among `MISSING`, or of `texts` empty."""
        for batch in self._batches(names):
            yield {
                name: _without_missing(batch.column(name), ("",) if name in self.texts else MISSING) for name in names
            }

    def count_rows(self) -> int:
        """As `TableFile.count_rows`."""
        return sum(batch.num_rows for batch in self._batches(self.names[:1]))

    def _batches(self, names: Sequence[str]) -> Iterator[Any]:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        try:
            reader = arrow_csv.open_csv(
                pa.input_stream(str(self.path), compression="gzip" if _gzipped(self.path) else None),
                arrow_csv.ReadOptions(
                    column_names=list(self.names), skip_rows=self.header_lines, block_size=_BLOCK_BYTES
                ),
                arrow_csv.ParseOptions(
                    delimiter=self.delimiter,
                    newlines_in_values=True,
                    ignore_empty_lines=len(self.names) > 1,  # of a single column, an empty line is a missing value
                ),
                arrow_csv.ConvertOptions(
                    column_types={name: pa.string() for name in self.names}, include_columns=list(names)
                ),
            )
            yield from (batch for batch in reader if batch.num_rows)
        except (pa.ArrowException, OSError) as error:
            if "Empty CSV" in str(error) or "Could not skip initial" in str(error):
                return  # a header, and no rows
            self._explain(error)

    def _explain(self, error: Exception) -> NoReturn:
        """Read again, slowly, to find the line at which pyarrow stopped: it does not say."""
        _check_utf8(self.path)
        number = 0
        try:
            with _opened(self.path) as file:
                reader = csv.reader(file, delimiter=self.delimiter)
                for fields in reader:
                    first, number = number + 1, reader.line_num
                    if fields and first > self.header_lines and len(fields) != len(self.names):
                        raise LimbeckError(
                            f"line {first} of {self.path} has {_counted(len(fields), 'field')}, expected "
                            f"{len(self.names)} as in its header: mend the line (a field with "
                            f"{_spoken(self.delimiter)} in it stands in double quotes)"
                        )
        except csv.Error:
            raise LimbeckError(
                f"the row of {self.path} that starts in line {number + 1} does not end: "
                'mend the double quote (") that is opened there and never closed'
            ) from None
        except (OSError, EOFError, zlib.error):
            pass  # pyarrow's own words are as good
        raise LimbeckError(
            f"{self.path} cannot be read as a table ({short(error)}): mend it, or write it anew"
        ) from None


def open_csv(path: Path) -> CsvTable:
    """Read the header of a file in UTF-8 with commas (tabs in .tsv), gzipped where its name ends in .gz.

    Raises:
        LimbeckError: it has none, or not that form.
        OSError: it cannot be read.
    """
    delimiter = "\t" if ".tsv" in path.name.lower()[-7:] else ","
    try:
        with _opened(path) as file:
            reader = csv.reader(file, delimiter=delimiter)
            names = next((fields for fields in reader if fields), None)
            lines = reader.line_num
    except UnicodeDecodeError:
        _check_utf8(path)
        raise
    except csv.Error as error:
        raise LimbeckError(f"{path} has no header that can be read ({error}): is it a CSV file?") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise LimbeckError(f"{path} is damaged ({short(error)}), expected a whole gzip file: get it anew") from None
    if names is None:
        raise LimbeckError(f"{path} is empty, expected a table with a header: use another file")
    if len(names) == 1:
        for other in {",", ";", "\t", "|"} - {delimiter}:
            if other in names[0]:
                raise LimbeckError(
                    f"the header of {path} has {_spoken(other)} between names, expected {_spoken(delimiter)}: "
                    f"write it with {_spoken(delimiter)}"
                    + (", or let its name end in .tsv" if other == "\t" else "")
                    + (", or let its name end in .csv" if other == "," else "")
                )
    return CsvTable(path, tuple(names), {}, delimiter, lines)


def _without_missing(values: Any, missing: Sequence[str]) -> Any:
    import pyarrow as pa
    from pyarrow import compute

    is_missing = compute.is_in(compute.utf8_trim_whitespace(values), value_set=pa.array(missing))
    return compute.if_else(is_missing, pa.scalar(None, pa.string()), values)


def _gzipped(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _opened(path: Path) -> TextIO:
    if _gzipped(path):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _check_utf8(path: Path) -> None:
    """Raise a LimbeckError for the first line that is not UTF-8, if there is one."""
    try:
        with gzip.open(path, "rb") if _gzipped(path) else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    line.decode()
                except UnicodeDecodeError as error:
                    raise LimbeckError(
                        f"line {number} of {path} is not UTF-8 (byte 0x{line[error.start]:02x} at place "
                        f"{error.start + 1}): write the file in UTF-8"
                    ) from None
    except (OSError, EOFError, zlib.error):
        return


def _spoken(delimiter: str) -> str:
    return {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}[delimiter]


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
