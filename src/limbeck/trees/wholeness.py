"""Whether arrays are a tree: what they are made of is checked once, so that whatever asks them can rely on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from limbeck.errors import LimbeckError

if TYPE_CHECKING:
    from limbeck.trees.arrays import TreeArrays


def check_shapes(tree: TreeArrays) -> None:
    """Refuse arrays whose shapes do not fit each other, the inputs or the classes.

    Raises:
        LimbeckError: with the shape found and what was expected.
    """
    nodes, inner, leaves = len(tree.left), len(tree.weights), len(tree.log_probs)
    of_nodes = (tree.left, tree.right, tree.question, tree.leaf, tree.reached)
    if nodes != inner + leaves or any(array.shape != (nodes,) for array in of_nodes):
        raise LimbeckError(f"a tree of {inner} questions and {leaves} leaves has {nodes} nodes: it is not whole")
    if tree.weights.shape != (inner, int(np.prod(tree.input_shape))) or tree.bias.shape != (inner,):
        raise LimbeckError(
            f"the questions have weights of shape {tree.weights.shape} for inputs of shape {tree.input_shape}: "
            "expected one for each feature"
        )
    for name in ("centre", "spread"):
        if getattr(tree, name).shape != tree.weights.shape[1:]:
            raise LimbeckError(f"{name} has the shape {getattr(tree, name).shape}: expected a value for each feature")
    if tree.log_probs.shape[1:] != (len(tree.classes),):
        raise LimbeckError(f"the leaves have the shape {tree.log_probs.shape} for {len(tree.classes)} classes")


def check_structure(tree: TreeArrays) -> None:
    """Refuse arrays that are not one binary tree, each node before its children, of numbers.

    Raises:
        LimbeckError: with what is not whole.
    """
    nodes, inner, leaves = len(tree.left), len(tree.weights), len(tree.log_probs)
    parents = np.flatnonzero(tree.question >= 0)
    children = np.concatenate([tree.left[parents], tree.right[parents]])
    once = np.array_equal(np.sort(children), np.arange(1, nodes))
    if not once or (tree.left[parents] <= parents).any() or (tree.right[parents] <= parents).any():
        raise LimbeckError("the tree's nodes are not each the child of one that comes before: it is not whole")
    for numbers, count in ((tree.question, inner), (tree.leaf, leaves)):
        if not np.array_equal(np.sort(numbers[numbers >= 0]), np.arange(count)):
            raise LimbeckError("the tree's questions or leaves are not each in one place: it is not whole")
    if ((tree.question >= 0) == (tree.leaf >= 0)).any():
        raise LimbeckError("a node of the tree is neither a question nor a leaf, or both: it is not whole")
    if (tree.left[tree.leaf >= 0] != -1).any() or (tree.right[tree.leaf >= 0] != -1).any():
        raise LimbeckError("a leaf of the tree has a child: it is not whole")
    for name in ("weights", "bias", "centre", "spread"):
        if not np.isfinite(getattr(tree, name)).all():
            raise LimbeckError(f"the tree's {name} are not all finite: it is not whole")
    if np.isnan(tree.log_probs).any():
        raise LimbeckError("a leaf of the tree has a probability that is no number: it is not whole")
