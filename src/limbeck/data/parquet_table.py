"""Parquet files as tables: their own types say which columns are numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.data.table_file import TableFile, short
from limbeck.errors import LimbeckError

_CHUNK_VALUES = 1 << 22
_PANDAS_INDEX = "__index_level_"


@dataclass(frozen=True)
class ParquetTable(TableFile):
    """A Parquet file."""

    @property
    def is_typed(self) -> bool:
        """It is."""
        return True

    def chunks(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """As `TableFile.chunks`; booleans are the texts "false" and "true", NaN is missing."""
        import pyarrow as pa

        with _opened(self.path) as file:
            rows = max(1024, min(1 << 16, _CHUNK_VALUES // len(names)))
            try:
                for batch in file.iter_batches(batch_size=rows, columns=list(names)):
                    yield {name: _plain(batch.column(name)) for name in names}
            except (pa.ArrowException, OSError) as error:
                raise LimbeckError(
                    f"{self.path} is damaged ({short(error)}), expected a whole Parquet file: write it anew"
                ) from None

    def count_rows(self) -> int:
        """As `TableFile.count_rows`; the file says it."""
        with _opened(self.path) as file:
            return int(file.metadata.num_rows)


def open_parquet(path: Path) -> ParquetTable:
    """Read a file's schema. The columns in which pandas keeps an index are left out.

    Raises:
        LimbeckError: it is no Parquet file.
        OSError: it cannot be read.
    """
    import pyarrow as pa

    with _opened(path) as file:
        schema = file.schema_arrow
    columns = [field for field in schema if not field.name.startswith(_PANDAS_INDEX)]

    def usable(kind: Any) -> bool:
        if pa.types.is_dictionary(kind):
            return usable(kind.value_type)
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view"
        is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        return is_text or is_number or pa.types.is_boolean(kind) or pa.types.is_null(kind)

    unusable = {field.name: str(field.type) for field in columns if not usable(field.type)}
    return ParquetTable(path, tuple(field.name for field in columns), unusable)


def _opened(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path)
    except pa.ArrowException as error:
        raise LimbeckError(f"{path} is no Parquet file ({short(error)}): write it anew, or change its ending") from None


def _plain(values: Any) -> Any:
    """Parquet's many types as three: strings, integers of 64 bits, floats; NaN as null."""
    import pyarrow as pa
    from pyarrow import compute

    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    if pa.types.is_integer(kind):
        return values.cast(pa.uint64() if kind == pa.uint64() else pa.int64())
    if pa.types.is_decimal(kind) or kind == pa.float16():
        values = values.cast(pa.float64())
    elif not pa.types.is_floating(kind):
        return values.cast(pa.string())
    return compute.if_else(compute.is_nan(values), pa.scalar(None, values.type), values)
