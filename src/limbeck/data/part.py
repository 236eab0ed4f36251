"""Rows that belong together: the unit in which inputs and labels are handed around and hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from limbeck.data.form import Form, TableForm, TextForm
from limbeck.data.scratch import copied
from limbeck.data.texts import byte_lengths, lengths_and_bytes, unpacked, wording_hash
from limbeck.errors import LimbeckError, UsageError, did_you_mean

INPUT_DTYPES = (np.dtype(np.uint8), np.dtype(np.float32))
_CHECKED_VALUES = 1 << 22  # values looked at in one go, so that a check needs little memory


@dataclass(frozen=True, eq=False)
class Part:
    """Rows with their labels and ids. Its arrays are not to be written to: hashes are remembered.

    Raw inputs are kept, so that a part's hash does not depend on the preprocessing of any model.

    Attributes:
        name: for people; enters no key.
        inputs: shape (n, …), uint8 or float32, all finite; in a table NaN stands for a missing value.
        labels: shape (n,), int64; −1 stands for none.
        ids: shape (n,), int64, not negative: the rows' own numbers in the source's file. They stay
            with the rows through every selection, and decide what a view looks like.
        classes: the classes' names; label c means classes[c].
        form: the columns of a table, or how images were read; None where inputs are just numbers.

    Raises:
        UsageError: arrays whose shapes or types do not fit.
        LimbeckError: a label out of range, a NaN or an infinity in the inputs; names the row.
    """

    name: str
    inputs: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    classes: tuple[str, ...]
    form: Form | None = None

    def __post_init__(self) -> None:
        self._check_arrays()
        self._check_form()
        self._check_classes()
        self._check_labels()
        self._check_finite()

    def __len__(self) -> int:
        return len(self.inputs)

    @cached_property
    def inputs_hash(self) -> str:
        """SHA-256 (hex) over dtype, shape, a table's columns, the raw inputs and the row ids. 47 MB take 0.1 s.

        Of texts it is over each one's length and bytes: the same texts have the same hash whatever the rows' width.
        """
        if isinstance(self.form, TextForm):
            digest = hashlib.sha256(_header(rows=len(self), texts=True))
            for some in lengths_and_bytes(self.inputs):
                digest.update(some)
            digest.update(_raw(self.ids.astype("<i8", copy=False)))
            return digest.hexdigest()
        columns = self.form.as_json() if isinstance(self.form, TableForm) else {}
        digest = hashlib.sha256(_header(dtype=self.inputs.dtype.name, shape=list(self.inputs.shape), **columns))
        digest.update(_raw(self.inputs))
        digest.update(_raw(self.ids.astype("<i8", copy=False)))
        return digest.hexdigest()

    @cached_property
    def labels_hash(self) -> str:
        """SHA-256 (hex) over the classes' names, in their order, and the labels."""
        digest = hashlib.sha256(_header(classes=list(self.classes), rows=len(self)))
        digest.update(_raw(self.labels.astype("<i8", copy=False)))
        return digest.hexdigest()

    @cached_property
    def row_hashes(self) -> np.ndarray:
        """A 64-bit hash of each row's input bytes, shape (n,), uint64: equal rows or texts have equal hashes."""
        rows: Any = np.ascontiguousarray(self.inputs)
        if isinstance(self.form, TextForm):
            rows = [row[:length] for row, length in zip(rows, byte_lengths(rows), strict=True)]
        hashes = (int.from_bytes(hashlib.blake2b(row, digest_size=8).digest(), "little") for row in rows)
        return np.fromiter(hashes, np.uint64, len(rows))

    @cached_property
    def wording_hashes(self) -> np.ndarray:
        """Of texts, as `row_hashes`, but texts that differ in case and white space alone have equal ones."""
        return np.fromiter(map(wording_hash, unpacked(self.inputs)), np.uint64, len(self))

    def take(self, rows: np.ndarray) -> Part:
        """The rows with these numbers, in this order, keeping their ids.

        Rows of a mapped file (`np.memmap`) are copied by chunks, and where they are many into a temporary file:
        `limbeck.data.scratch`.
        """
        if isinstance(self.inputs, np.memmap):
            inputs = copied(self.inputs, rows=np.arange(len(self))[rows])
        else:
            inputs = self.inputs[rows]
        return replace(self, inputs=inputs, labels=self.labels[rows], ids=self.ids[rows])

    def named(self, name: str) -> Part:
        """The same rows under another name."""
        return replace(self, name=name)

    def selected(self, *, without: Sequence[int | str] = (), only: Sequence[int | str] = ()) -> np.ndarray:
        """The row numbers left when classes are taken out.

        Args:
            without: classes to leave out. Rows without a label stay.
            only: classes to keep, all if empty. Rows without a label go.
                A class is given by its name (a string) or its number, counted from 0.

        Returns:
            Row numbers in rising order, shape (m,), int64; copies no inputs.

        Raises:
            UsageError: a class that does not exist, or no rows left.
        """
        kept = np.ones(len(self), dtype=bool)
        if only:
            kept &= np.isin(self.labels, [self._class_number(c) for c in only])
        if without:
            kept &= ~np.isin(self.labels, [self._class_number(c) for c in without])
        if not kept.any():
            given = {"without": list(without), "only": list(only)}
            asked = " and ".join(f"{key} = {classes}" for key, classes in given.items() if classes)
            raise UsageError(
                f'no row of part "{self.name}" ({len(self)} rows) is left by select {asked}: select fewer classes away'
            )
        return np.flatnonzero(kept)

    def class_numbers(self, given: Sequence[int | str]) -> list[int]:
        """The numbers of classes given by name or number, sorted, each once.

        Raises:
            UsageError: a class that does not exist.
        """
        return sorted({self._class_number(one) for one in given})

    def _class_number(self, given: int | str) -> int:
        if isinstance(given, str) and given in self.classes:
            return self.classes.index(given)
        is_number = isinstance(given, int | np.integer) and not isinstance(given, bool)
        if is_number and 0 <= int(given) < len(self.classes):
            return int(given)
        raise UsageError(
            f'part "{self.name}" has no class {given!r}, expected a name among '
            f"{_listed(self.classes)}, or a number from 0 to {len(self.classes) - 1}"
            f"{did_you_mean(given, self.classes) if isinstance(given, str) else ''}"
        )

    def _check_arrays(self) -> None:
        inputs: Any = self.inputs
        if not isinstance(inputs, np.ndarray) or inputs.dtype not in INPUT_DTYPES:
            raise UsageError(
                f'inputs of part "{self.name}" are {_described(inputs)}, expected a numpy array of '
                "uint8 or float32: convert them, for example with np.asarray(inputs, dtype=np.float32)"
            )
        if inputs.ndim < 2:
            raise UsageError(
                f'inputs of part "{self.name}" have shape {inputs.shape}, expected (rows, …) with at least '
                "two dimensions: reshape them, for example with inputs.reshape(rows, -1)"
            )
        for field, array in (("labels", self.labels), ("ids", self.ids)):
            given: Any = array
            if not isinstance(given, np.ndarray) or given.dtype != np.int64 or given.shape != inputs.shape[:1]:
                raise UsageError(
                    f'{field} of part "{self.name}" are {_described(given)}, expected a numpy array of int64 '
                    f"with shape ({len(inputs)},): one for each of the {len(inputs)} input rows"
                )
        if (self.ids < 0).any():
            row = int(np.argmax(self.ids < 0))
            raise UsageError(
                f'row {row} of part "{self.name}" has id {self.ids[row]}, expected ids of 0 or more: '
                "number the rows, for example with np.arange(rows)"
            )

    def _check_form(self) -> None:
        if isinstance(self.form, TableForm) and self.inputs.shape[1:] != (len(self.form.columns),):
            raise UsageError(
                f'inputs of part "{self.name}" have shape {self.inputs.shape}, expected a column for each of the '
                f"{len(self.form.columns)} of its form"
            )
        if isinstance(self.form, TextForm) and (self.inputs.ndim != 2 or self.inputs.dtype != np.uint8):
            raise UsageError(
                f'inputs of part "{self.name}" are {_described(self.inputs)}, expected texts as uint8 of shape (rows, '
                "width): make them with limbeck.data.texts.packed"
            )

    def _check_classes(self) -> None:
        classes: Any = self.classes
        if not isinstance(classes, tuple) or not all(isinstance(c, str) for c in classes):
            raise UsageError(
                f'classes of part "{self.name}" are {classes!r}, expected a tuple of strings: '
                "give the classes' names in the order of their labels"
            )
        if len(set(classes)) != len(classes):
            twice = next(c for c in classes if classes.count(c) > 1)
            raise UsageError(
                f'part "{self.name}" has the class "{twice}" more than once: give every class its own name'
            )

    def _check_labels(self) -> None:
        wrong = (self.labels < -1) | (self.labels >= len(self.classes))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise LimbeckError(
                f'labels out of range: row {row} of part "{self.name}" has label {self.labels[row]}, '
                f"expected −1 (none) to {len(self.classes) - 1} for {len(self.classes)} classes: "
                "mend the label, or name all classes"
            )

    def _check_finite(self) -> None:
        if self.inputs.dtype.kind != "f" or not self.inputs.size:
            return
        step = max(1, _CHECKED_VALUES // (self.inputs.size // len(self)))
        for start in range(0, len(self), step):
            some = self.inputs[start : start + step]
            finite = ~np.isinf(some) if isinstance(self.form, TableForm) else np.isfinite(some)
            if not finite.all():
                at = int(np.argmin(finite.reshape(len(finite), -1).all(axis=1)))
                found = "NaN" if np.isnan(self.inputs[start + at]).any() else "infinity"
                raise LimbeckError(
                    f'{found} in the inputs of part "{self.name}": row {start + at} (id '
                    f"{self.ids[start + at]}), expected finite numbers: mend the row or leave it out"
                )


def shared_rows(a: Part, b: Part) -> np.ndarray:
    """The numbers of the rows in `a` whose inputs are also in `b`, byte for byte; of texts but for case and space.

    Rows shared by training and test data make a test accuracy mean less than it says.

    Returns:
        Row numbers in rising order, shape (m,), int64; empty where dtypes or row shapes differ (of texts, the width
        does not matter).
    """
    if isinstance(a.form, TextForm) != isinstance(b.form, TextForm):
        return np.empty(0, dtype=np.int64)
    if isinstance(a.form, TextForm):
        return np.flatnonzero(np.isin(a.wording_hashes, b.wording_hashes))
    if a.inputs.dtype != b.inputs.dtype or a.inputs.shape[1:] != b.inputs.shape[1:]:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.isin(a.row_hashes, b.row_hashes))


def row_shape(parts: Sequence[Part]) -> tuple[int, ...]:
    """The shape of a row that has room for any row of these parts, which are alike; of texts, that of the widest."""
    if isinstance(parts[0].form, TextForm):
        return (max(part.inputs.shape[1] for part in parts),)
    return tuple(parts[0].inputs.shape[1:])


def _header(**fields: object) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _raw(array: np.ndarray) -> memoryview:
    """The array's bytes in C order; a copy only where they do not lie so already."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _described(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} with shape {value.shape}"
    return f"a {type(value).__name__}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f'"{n}"' for n in names[:12])
    return shown if len(names) <= 12 else f"{shown}, … ({len(names)} in all)"
