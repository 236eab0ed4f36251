"""An ONNX file: opened by onnxruntime, identified, and its weights counted."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from limbeck.errors import LimbeckError
from limbeck.files import key_of, sha256_hex

_NO_WEIGHTS = ("INT64", "STRING", "BOOL")  # shapes, names and masks


def open_session(path: Path) -> Any:
    """A session of onnxruntime on the CPU, with as many threads as torch has.

    Raises:
        LimbeckError: no such file, it is damaged or needs what onnxruntime has not, or onnxruntime is missing.
    """
    if not path.is_file():
        raise _no_such_file(path)
    try:
        import onnxruntime
    except ImportError:
        raise _no_library("onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors come as exceptions
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception for each kind of failure
        reason = one_line(error)
        if re.search(r"not a registered|opset|NOT_IMPLEMENTED|[Uu]nsupported model IR|No Op registered", str(error)):
            raise LimbeckError(
                f"{path} needs an operator or a version that onnxruntime {onnxruntime.__version__} does not have "
                f"({reason}): export it with ONNX's own operators, or update onnxruntime"
            ) from None
        if "External data" in str(error):
            raise LimbeckError(
                f"{path} keeps weights in a file that is not beside it ({reason}): put it there"
            ) from None
        raise LimbeckError(f"{path} cannot be read as an ONNX model ({reason}): export it anew") from None


def file_digest(path: Path | str) -> str:
    """What identifies an ONNX file: its SHA-256 (hex), or where weights lie in files beside it, one over all of them.

    Raises:
        LimbeckError: a file is missing or lies elsewhere, or the package onnx is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise _no_such_file(path)
    data = path.read_bytes()
    beside = sorted(_files_beside(path, data))
    if not beside:
        return sha256_hex(data)
    digests = []
    for name in beside:
        file = path.parent / name
        if not file.resolve().is_relative_to(path.parent.resolve()) or not file.is_file():
            raise LimbeckError(f'{path} keeps weights in "{name}": expected that file beside it')
        digests.append([name, sha256_hex(file.read_bytes())])
    return key_of([sha256_hex(data), digests])


def count_parameters(path: Path) -> int:
    """Numbers in the file's weights and in the nodes of its trees; 0 where the package onnx is missing."""
    try:
        import onnx
    except ImportError:
        return 0
    graph = onnx.load(str(path), load_external_data=False).graph
    count = 0
    for tensor in graph.initializer:
        if onnx.TensorProto.DataType.Name(tensor.data_type) not in _NO_WEIGHTS:
            count += math.prod(tensor.dims)
    # Trees and linear models of sklearn-onnx and the like keep theirs in attributes.
    nodes = [node for node in graph.node if node.domain == "ai.onnx.ml"]
    return count + sum(len(attribute.floats) for node in nodes for attribute in node.attribute)


def one_line(error: Exception) -> str:
    """What onnxruntime says, without its codes and places in its own source."""
    text = " ".join(str(error).split())
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"Load model from .*? failed:", "", text)
    text = re.sub(r"/onnxruntime_src/\S+ .*?\(.*?\) (?=[A-Z])", "", text)
    return text[:200].rstrip(" .")


def _files_beside(path: Path, data: bytes) -> set[str]:
    """The names of files that hold weights."""
    try:
        import onnx
    except ImportError:
        raise _no_library("onnx") from None
    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # protobuf's own
        raise LimbeckError(f"{path} cannot be read as an ONNX model: export it anew") from None
    tensors = _tensors(model.graph)
    return {e.value for t in tensors if t.data_location == t.EXTERNAL for e in t.external_data if e.key == "location"}


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                if len(inner.node) or len(inner.initializer):
                    yield from _tensors(inner)


def _no_such_file(path: Path) -> LimbeckError:
    return LimbeckError(f"{path}: no such file, expected an ONNX model (.onnx)")


def _no_library(name: str) -> LimbeckError:
    return LimbeckError(f'reading ONNX models needs {name}: pip install "limbeck[onnx]"')
