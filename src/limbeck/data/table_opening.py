"""From a table's path to its header, whatever its format."""

from __future__ import annotations

from pathlib import Path

from limbeck.data.table_file import TableFile, short
from limbeck.errors import LimbeckError, UsageError


def open_table(path: Path) -> TableFile:
    """Read a table's header.

    Args:
        path: a file that ends in .csv, .tsv (both also with .gz behind) or .parquet. CSV is UTF-8, with commas
            (tabs in .tsv) and a header. The columns in which pandas keeps an index in Parquet are left out.

    Raises:
        UsageError: no such file.
        LimbeckError: it is empty, no table, or has a column name twice or none; pyarrow is not installed.
    """
    from limbeck.data.csv_table import open_csv
    from limbeck.data.parquet_table import open_parquet

    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise LimbeckError('reading tables needs pyarrow: pip install "limbeck[data]"') from None
    if not path.is_file():
        found = "is not a file" if path.exists() else "does not exist"
        raise UsageError(f"table {path} {found}, expected a file: check the path")
    try:
        if not path.stat().st_size:
            raise LimbeckError(f"{path} is empty, expected a table with a header: use another file")
        table = open_parquet(path) if path.name.lower().endswith(".parquet") else open_csv(path)
    except OSError as error:
        raise LimbeckError(f"cannot read {path} ({error.strerror or short(error)}): check the file") from None
    _check_names(table)
    return table


def _check_names(table: TableFile) -> None:
    for number, name in enumerate(table.names, 1):
        if not name.strip():
            raise LimbeckError(
                f"column {number} of {table.path} has no name in the header, expected one for each of its "
                f"{len(table.names)} columns: name it (pandas writes such a column for its index, unless told "
                "index=False)"
            )
    if len(set(table.names)) < len(table.names):
        twice = next(name for name in table.names if table.names.count(name) > 1)
        raise LimbeckError(
            f'{table.path} has {table.names.count(twice)} columns named "{twice}": give every column its own name'
        )
