"""What lies below each node of a tree: its leaves, and the classes that they answer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from limbeck.trees.arrays import Array, TreeArrays


def summed(tree: TreeArrays, of_leaves: Array) -> Array:
    """Each node with the sum of the leaves below it, in place; shape (nodes, …) in and out."""
    for level in reversed(tree.levels):
        of_leaves[level] = of_leaves[tree.left[level]] + of_leaves[tree.right[level]]
    return of_leaves


def leaves_below(tree: TreeArrays) -> npt.NDArray[np.int64]:
    """How many leaves there are below each node, shape (nodes,); a leaf counts itself."""
    return summed(tree, (tree.leaf >= 0).astype(np.int64))


def classes_below(tree: TreeArrays, leaf: int | None = None) -> npt.NDArray[np.bool_]:
    """Which classes can still be answered at each node: those that are the most likely one of a leaf below it.

    Leaves that no counted row reached are left out, unless nothing would remain below a node.

    Args:
        tree: the tree.
        leaf: a node, a leaf, that is counted in any case.

    Returns:
        Shape (nodes, classes).
    """
    ends = np.flatnonzero(tree.leaf >= 0)
    possible = np.zeros((len(tree.left), len(tree.classes)), dtype=bool)
    possible[ends, tree.log_probs[tree.leaf[ends]].argmax(axis=1)] = True
    reached = possible.copy()
    out = ends[(tree.reached[ends] == 0) & (ends != leaf)]
    reached[out] = False
    for level in reversed(tree.levels):
        for below in (possible, reached):
            below[level] = below[tree.left[level]] | below[tree.right[level]]
    return np.asarray(np.where(reached.any(axis=1, keepdims=True), reached, possible))


def classes_by_share(tree: TreeArrays, leaf: int | None = None) -> list[list[int]]:
    """The classes of `classes_below` at each node, those of which most rows reach a leaf first.

    Where rows were not counted, those of most leaves come first.

    Args:
        tree: the tree.
        leaf: a node, a leaf, that is counted in any case.
    """
    ends = np.flatnonzero(tree.leaf >= 0)
    shares = np.zeros((len(tree.left), len(tree.classes)))
    reached = np.where(np.isnan(tree.reached), 1.0, tree.reached)
    shares[ends, tree.log_probs[tree.leaf[ends]].argmax(axis=1)] = reached[ends]
    order = np.argsort(-summed(tree, shares), axis=1, kind="stable")
    return [ranked[found[ranked]].tolist() for ranked, found in zip(order, classes_below(tree, leaf), strict=True)]
