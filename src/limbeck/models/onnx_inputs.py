"""Raw inputs in the form in which an ONNX model takes them: one tensor, or an input for each column of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from limbeck.data.form import UNKNOWN, Column, Form, TableForm, TextForm
from limbeck.errors import LimbeckError, did_you_mean
from limbeck.models.onnx_texts import text_feeds, tokenizer_beside

if TYPE_CHECKING:
    from limbeck.encoders.tokens import TextTokens

Array = npt.NDArray[Any]

MISSING_TEXT = ""
"""What stands in an input of categories where one is missing."""

UNKNOWN_TEXT = "\ufffd"
"""What stands there for a category that the column does not have: Unicode's sign for what cannot be shown."""

_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
_STRING = "tensor(string)"


@dataclass(frozen=True)
class Declared:
    """An input or output as the file declares it.

    Attributes:
        name: in the graph.
        shape: the batch first; None for a dimension that is free. Empty where the file declares none.
        type: as onnxruntime writes it, "tensor(float)".
    """

    name: str
    shape: tuple[int | None, ...]
    type: str

    @classmethod
    def of(cls, node: Any) -> Declared:
        """From what onnxruntime's session says."""
        return cls(node.name, tuple(size if isinstance(size, int) else None for size in node.shape), node.type)

    @property
    def batch(self) -> int | None:
        """How many rows it takes at once; None for any number."""
        return self.shape[0] if self.shape else None

    def __str__(self) -> str:
        sizes = ["batch" if self.shape[:1] == (None,) else str(self.shape[0])] if self.shape else ["any"]
        return f"({', '.join(sizes + ['?' if size is None else str(size) for size in self.shape[1:]])})"


class Feed:
    """From raw rows to what the session is given.

    Args:
        path: the model's file, for messages.
        inputs: as the file declares them.
        form: what the raw rows mean.
        about: what a file of `limbeck export` says of itself.

    Attributes:
        tokens: of a model of texts, the tokenizer that lies beside it.
        input_shape: of one raw input; None where the file leaves sizes free.
        batch: how many rows are taken at once; None for any number.

    Raises:
        LimbeckError: inputs that rows cannot be made into.
    """

    def __init__(
        self, path: Path, inputs: Sequence[Declared], form: Form | None, about: Mapping[str, Any] | None = None
    ) -> None:
        self.path, self.inputs, self.form = path, list(inputs), form
        for one in inputs:
            if one.type not in (*_DTYPES, _STRING):
                raise LimbeckError(f'{path} has an input "{one.name}" of type {one.type}: expected numbers or strings')
        self.tokens: TextTokens | None = None
        if isinstance(form, TextForm):
            self.tokens = tokenizer_beside(path, about or {}, [one.name for one in inputs])
        self.columns = None if self.tokens is not None else self._columns()
        batches = {one.batch for one in inputs} - {None}
        if len(batches) > 1:
            raise LimbeckError(f"{path} has inputs of different numbers of rows ({_names(inputs)}): export it anew")
        self.batch = batches.pop() if batches else None
        self.input_shape: tuple[int, ...] | None
        if self.tokens is not None:
            self.input_shape = ()
        elif self.columns is not None:
            assert isinstance(form, TableForm)
            self.input_shape = (len(form.columns),)
        else:
            sizes = [size for size in inputs[0].shape[1:] if size is not None]
            self.input_shape = tuple(sizes) if len(sizes) == len(inputs[0].shape) - 1 else None

    def __call__(self, rows: Array) -> dict[str, Array]:
        """Raw rows (n, …) by the names of inputs.

        Raises:
            LimbeckError: the rows have a shape or numbers that the model does not take.
        """
        if self.tokens is not None:
            return text_feeds(self.tokens, rows, self.pairs)
        if self.columns is None:
            (only,) = self.inputs
            return {only.name: self._cast(self._arranged(rows, only), only)}
        self.check(rows.shape[1:])
        feeds = {}
        for one, (place, column) in zip(self.inputs, self.columns, strict=True):
            values = self._cast(rows[:, place], one) if column.categories is None else _texts(column, rows[:, place])
            feeds[one.name] = values.reshape(len(rows), *[1] * (len(one.shape) - 1))
        return feeds

    def check(self, shape: Sequence[int]) -> None:
        """Whether rows of this shape are taken.

        Raises:
            LimbeckError: if not; names both shapes.
        """
        if self.tokens is not None:
            return
        if self.columns is None:
            self._arrangement(tuple(shape), self.inputs[0])
        elif tuple(shape) != self.input_shape:
            assert isinstance(self.form, TableForm)
            raise LimbeckError(
                f"{self.path} takes the columns of a table ({len(self.form.columns)} in all), but the inputs have the "
                f"shape {tuple(shape)}: give it rows of such a table"
            )

    @property
    def pairs(self) -> bool:
        """Whether rows are pairs of texts."""
        return isinstance(self.form, TextForm) and len(self.form.columns) > 1

    def _columns(self) -> list[tuple[int, Column]] | None:
        """The place and meaning of each input's column; None where one tensor is taken."""
        table = self.form if isinstance(self.form, TableForm) else None
        names = table.names if table else ()
        if len(self.inputs) == 1 and (self.inputs[0].name not in names or self.inputs[0].shape[1:] not in ((), (1,))):
            if self.inputs[0].type == _STRING:
                raise LimbeckError(f'{self.path} takes strings, "{self.inputs[0].name}": expected numbers')
            return None
        if table is None:
            raise LimbeckError(
                f"{self.path} has {len(self.inputs)} inputs ({_names(self.inputs)}): expected one, or one for each "
                "column of a table"
            )
        found = []
        for one in self.inputs:
            if one.name not in names:
                near = did_you_mean(one.name, names) or f": the table has {_quoted(names)}"
                raise LimbeckError(f'{self.path} has an input "{one.name}", but the table has no such column{near}')
            column = table.columns[names.index(one.name)]
            if (column.categories is None) is (one.type == _STRING):
                has = "numbers" if column.categories is None else "categories"
                raise LimbeckError(
                    f'{self.path} takes {one.type} for the column "{one.name}", which holds {has}: expected numbers '
                    "for numbers, and strings for categories"
                )
            if len(one.shape) > 2 or one.shape[1:] not in ((), (1,), (None,)):
                raise LimbeckError(f'{self.path} takes "{one.name}" of shape {one}: expected (batch, 1)')
            found.append((names.index(one.name), column))
        return found

    def _arrangement(self, shape: tuple[int, ...], declared: Declared) -> str:
        if not declared.shape:
            return "as they are"
        candidates = {"as they are": shape}
        if len(shape) > 1:
            candidates["flat"] = (math.prod(shape),)
        candidates |= {"an axis first": (1, *shape), "an axis last": (*shape, 1)}
        if len(shape) == 3 and shape[-1] in (1, 3):
            candidates["channels first"] = (shape[-1], *shape[:-1])
        wanted = declared.shape[1:]
        fitting = [
            how
            for how, sizes in candidates.items()
            if len(sizes) == len(wanted) and all(w in (None, s) for s, w in zip(sizes, wanted, strict=True))
        ]
        if len(fitting) != 1:
            problem = f"which may mean {' or '.join(fitting)}" if fitting else "which do not fit"
            found = ", ".join(map(str, ("batch", *shape)))
            raise LimbeckError(
                f'{self.path} takes "{declared.name}" of shape {declared}, but the inputs have the shape ({found}), '
                f"{problem}: export it for such inputs, with all sizes but the batch fixed"
            )
        return fitting[0]

    def _arranged(self, rows: Array, declared: Declared) -> Array:
        how = self._arrangement(rows.shape[1:], declared)
        if how == "flat":
            return rows.reshape(len(rows), -1)
        if how == "channels first":
            return np.moveaxis(rows, -1, 1)
        return rows[:, None] if how == "an axis first" else rows[..., None] if how == "an axis last" else rows

    def _cast(self, values: Array, declared: Declared) -> Array:
        dtype = np.dtype(_DTYPES[declared.type])
        if dtype.kind in "ui" and values.dtype.kind == "f":
            limits = np.iinfo(dtype)
            whole = (values == np.floor(values)) & (values >= limits.min) & (values <= limits.max)
            if not whole.all():
                wrong = values[~whole].flat[0]
                raise LimbeckError(
                    f'{self.path} takes {dtype.name} for "{declared.name}", but the inputs hold {wrong:.6g}: expected '
                    f"whole numbers from {limits.min} to {limits.max}"
                )
        return np.ascontiguousarray(values, dtype=dtype)


def _texts(column: Column, codes: Array) -> Array:
    """A column of categories as an array of texts."""
    assert column.categories is not None
    texts = np.array([*column.categories, UNKNOWN_TEXT, MISSING_TEXT], dtype=object)
    known = (codes >= 0) & (codes < len(column.categories))
    places = np.where(known, codes, UNKNOWN).astype(np.int64)
    places[~known] = len(column.categories)
    places[np.isnan(codes)] = len(column.categories) + 1
    return np.asarray(texts[places])


def _names(inputs: Sequence[Declared]) -> str:
    return ", ".join(f'"{one.name}" {one}' for one in inputs[:6]) + (", …" if len(inputs) > 6 else "")


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names[:12]) + (", …" if len(names) > 12 else "")
