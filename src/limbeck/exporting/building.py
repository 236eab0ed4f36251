"""Numeric graphs out of nodes made by hand: from `inputs` to `logits`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

OPSET = 18
ML, ML_OPSET = "ai.onnx.ml", 3
IR_VERSION = 10  # which onnxruntime 1.18 reads
INPUTS, LOGITS = "inputs", "logits"


def numeric_model(nodes: Sequence[Any], constants: Mapping[str, npt.NDArray[Any]], inputs: npt.NDArray[Any]) -> Any:
    """A numeric graph out of nodes made by hand.

    Args:
        nodes: in an order in which they can be computed, from `inputs` to `logits`.
        constants: arrays by name.
        inputs: raw rows, shape (n, …): their dtype and shape are the graph's.
    """
    from onnx import TensorProto, helper, numpy_helper

    element = helper.np_dtype_to_tensor_dtype(inputs.dtype)
    graph = helper.make_graph(
        nodes,
        "limbeck",
        [helper.make_tensor_value_info(INPUTS, element, ["batch", *inputs.shape[1:]])],
        [helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["batch", None])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
