"""A model as an ONNX graph: raw inputs in, logits out, then probabilities and the class's name."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limbeck.data import TableForm
from limbeck.devices import on_processor
from limbeck.errors import LimbeckError
from limbeck.exporting.building import INPUTS, LOGITS, ML, ML_OPSET
from limbeck.exporting.columns import columns_in_front
from limbeck.exporting.encoders import described, encoder_graph, tokenizer_file, tokenizer_name
from limbeck.exporting.soft_trees import TreeInQuestions
from limbeck.exporting.tracing import graphs_within, traced
from limbeck.exporting.trees import ensemble_graph, tree_graph
from limbeck.files import METADATA_KEY, canonical_json, write_bytes
from limbeck.models import ConvNet, SoftDecisionTree, ThresholdTree, logits_of
from limbeck.models.encoder import Encoder
from limbeck.models.tree_ensemble import TreeEnsemble

PROBABILITIES, CLASS = "probabilities", "class"

_TRACED = 3  # rows: one alone is a special case in some models


class _Logits(nn.Module):
    """What is traced: raw inputs (batch, …) to logits (batch, classes), float32."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        return logits_of(self.model(inputs)).float()


def export_onnx(
    model: nn.Module,
    path: Path | str,
    classes: Sequence[str],
    inputs: npt.NDArray[Any],
    *,
    key: str | None = None,
) -> None:
    """Write a model as one ONNX file, preprocessing included; it is not checked: `limbeck.export` does that, too.

    Images and arrays are one input, `inputs` (batch, …), of the dtype that the rows have. A table has an input for each
    column by its name: numbers as float32 (batch, 1), NaN where one is missing, and categories as strings (batch, 1),
    "" where one is missing. An encoder of texts has `input_ids`, `attention_mask` and, where it knows them,
    `token_type_ids`, int64 (batch, tokens), as its tokenizer makes them, which is written beside the file as
    NAME.tokenizer.json. Outputs are `probabilities`, float32 (batch, classes), and `class`, the name of the most
    probable class, (batch,); a "_" is added to a name that a column has. The batch is of any size. What the file is of
    stands in its metadata, as JSON under `limbeck`. The same model gives the same bytes.

    Args:
        model: any module from raw inputs (batch, …) to logits.
        path: where the file is put, whole or not at all.
        classes: the classes' names in the order of the logits.
        inputs: raw rows that the model takes, shape (n, …), at least one: their dtype and shape are the file's.
        key: of the artifact that the model is, for the metadata.

    Raises:
        LimbeckError: ONNX cannot hold the model, or the libraries for it are missing.
    """
    path, was_training, model = Path(path), model.training, on_processor(model)
    beside = tokenizer_name(path) if isinstance(model, Encoder) else None
    try:
        whole = finished(numeric_graph(model, inputs), model, classes, inputs, key=key, tokenizer=beside)
    finally:
        model.train(was_training)
    if isinstance(model, Encoder):
        write_bytes(path.with_name(tokenizer_name(path)), tokenizer_file(model.tokens))
    write_bytes(path, whole.SerializeToString(deterministic=True))


def need_onnx() -> None:
    """See that the libraries for ONNX are there.

    Raises:
        LimbeckError: if one is not.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            raise LimbeckError(f'export to ONNX needs {name}: pip install "limbeck[onnx]"')


def numeric_graph(model: nn.Module, inputs: npt.NDArray[Any]) -> Any:
    """The model as an ONNX model from `inputs` (batch, …) to `logits` (batch, classes); a table as its raw numbers.

    Args:
        model: any module from raw inputs (batch, …) to logits.
        inputs: raw rows, shape (n, …).

    Raises:
        LimbeckError: ONNX cannot hold the model.
    """
    need_onnx()
    if isinstance(model, Encoder):
        return encoder_graph(model)
    if isinstance(model, ThresholdTree):
        return tree_graph(model, inputs)
    if isinstance(model, TreeEnsemble):
        return ensemble_graph(model, inputs)
    if isinstance(model, ConvNet):
        return _traced(model.inference_form(), inputs)
    if isinstance(model, SoftDecisionTree):
        return _traced(TreeInQuestions(model), inputs)
    return _traced(model, inputs)


def finished(
    numeric: Any,
    model: nn.Module,
    classes: Sequence[str],
    inputs: npt.NDArray[Any],
    *,
    key: str | None = None,
    int8: str | None = None,
    tokenizer: str | None = None,
) -> Any:
    """The whole file around a numeric graph: columns in front, probabilities and the class behind, and metadata.

    Args:
        numeric: from `numeric_graph`; stays as it is.
        model: that it is of.
        classes: the classes' names in the order of the logits.
        inputs: raw rows, shape (n, …), whose dtype the file takes.
        key: of the artifact that the model is.
        int8: how it was quantised, if it was.
        tokenizer: of a model of texts, the name of the tokenizer's file, which lies beside the file.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    form = getattr(model, "form", None)
    columns = form.names if isinstance(form, TableForm) else ()
    prefix = _prefix(columns)
    proto = onnx.ModelProto()
    proto.CopyFrom(numeric)
    graph = onnx.compose.add_prefix_graph(numeric.graph, prefix, rename_inputs=bool(columns))
    probabilities, chosen = (_free(name, columns) for name in (PROBABILITIES, CLASS))
    if isinstance(form, TableForm):
        columns_in_front(graph, form, prefix)
    logits, place, names = prefix + LOGITS, f"{prefix}place", f"{prefix}classes"
    graph.initializer.append(numpy_helper.from_array(np.array(list(classes), dtype=object), names))
    graph.node.extend(
        [
            helper.make_node("Softmax", [logits], [probabilities], f"{prefix}softmax", axis=-1),
            helper.make_node("ArgMax", [logits], [place], f"{prefix}argmax", axis=-1, keepdims=0),
            helper.make_node("Gather", [names, place], [chosen], f"{prefix}name", axis=0),
        ]
    )
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info(probabilities, TensorProto.FLOAT, ["batch", len(classes)]),
            helper.make_tensor_value_info(chosen, TensorProto.STRING, ["batch"]),
        ]
    )
    proto.graph.CopyFrom(graph)
    versions = {opset.domain: opset.version for opset in numeric.opset_import} | {ML: ML_OPSET}
    used = {node.domain for one in (graph, *graphs_within(graph.node)) for node in one.node}
    del proto.opset_import[:]
    proto.opset_import.extend(helper.make_opsetid(domain, versions[domain]) for domain in sorted(used))
    about: dict[str, Any] = {
        "classes": list(classes),
        "form": form.as_json() if form is not None else None,
        "input_shape": list(inputs.shape[1:]),
        "dtype": inputs.dtype.name,
        "output": probabilities,
        "class_output": chosen,
        "kind": getattr(model, "kind", None),
    }
    if isinstance(model, Encoder):
        about |= described(model, tokenizer)
    about |= {name: value for name, value in (("key", key), ("int8", int8)) if value is not None}
    helper.set_model_props(proto, {METADATA_KEY: canonical_json(about).decode()})
    proto.producer_name, proto.producer_version = "limbeck", ""
    return proto


def _prefix(columns: Sequence[str]) -> str:
    """What the graph's own names begin with, so that none is a column's."""
    prefix = "net/"
    while any(column.startswith(prefix) for column in columns):
        prefix += "net/"
    return prefix


def _free(name: str, columns: Sequence[str]) -> str:
    while name in columns:
        name += "_"
    return name


def _traced(model: nn.Module, inputs: npt.NDArray[Any]) -> Any:
    rows = np.ascontiguousarray(np.resize(inputs[:_TRACED], (_TRACED, *inputs.shape[1:])))
    called = str(getattr(model, "kind", None) or type(model).__name__)
    return traced(_Logits(model), [torch.from_numpy(rows)], [INPUTS], {0: "batch"}, called)
