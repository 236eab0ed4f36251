"""Raw rows in the form that an estimator was fitted to: an array of float32, or a pandas frame with its columns."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.data.form import Form, TableForm
from limbeck.errors import LimbeckError
from limbeck.models.estimator_classes import listed

Array = npt.NDArray[Any]


def features_of(inputs: Array, form: Form | None, *, unknown_as_missing: bool = False) -> npt.NDArray[np.float32]:
    """Raw inputs (n, …) as an estimator takes them: float32 of shape (n, features).

    Args:
        inputs: raw.
        form: of a table, for its categories.
        unknown_as_missing: a category that its column does not have becomes NaN.
    """
    rows = np.ascontiguousarray(inputs.reshape(len(inputs), -1), dtype=np.float32)
    if unknown_as_missing and isinstance(form, TableForm) and form.categorical.any():
        unknown = (rows < 0) & form.categorical
        if unknown.any():
            rows = np.where(unknown, np.float32(np.nan), rows)
    return rows


def column_names(estimator: Any) -> list[str] | None:
    """The names of the columns that it was fitted to; None where it was fitted to an array."""
    names = None
    for attribute in ("feature_names_in_", "feature_names_"):  # CatBoost has the latter
        with contextlib.suppress(AttributeError):
            names = getattr(estimator, attribute) if names is None else names
    if names is None or not len(names):
        return None
    texts = [str(name) for name in names]
    # LightGBM and CatBoost make up names for an array's columns.
    made_up = any(texts == [f"{start}{number}" for number in range(len(texts))] for start in ("Column_", ""))
    return None if made_up else texts


def as_fitted(estimator: Any, inputs: Array, rows: npt.NDArray[np.float32], form: Form | None) -> Any:
    """Rows as the estimator was fitted to them: the array, or a frame with its own columns in its own order.

    Args:
        estimator: fitted.
        inputs: raw, shape (n, …).
        rows: what `features_of` made of them.
        form: of a table. Without it, columns are taken to be in the estimator's order already, as scikit-learn does.

    Raises:
        LimbeckError: a column or feature that the estimator needs and the data does not have.
    """
    kind, names = type(estimator).__name__, column_names(estimator)
    if names is None:
        expected = getattr(estimator, "n_features_in_", None)
        if isinstance(expected, int | np.integer) and expected != rows.shape[1]:
            raise LimbeckError(
                f"{kind} was fitted to {expected} features, but the inputs have {rows.shape[1]}: give it rows like "
                "those it was fitted to"
            )
        return rows
    if isinstance(form, TableForm):
        lacking = [name for name in names if name not in form.names]
        if lacking:
            raise LimbeckError(
                f'{kind} was fitted to a column "{lacking[0]}", which the data does not have '
                f"({listed(form.names)}): give data with the {len(names)} columns that it was fitted to"
            )
        from limbeck.data.table_rows import to_frame

        frame = to_frame(inputs, form)[names]
        if type(estimator).__module__.startswith("lightgbm."):  # which takes no texts, and has its own order of them
            known = {column.name: column.categories for column in form.columns if column.categories is not None}
            for name in known.keys() & set(names):
                frame[name] = _pandas().Categorical(frame[name], categories=list(known[name]))
        return frame
    if len(names) != rows.shape[1]:
        raise LimbeckError(
            f"{kind} was fitted to {len(names)} columns ({listed(names)}), but the inputs have {rows.shape[1]}: give "
            "it rows like those it was fitted to"
        )
    return _pandas().DataFrame(rows, columns=names)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise LimbeckError(
            'an estimator that was fitted to a frame needs pandas: pip install "limbeck[data]"'
        ) from None
    return pandas
