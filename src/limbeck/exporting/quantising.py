"""The same graph with weights of 8 bits: dynamic for matrix products and embeddings, static for convolutions."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from limbeck.errors import LimbeckError
from limbeck.exporting.building import INPUTS
from limbeck.quiet import quiet

Array = npt.NDArray[Any]
How = Literal["dynamic", "static"]

PRODUCTS, CONVOLUTIONS = ("MatMul", "Gemm"), ("Conv",)
_CALIBRATED = 512  # rows
_BATCH = 64
_FARTHEST = 4.0  # deviations from the mean: beyond, a feature says no more to a network of 8 bits


def how_to_quantise(numeric: Any) -> How | None:
    """How a numeric graph is quantised: static where it has convolutions; None if it has nothing to quantise."""
    kinds = {node.op_type for node in numeric.graph.node}
    if kinds & set(CONVOLUTIONS):
        return "static"
    return "dynamic" if _has_products(numeric) else None


def quantised(numeric: Any, how: How, calibration: Array, *, texts: bool = False) -> Any:
    """A numeric graph with its weights in 8 bits, a scale for each output; stays as it is itself.

    Of the 8 bits of a weight 7 are used: sums of two products then fit into the 16 bits that processors without VNNI
    have for them, and the answers do not hang on the processor.

    Args:
        numeric: from `limbeck.exporting.graph.numeric_graph`.
        how: "dynamic": inputs of matrix products are quantised as they come; "static": by ranges that are seen on
            the rows.
        calibration: raw rows (n, …), such as training rows; the first 512 are taken.
        texts: whether it is of a model of texts: the tables of its embeddings are quantised, too, and no input is
            clipped, since none is a feature.

    Raises:
        LimbeckError: onnxruntime cannot quantise it.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, quiet():
        given, prepared, result = (Path(folder) / f"{name}.onnx" for name in ("given", "prepared", "int8"))
        try:
            onnx.save(numeric, given)
            quant_pre_process(given, prepared, skip_symbolic_shape=True)
            if how == "dynamic" and not texts:
                onnx.save(_with_features_clipped(onnx.load(prepared)), prepared)
            if how == "dynamic":
                quantize_dynamic(
                    prepared,
                    result,
                    op_types_to_quantize=["MatMul", *(["Gather"] if texts else [])],
                    per_channel=True,
                    reduce_range=True,
                    weight_type=QuantType.QInt8,
                    nodes_to_exclude=[node.name for node in onnx.load(prepared).graph.node if _keeps(node)],
                )
            else:
                quantize_static(
                    prepared,
                    result,
                    _Rows(calibration),
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    reduce_range=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    op_types_to_quantize=["Conv", "MatMul", "Gemm", "Relu", "MaxPool", "Reshape"],
                )
            return onnx.load(result)
        except Exception as error:  # whatever onnxruntime raises
            reason = " ".join(str(error).split())[:200]
            raise LimbeckError(
                f"onnxruntime cannot quantise the student ({reason}): export it without --int8"
            ) from None


def _with_features_clipped(graph: Any) -> Any:
    """The same graph, but that what goes into its first product is at most `_FARTHEST` from zero.

    A batch has one scale for all its inputs: a single value thirty deviations away would leave the others five bits.
    """
    import onnx

    constants = {one.name for one in graph.graph.initializer}
    for place, node in enumerate(graph.graph.node):
        if node.op_type in PRODUCTS and not constants.isdisjoint(node.input):
            data = next(name for name in node.input if name not in constants)
            limits = {f"clip{sign}": np.array(sign * _FARTHEST, np.float32) for sign in (-1, 1)}
            bounds = [onnx.numpy_helper.from_array(value, name) for name, value in limits.items()]
            graph.graph.initializer.extend(bounds)
            node.input[list(node.input).index(data)] = "clipped"
            clip = onnx.helper.make_node("Clip", [data, *(one.name for one in bounds)], ["clipped"], name="clipped")
            graph.graph.node.insert(place, clip)
            break
    return graph


def _has_products(numeric: Any) -> bool:
    constants = {one.name for one in numeric.graph.initializer}
    return any(
        node.op_type in PRODUCTS and not constants.isdisjoint(node.input) and not _keeps(node)
        for node in numeric.graph.node
    )


def _keeps(node: Any) -> bool:
    """Whether a product stays as it is: that of a soft tree's path probabilities and leaves, which is small."""
    return any(name.endswith("distributions") for name in node.input)


class _Rows:
    """Hands calibration rows to onnxruntime, a batch at a time."""

    def __init__(self, rows: Array) -> None:
        some = rows[:_CALIBRATED]
        self._batches: Iterator[Array] = iter([some[start : start + _BATCH] for start in range(0, len(some), _BATCH)])

    def get_next(self) -> dict[str, Array] | None:
        """The next batch, None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUTS: np.ascontiguousarray(batch)}
