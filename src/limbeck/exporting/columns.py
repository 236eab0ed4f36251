"""The inputs of a file: a table's columns in the graph, and raw rows as what onnxruntime is fed with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from limbeck.data import Column, Form, TableForm, TextForm
from limbeck.data.form import UNKNOWN
from limbeck.errors import LimbeckError, UsageError
from limbeck.exporting.building import INPUTS, ML
from limbeck.models.onnx_texts import text_feeds

if TYPE_CHECKING:
    from limbeck.encoders.tokens import TextTokens

MISSING = ""
"""The text of a category that is missing."""


def columns_in_front(graph: Any, form: TableForm, prefix: str) -> None:
    """Give a graph the table's columns as inputs, in place of the raw numbers (batch, columns) that it takes.

    Args:
        graph: an ONNX graph; changed.
        form: of the table.
        prefix: of the graph's own names.

    Raises:
        LimbeckError: a column has no name, or two have the same.
    """
    from onnx import TensorProto, helper

    _check_names(form)
    del graph.input[:]
    nodes, parts = [], []
    for place, column in enumerate(form.columns):
        element = TensorProto.FLOAT if column.categories is None else TensorProto.STRING
        graph.input.append(helper.make_tensor_value_info(column.name, element, ["batch", 1]))
        parts.append(column.name if column.categories is None else f"{prefix}code/{place}")
        if column.categories is not None:
            texts, codes = _codes(column)
            node = helper.make_node(
                "LabelEncoder",
                [column.name],
                [parts[-1]],
                parts[-1],
                domain=ML,
                keys_strings=texts,
                values_floats=codes,
                default_float=float(UNKNOWN),
            )
            nodes.append(node)
    nodes.append(helper.make_node("Concat", parts, [prefix + INPUTS], f"{prefix}columns", axis=1))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)


def feeds(form: Form | None, rows: npt.NDArray[Any], tokens: TextTokens | None = None) -> dict[str, npt.NDArray[Any]]:
    """Raw rows (n, …), as a model takes them, as a file's inputs by name.

    Args:
        form: what the rows mean.
        rows: raw.
        tokens: of texts, the model's tokenizer.

    Raises:
        UsageError: the rows are texts, and there is no tokenizer.
    """
    if isinstance(form, TextForm):
        if tokens is None:
            raise UsageError("texts become a file's inputs by the model's tokenizer: give tokens = model.tokens")
        return text_feeds(tokens, rows, pairs=len(form.columns) > 1)
    if not isinstance(form, TableForm):
        return {INPUTS: np.ascontiguousarray(rows)}
    return {column.name: _fed(column, rows[:, [place]]) for place, column in enumerate(form.columns)}


def _fed(column: Column, values: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    if column.categories is None:
        return np.ascontiguousarray(values)
    texts = np.array([*column.categories, _unknown(column), MISSING], dtype=object)
    codes = np.where((values >= 0) & (values < len(column.categories)), values, len(column.categories))
    return np.asarray(texts[np.where(np.isnan(values), len(column.categories) + 1, codes).astype(np.int64)])


def _unknown(column: Column) -> str:
    """A text that is none of the column's categories."""
    text = "?"
    while text in (column.categories or ()):
        text += "?"
    return text


def _codes(column: Column) -> tuple[list[str], list[float]]:
    texts = list(column.categories or ())
    codes = [float(code) for code in range(len(texts))]
    if MISSING not in texts:
        texts, codes = [*texts, MISSING], [*codes, float("nan")]
    return texts, codes


def _check_names(form: TableForm) -> None:
    for place, name in enumerate(form.names):
        if not name or name in form.names[:place]:
            what = f'"{name}" is the name of two columns' if name else f"column {place + 1} has no name"
            raise LimbeckError(f"{what}: an ONNX file has an input for each by its name; name them in the table")
