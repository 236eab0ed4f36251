"""Predictions in a file, of a teacher that lives elsewhere: a cluster, a service, another language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.special

from limbeck.data.part import Part
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import content_digest
from limbeck.models.hard_labels import near_one_hot
from limbeck.teachers.prediction_columns import Found, Kind, listed, read_npz, read_table
from limbeck.teachers.protocol import FLOOR

READERS: dict[str, Callable[[Path, tuple[str, ...]], Found]] = {
    ".csv": read_table,
    ".parquet": read_table,
    ".npz": read_npz,
}
_TOLERANCE = 1e-3  # of a sum that is to be one: of numbers printed with three digits or so
_LARGEST = 1e30  # so that float32 holds any difference
_STRAYS = 0.01  # of rows of logits may by chance look like distributions


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a teacher said about rows, known by their ids.

    Attributes:
        ids: shape (n,), int64, rising.
        log_probs: float32 of shape (n, classes): log-probabilities at temperature 1, in the order of `classes`. A
            probability of zero is `limbeck.teachers.FLOOR`.
        classes: the classes' names, in the data's order.
        kind: what the file holds. Of "hard" labels, log_probs are the labels, near to one-hot.
        path: the file.
    """

    ids: npt.NDArray[np.int64]
    log_probs: npt.NDArray[np.float32]
    classes: tuple[str, ...]
    kind: Literal["probabilities", "log-probabilities", "logits", "hard"]
    path: Path

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over ids, log-probabilities and classes: the same in whatever file and order they come."""
        arrays = {"ids": self.ids.astype("<i8", copy=False), "log_probs": self.log_probs.astype("<f4", copy=False)}
        return content_digest(arrays, {"classes": list(self.classes)})

    def answers_for(self, part: Part) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        """What was said about a part's rows, by their ids.

        Returns:
            Which rows have a prediction, shape (n,), and log-probabilities, shape (n, classes): 0 for the
            others.

        Raises:
            UsageError: the part has other classes.
        """
        if part.classes != self.classes:
            raise UsageError(
                f'{self.path} was read for the classes {listed(self.classes)}, but part "{part.name}" has '
                f"{listed(part.classes)}: read it for the classes of the data"
            )
        at = np.minimum(np.searchsorted(self.ids, part.ids), len(self.ids) - 1)
        mask = self.ids[at] == part.ids
        log_probs = self.log_probs[at]
        log_probs[~mask] = 0
        return mask, log_probs

    def required(self, part: Part, what: str) -> npt.NDArray[np.float32]:
        """What was said about a part's rows, all of which must have a prediction.

        Args:
            part: the rows.
            what: what they are, for the message: "training rows".

        Returns:
            Log-probabilities, float32 of shape (n, classes).

        Raises:
            LimbeckError: rows have no prediction; says how many, and the ids of the first.
        """
        mask, log_probs = self.answers_for(part)
        if not mask.all():
            missing = part.ids[~mask]
            first = ", ".join(map(str, missing[:3])) + (", …" if len(missing) > 3 else "")
            raise LimbeckError(
                f"{self.path} has no row for {len(missing):,} of {len(part):,} {what}, "
                f"{'that' if len(missing) == 1 else 'the first'} with id {first}: its {len(self):,} ids go from "
                f"{self.ids[0]} to {self.ids[-1]}; ask the teacher about these rows too, under the data's own ids"
            )
        return log_probs

    def unused(self, ids: npt.NDArray[np.int64]) -> int:
        """How many rows of the file have an id that is not among `ids`, those of all parts of the data."""
        return int((~np.isin(self.ids, ids)).sum())


def read_predictions(path: Path, classes: tuple[str, ...]) -> Predictions:
    """A teacher's predictions from a .csv, .parquet or .npz file.

    A table has a column of ids (`id`, `row` or `row_id`) and a column for each class, in any order, named by the class,
    or by the class behind `p_`, `prob_`, `proba_` (probabilities), `logp_` (their logarithms) or `logit_`. Or it has
    hard labels in one column, `label`, `class` or `prediction`: names of classes, or their numbers from 0 where no text
    is a class's name. An .npz file has `ids` and one of `probabilities`, `log_probs`, `logits`, (n, classes), or
    `labels`; its columns are in the order of `classes` where it has their names, else in the data's.

    Where names do not say what the numbers are, the numbers do: rows of distributions are probabilities, rows whose
    exponentials are distributions log-probabilities, and what reaches below zero or above one logits.

    Args:
        path: the file.
        classes: the data's classes.

    Raises:
        UsageError: a file of another kind.
        LimbeckError: there is no such file, it cannot be read, it has no rows, ids are missing, double or no whole
            numbers, its classes are not the data's, numbers are not finite or rows do not sum to one.
    """
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise UsageError(f'{path} ends in "{path.suffix}": expected predictions in a {" or ".join(READERS)} file')
    if not path.is_file():
        raise LimbeckError(f"{path}: no such file, expected predictions in a {' or '.join(READERS)} file")
    found = read(path, classes)
    if not len(found.ids):
        raise LimbeckError(f"{path} holds no rows: expected an id and a prediction for each row of the data")
    order = np.argsort(found.ids, kind="stable")
    ids = found.ids[order]
    if (twice := ids[1:] == ids[:-1]).any():
        double = int(ids[np.argmax(twice)])
        rows = " and ".join(str(row) for row in np.flatnonzero(found.ids == double)[:2])
        raise LimbeckError(
            f"{path} has the id {double} more than once (rows {rows}): leave one prediction for each row"
        )
    if found.labels is not None:
        return Predictions(ids, near_one_hot(found.labels[order], len(classes)), classes, "hard", path)
    assert found.values is not None
    values = found.values[order]
    _check_finite(path, ids, values, classes, may_be_zero=found.kind == "log-probabilities")
    kind = found.kind or _kind_of(path, ids, values)
    if found.kind in ("probabilities", "log-probabilities"):
        _check_distributions(path, ids, values, found.kind)
    return Predictions(ids, _log_probs(values, kind), classes, kind, path)


def _log_probs(values: npt.NDArray[np.float64], kind: Kind) -> npt.NDArray[np.float32]:
    """Log-probabilities at temperature 1, worked out in float64."""
    if kind == "probabilities":
        values = np.log(np.maximum(values, FLOOR))
    elif np.isinf(values).any():  # logarithms of zero: only log-probabilities may have them
        values = np.maximum(values, np.log(FLOOR))
    return np.asarray(scipy.special.log_softmax(values, axis=1), dtype=np.float32)


def _distributions(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    off = np.abs(values.sum(axis=1) - 1) > _TOLERANCE
    return np.asarray(~off & (values >= 0).all(axis=1))


def _kind_of(path: Path, ids: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> Kind:
    """What numbers are whose names do not say it."""
    distributions = _distributions(values)
    if distributions.all():
        return "probabilities"
    if (values <= 0).all() and (np.abs(scipy.special.logsumexp(values, axis=1)) <= _TOLERANCE).all():
        return "log-probabilities"
    if distributions.mean() < _STRAYS and ((values < 0) | (values > 1 + _TOLERANCE)).any():
        return "logits"
    raise _no_distribution(path, ids, values, distributions, "values", "logit_CLASS, or logits in an .npz file")


def _check_distributions(path: Path, ids: npt.NDArray[np.int64], values: npt.NDArray[np.float64], kind: Kind) -> None:
    """Whether values are what their names say."""
    with np.errstate(over="ignore"):
        values = values if kind == "probabilities" else np.exp(values)
    distributions = _distributions(values)
    if not distributions.all():
        what = "probabilities" if kind == "probabilities" else "exponentials of the log-probabilities"
        raise _no_distribution(path, ids, values, distributions, what, "logit_CLASS, or logits in an .npz file")


def _no_distribution(
    path: Path,
    ids: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    distributions: npt.NDArray[np.bool_],
    what: str,
    name: str,
) -> LimbeckError:
    row = int(np.argmin(distributions))
    total = values[row].sum()
    negative = f", {values[row].min():.4g} among them" if abs(total - 1) <= _TOLERANCE else ""
    return LimbeckError(
        f"{path}: the {what} of id {ids[row]} sum to {total:.4g}{negative}, expected probabilities that sum to 1 "
        f"({len(ids) - distributions.sum():,} of {len(ids):,} rows do not): mend these rows, or if they are logits, "
        f"name them {name}"
    )


def _check_finite(
    path: Path,
    ids: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    classes: Sequence[str],
    *,
    may_be_zero: bool = False,
) -> None:
    """Whether numbers are finite; `may_be_zero`: or −inf, the logarithm of zero."""
    bad = ~(np.abs(values) < _LARGEST)
    if may_be_zero:
        bad &= ~np.isneginf(values)
    if bad.any():
        row, column = map(int, np.argwhere(bad)[0])
        value = values[row, column]
        shown = "no number (it is missing or NaN)" if np.isnan(value) else f"{value:.4g}"
        raise LimbeckError(
            f'{path}: id {ids[row]} has {shown} for class "{classes[column]}", expected a finite number below 1e30: '
            "ask the teacher again about this row, or leave it out"
        )
