"""A torch module as an ONNX graph, without what torch writes beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import LimbeckError
from limbeck.exporting.building import LOGITS, OPSET
from limbeck.quiet import quiet


def traced(
    module: nn.Module, examples: Sequence[Tensor], names: Sequence[str], free: Mapping[int, str], called: str
) -> Any:
    """An ONNX model from a module's inputs to `logits`.

    Args:
        module: gives logits (batch, classes); left in evaluation mode.
        examples: its inputs, in the order in which it takes them.
        names: the inputs' names in the graph, which are the module's own unless there is only one.
        free: the axes whose size is free, and what each is called; the same of every input.
        called: what the model is called in a message.

    Raises:
        LimbeckError: ONNX cannot hold the module.
    """
    axes = dict.fromkeys(free, torch.export.Dim.DYNAMIC)
    # No more than one line of why: torch's messages are pages, the cause of the cause at their end.
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                module.eval(),
                tuple(examples),
                dynamo=True,
                external_data=False,
                opset_version=OPSET,
                input_names=list(names),
                output_names=[LOGITS],
                dynamic_shapes=dict.fromkeys(names, axes),
                verbose=False,
            )
            assert program is not None
            proto = program.model_proto
    except Exception as error:  # whatever a module does that cannot be traced
        raise LimbeckError(f"a student that ONNX cannot hold: {called} ({_reason(error)})") from None
    for one in proto.graph.input:
        for place, name in free.items():
            one.type.tensor_type.shape.dim[place].dim_param = name
    _strip(proto)
    return proto


def graphs_within(nodes: Any) -> list[Any]:
    """The graphs that nodes have as attributes, and those within these."""
    found = []
    for node in nodes:
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                found += [graph, *graphs_within(graph.node)]
    return found


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[0].split())[:200]}" if lines else type(error).__name__


def _strip(proto: Any) -> None:
    """Leave out what torch writes beside the graph: paths of this machine, lines of source."""
    proto.ClearField("doc_string")
    proto.ClearField("metadata_props")
    proto.graph.ClearField("value_info")
    proto.graph.name = "limbeck"
    for graph in (proto.graph, *graphs_within(proto.graph.node), *proto.functions):
        for thing in (graph, *graph.node, *(getattr(graph, "initializer", ())), *_values(graph)):
            thing.ClearField("doc_string")
            thing.ClearField("metadata_props")


def _values(graph: Any) -> list[Any]:
    return [] if not hasattr(graph, "initializer") else [*graph.input, *graph.output, *graph.value_info]
