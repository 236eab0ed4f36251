"""Values of a table's column, as `TableFile.chunks` hands them out, as numbers, texts, codes or ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.data.form import UNKNOWN, Column

LARGEST = float(np.finfo(np.float32).max)

_NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:inf|infinity))$"


def texts(values: Any) -> Any:
    """The values as a file has them: a pyarrow array of strings, null where one is missing."""
    import pyarrow as pa

    return values if values.type == pa.string() else values.cast(pa.string())


def numbers(values: Any) -> tuple[npt.NDArray[np.float64], int | None]:
    """The values as numbers.

    Returns:
        Shape (n,), NaN where a value is missing; and the place of the first text that is no number (the array is
        then of no use), or None.
    """
    import pyarrow as pa
    from pyarrow import compute

    if values.type != pa.string():
        return _float64(values.cast(pa.float64(), safe=False)), None
    values = compute.utf8_trim_whitespace(values)
    try:
        found = _float64(values.cast(pa.float64()))
    except pa.ArrowInvalid:
        good = compute.fill_null(compute.match_substring_regex(values, _NUMBER), True)
        wrong = np.flatnonzero(~good.to_numpy(zero_copy_only=False))
        if len(wrong):
            return np.full(len(values), np.nan), int(wrong[0])
        # Some versions of pyarrow know no plus sign.
        found = _float64(compute.replace_substring_regex(values, r"^\+", "").cast(pa.float64()))
    # "NAN" and its like, where the file has no such way to write a missing value
    odd = np.flatnonzero(np.isnan(found) & np.asarray(values.is_valid()))
    return found, int(odd[0]) if len(odd) else None


def too_large(found: npt.NDArray[np.float64]) -> int | None:
    """The place of the first number that float32 cannot hold, infinities among them; None where there is none."""
    places = np.flatnonzero(np.abs(found) > LARGEST)
    return int(places[0]) if len(places) else None


def whole_numbers(values: Any) -> tuple[npt.NDArray[np.int64], int | None]:
    """The values as ids.

    Returns:
        Shape (n,); and the place of the first that is missing or no whole number of 0 or more, or None.
    """
    import pyarrow as pa
    from pyarrow import compute

    if values.type == pa.string():
        values = compute.utf8_trim_whitespace(values)
    if not values.null_count:
        try:
            found = values.cast(pa.int64()).to_numpy(zero_copy_only=False)
            negative = np.flatnonzero(found < 0)
            return found, int(negative[0]) if len(negative) else None
        except pa.ArrowInvalid:
            pass
    found = np.full(len(values), -1, dtype=np.int64)
    for place, value in enumerate(values.to_pylist()):
        number = whole(value)
        if number is None or not 0 <= number < 2**63:
            return found, place
        found[place] = number
    return found, None


def whole(value: str | float | None) -> int | None:
    """A whole number by its text or value ("7", "7.0", 7.0), exactly; None for anything else."""
    if isinstance(value, str):
        try:
            if value.strip().lstrip("+-").isdigit():
                return int(value)
            value = float(value)
        except ValueError:
            return None
    if value is None or isinstance(value, int):
        return value
    return int(value) if value.is_integer() else None


def encoded(values: Any, column: Column) -> tuple[npt.NDArray[np.float32], int | None]:
    """The values as `TableForm` has them.

    Returns:
        Shape (n,), float32; and the place of the first value that a column of numbers cannot hold, or None.
    """
    if column.categories is None:
        found, wrong = numbers(values)
        wrong = too_large(found) if wrong is None else wrong
        with np.errstate(over="ignore"):
            return found.astype(np.float32), wrong
    codes = codes_of(values, column.categories).astype(np.float32)
    codes[np.asarray(values.is_null())] = np.nan
    return codes, None


def codes_of(values: Any, known: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Each value's place among the texts `known`, shape (n,); `UNKNOWN` for another one and for a missing one."""
    import pyarrow as pa
    from pyarrow import compute

    places = compute.index_in(texts(values), value_set=pa.array(known, pa.string()), skip_nulls=True)
    return np.asarray(compute.fill_null(places, UNKNOWN).to_numpy(zero_copy_only=False), dtype=np.int64)


def _float64(values: Any) -> npt.NDArray[np.float64]:
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)
