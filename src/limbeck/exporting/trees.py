"""Trees of thresholds as ONNX's own tree operator, over features encoded as the model does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from limbeck.errors import LimbeckError
from limbeck.exporting.building import INPUTS, LOGITS, ML, numeric_model
from limbeck.models import TableEncoding, ThresholdTree
from limbeck.models.tree_ensemble import TreeEnsemble

Array = npt.NDArray[Any]
_FEATURES = "features"


def tree_graph(tree: ThresholdTree, inputs: Array) -> Any:
    """One tree from `inputs` (batch, …) to `logits` (batch, classes): in float32, in which each leaf is exact.

    Args:
        tree: fitted.
        inputs: raw rows, shape (n, …).
    """
    from onnx import TensorProto, helper

    nodes = _Nodes()
    feature, threshold, left, right = (
        buffer.numpy() for buffer in (tree.feature, tree.threshold, tree.left, tree.right)
    )
    leaves = nodes.add_tree(0, 0 if len(feature) else ~0, feature, threshold, left, right)
    values = tree.log_probs.numpy()
    for leaf, node in leaves:
        nodes.add_values(0, node, range(tree.classes), values[leaf])
    encoding, constants = _encoding(tree.encoding, TensorProto.FLOAT)
    regressor = helper.make_node(
        "TreeEnsembleRegressor",
        [_FEATURES],
        [LOGITS],
        "trees",
        domain=ML,
        n_targets=tree.classes,
        nodes_values=np.array(nodes.threshold, dtype=np.float32),
        target_weights=np.array(nodes.weight, dtype=np.float32),
        **nodes.attributes(),
    )
    return numeric_model([*encoding, regressor], constants, inputs)


def ensemble_graph(ensemble: TreeEnsemble, inputs: Array) -> Any:
    """Boosted trees from `inputs` (batch, …) to `logits` (batch, classes): in float64, in which the model adds up, too.

    Args:
        ensemble: fitted.
        inputs: raw rows, shape (n, …).

    Raises:
        LimbeckError: there are no trees.
    """
    from onnx import TensorProto, helper, numpy_helper

    if not ensemble.trees:
        raise LimbeckError("the boosted trees are not fitted: fit them before they are exported")

    nodes = _Nodes()
    arrays = [buffer.numpy() for buffer in (ensemble.feature, ensemble.threshold, ensemble.left, ensemble.right)]
    value, tree_class = ensemble.value.numpy(), ensemble.tree_class.tolist()
    for tree, root in enumerate(ensemble.root.tolist()):
        for leaf, node in nodes.add_tree(tree, root, *arrays):
            nodes.add_values(tree, node, [tree_class[tree]], [value[leaf]])
    encoding, constants = _encoding(ensemble.encoding, TensorProto.DOUBLE)
    regressor = helper.make_node(
        "TreeEnsembleRegressor",
        [_FEATURES],
        [LOGITS],
        "trees",
        domain=ML,
        n_targets=ensemble.classes,
        nodes_values_as_tensor=numpy_helper.from_array(np.array(nodes.threshold, dtype=np.float64)),
        target_weights_as_tensor=numpy_helper.from_array(np.array(nodes.weight, dtype=np.float64)),
        base_values_as_tensor=numpy_helper.from_array(ensemble.start.double().numpy()),
        **nodes.attributes(),
    )
    return numeric_model([*encoding, regressor], constants, inputs)


@dataclass
class _Nodes:
    """The nodes of all trees, as the operator has them: lists of one length, and values for leaves."""

    tree: list[int] = field(default_factory=list)
    node: list[int] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    below: list[tuple[int, int]] = field(default_factory=list)
    target: list[tuple[int, int, int]] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)

    def add_tree(
        self, tree: int, root: int, feature: Array, threshold: Array, left: Array, right: Array
    ) -> list[tuple[int, int]]:
        """Add the nodes below a root, each before those below it; the leaves, as (number in the model, node here)."""
        leaves: list[tuple[int, int]] = []
        waiting, first = [root], len(self.tree)
        for own, at in enumerate(waiting):  # which grows as it is walked through
            self.tree.append(tree)
            self.node.append(own)
            if at < 0:
                leaves.append((~at, own))
                self.feature.append(0)
                self.threshold.append(0.0)
                self.below.append((0, 0))
                continue
            self.feature.append(int(feature[at]))
            self.threshold.append(float(threshold[at]))
            self.below.append((len(waiting), len(waiting) + 1))
            waiting += [int(left[at]), int(right[at])]
        assert len(self.tree) - first == 2 * len(leaves) - 1
        return leaves

    def add_values(self, tree: int, node: int, classes: Iterable[int], values: Iterable[float]) -> None:
        """What a leaf adds to classes."""
        for number, value in zip(classes, values, strict=True):
            self.target.append((tree, node, number))
            self.weight.append(float(value))

    def attributes(self) -> dict[str, Any]:
        """What the operator is told, but for the numbers, whose type differs."""
        left, right = zip(*self.below, strict=True)
        trees, nodes, classes = zip(*self.target, strict=True)
        return {
            "aggregate_function": "SUM",
            "post_transform": "NONE",
            "nodes_treeids": self.tree,
            "nodes_nodeids": self.node,
            "nodes_featureids": self.feature,
            # x ≤ threshold goes left, which is "true"; the model asks whether it is above, and goes right.
            "nodes_modes": ["BRANCH_LEQ" if some else "LEAF" for some in right],
            "nodes_truenodeids": left,
            "nodes_falsenodeids": right,
            "target_treeids": trees,
            "target_nodeids": nodes,
            "target_ids": classes,
        }


def _encoding(encoding: nn.Module, element: int) -> tuple[list[Any], dict[str, Array]]:
    """Nodes from `inputs` to `features` (batch, features) of an element type, and their constants."""
    from onnx import TensorProto, helper

    if not isinstance(encoding, TableEncoding):
        cast = helper.make_node("Cast", [INPUTS], ["numbers"], "cast", to=element)
        return [cast, helper.make_node("Flatten", ["numbers"], [_FEATURES], "flatten", axis=1)], {}
    constants = {
        "source": encoding.source.numpy(),
        "code": encoding.code.numpy(),
        "fill": encoding.fill.numpy(),
        "known": encoding.known.numpy(),
        "is_number": encoding.is_number.numpy(),
        "is_gap": encoding.is_gap.numpy(),
    }
    nodes = [
        helper.make_node("Gather", [INPUTS, "source"], ["values"], "gather", axis=1),
        helper.make_node("IsNaN", ["values"], ["gap"], "is_nan"),
        helper.make_node("Where", ["gap", "fill", "values"], ["filled"], "fill_in"),
        helper.make_node("Equal", ["values", "code"], ["same"], "equal"),
        helper.make_node("Cast", ["same"], ["ones"], "ones", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["ones", "known"], ["categories"], "known"),
        helper.make_node("Cast", ["gap"], ["gaps"], "gaps", to=TensorProto.FLOAT),
        helper.make_node("Where", ["is_gap", "gaps", "categories"], ["zeros_and_ones"], "zeros_or_ones"),
        helper.make_node("Where", ["is_number", "filled", "zeros_and_ones"], ["encoded"], "encode"),
        helper.make_node("Cast", ["encoded"], [_FEATURES], "cast", to=element),
    ]
    return nodes, constants
