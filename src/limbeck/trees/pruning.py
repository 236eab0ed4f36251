"""A soft decision tree with fewer leaves: without what few rows reach, and without questions that decide nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.errors import UsageError
from limbeck.trees.arrays import Array, TreeArrays
from limbeck.trees.below import summed

_BATCH = 4096
_TRIED = 5000  # rows on which a step is tried


@dataclass(frozen=True, eq=False)
class Pruned:
    """What is left of a tree.

    Attributes:
        tree: with fewer leaves; not complete any more. Its `reached` is counted on the rows it was pruned with.
        leaves_before: how many there were.
        leaves: how many are left.
    """

    tree: TreeArrays
    leaves_before: int
    leaves: int


def prune(tree: TreeArrays, inputs: Array, *, reach: float = 0.001, agree: bool = True, change: float = 1.0) -> Pruned:
    """Take leaves out of a tree.

    First, subtrees that fewer than `reach` of the rows get to: the question above is dropped, and its other side takes
    its place; of two such sides the larger stays. That is done again until no subtree is left that so few rows reach.
    Then, where `agree`, inner nodes all of whose leaves have the same most likely class become one leaf. Its
    distribution is the mean of theirs, weighted by the rows that reached them.

    Which answers can change depends on how the tree answers:

    - `greedy`: those of rows that got to a subtree taken out, for they go to the other side now. Leaves that agree
      leave every class as it was, only its probability changes.
    - `path`: a row's path probabilities grow where a question is gone, be it that its side remains or that its leaves
      were put together, and nowhere shrink. So rows move to the leaves that gained, from any other leaf: some from
      both steps.
    - `average`: what a subtree taken out had of a row goes to the other side; and leaves put together add the mean
      of their distributions, whichever of them the row would have reached; where the tree's `sharpness` is above 1,
      they also weigh more than they did apart. A class can change where another was nearly as likely, from both steps.

    `changed` counts them on rows held back. With `change`, each step is tried on the rows by itself, from the bottom
    up, and done only if no more of them than that have another class than the whole tree gave them: for trees whose
    turns are soft, of which a path gains much where leaves that agree are put together.

    Args:
        tree: the tree; it stays as it is.
        inputs: raw, shape (n, *input_shape): rows like those that will be asked about, such as the training rows.
        reach: the share of the rows, from 0 (take nothing out) to below 1. A row reaches the nodes above the leaf of
            its answer; for an average, each node to the share that the leaves below it have of the answer.
        agree: whether leaves that agree are put together.
        change: the share of the rows (of 5,000 of them, where there are more) whose class may be another in the end;
            1 for any number, which is faster.

    Raises:
        UsageError: there are no rows, they have another shape, or a share is out of range.
    """
    if not 0 <= reach < 1:
        raise UsageError(f"reach = {reach}: expected a share of the rows, from 0 up to below 1")
    if not 0 <= change <= 1:
        raise UsageError(f"change = {change}: expected a share of the rows, from 0 to 1")
    if not len(inputs):
        raise UsageError("there are no rows to prune with: give at least one")
    if change < 1:
        pruned = _carefully(tree, inputs, reach, agree, change)
        return Pruned(replace(pruned, reached=_counted(pruned, inputs)), tree.leaves, pruned.leaves)
    pruned = tree
    while (smaller := _without_unreached(pruned, _shares(pruned, inputs), reach)).leaves < pruned.leaves:
        pruned = smaller
    if agree:
        pruned = _without_agreeing(pruned, _shares(pruned, inputs))
    pruned = replace(pruned, reached=_counted(pruned, inputs))
    return Pruned(pruned, tree.leaves, pruned.leaves)


def changed(tree: TreeArrays, pruned: TreeArrays, inputs: Array) -> int:
    """How many rows are given another class by the pruned tree, each tree answering in its way.

    Args:
        tree: before.
        pruned: after.
        inputs: raw, shape (n, *input_shape); rows that were not pruned with tell more.

    Raises:
        UsageError: the rows have another shape.
    """
    return sum(
        int(
            np.count_nonzero(
                tree.predict_log_probs(some).argmax(axis=1) != pruned.predict_log_probs(some).argmax(axis=1)
            )
        )
        for some in _batches(inputs)
    )


def without_settled(tree: TreeArrays) -> TreeArrays:
    """The tree without questions that do not look at the input, whose weights are all 0: the side they take stays."""
    instead = np.arange(len(tree.left))  # the node that takes each one's place
    for level in reversed(tree.levels):
        asked = tree.question[level]
        side = np.where(tree.bias[asked] > 0, tree.right[level], tree.left[level])
        instead[level] = np.where(tree.weights[asked].any(axis=1), level, instead[side])
    return _replaced(tree, instead)[0]


def _carefully(tree: TreeArrays, inputs: Array, reach: float, agree: bool, change: float) -> TreeArrays:
    """Question by question from the bottom up, what may go goes as long as classes stay."""
    some = inputs[:: -(-len(inputs) // _TRIED)]
    before = tree.predict_log_probs(some).argmax(axis=1)
    shares = _shares(tree, inputs)
    pruned = tree
    kept = np.arange(len(tree.left))  # the number in the whole tree of each node of the pruned one
    for node in (int(node) for level in reversed(tree.levels) for node in level):
        here = int(np.flatnonzero(kept == node)[0])
        for smaller in (_question_dropped, _leaves_together) if agree else (_question_dropped,):
            if (found := smaller(pruned, here, shares[kept], reach)) is None:
                continue
            then, old = found
            if np.mean(then.predict_log_probs(some).argmax(axis=1) != before) <= change:
                pruned, kept = then, kept[old]
                break
    return pruned


def _question_dropped(
    tree: TreeArrays, node: int, shares: npt.NDArray[np.float64], reach: float
) -> tuple[TreeArrays, npt.NDArray[np.int64]] | None:
    """The tree without a question one of whose sides few rows reach, and its nodes' old numbers."""
    sides = tree.left[node], tree.right[node]
    if shares[list(sides)].min() >= reach:
        return None
    instead = np.arange(len(tree.left))
    instead[node] = sides[int(shares[sides[0]] < shares[sides[1]])]
    return _replaced(tree, instead)


def _leaves_together(
    tree: TreeArrays, node: int, shares: npt.NDArray[np.float64], reach: float
) -> tuple[TreeArrays, npt.NDArray[np.int64]] | None:
    """The tree with one leaf for a question whose sides are leaves of one class, and its nodes' old numbers."""
    sides = np.array([tree.left[node], tree.right[node]])
    if (tree.leaf[sides] < 0).any():
        return None
    distributions = np.exp(tree.log_probs[tree.leaf[sides]].astype(np.float64))
    if distributions[0].argmax() != distributions[1].argmax():
        return None
    rows = shares[sides] if shares[sides].any() else np.ones(2)
    mean = _log_distribution(rows @ distributions)
    left, right, question, leaf = (array.copy() for array in (tree.left, tree.right, tree.question, tree.leaf))
    left[node] = right[node] = question[node] = -1
    leaf[node] = tree.leaves
    log_probs = np.concatenate([tree.log_probs, mean[np.newaxis]])
    return _walked(tree, left, right, question, leaf, log_probs, root=0)


def _batches(inputs: Array) -> list[Array]:
    return [inputs[start : start + _BATCH] for start in range(0, len(inputs), _BATCH)]


def _shares(tree: TreeArrays, inputs: Array) -> npt.NDArray[np.float64]:
    """The share of the rows that reaches each node; for an average, what its leaves have of the answers."""
    if tree.predict != "average":
        return _counted(tree, inputs)
    return summed(tree, sum(tree.leaf_weights(some).sum(axis=0) for some in _batches(inputs)) / len(inputs))


def _counted(tree: TreeArrays, inputs: Array) -> npt.NDArray[np.float64]:
    rows: npt.NDArray[Any] = np.zeros(len(tree.left), dtype=np.int64)
    for some in _batches(inputs):
        rows += np.bincount(tree.leaf_of(some), minlength=len(rows))
    return summed(tree, rows) / len(inputs)


def _without_unreached(tree: TreeArrays, shares: npt.NDArray[np.float64], reach: float) -> TreeArrays:
    instead = np.arange(len(tree.left))  # the node that takes each one's place
    for level in reversed(tree.levels):
        left, right = tree.left[level], tree.right[level]
        smaller = np.where(shares[left] < shares[right], left, right)
        dropped = shares[smaller] < reach
        larger = np.where(smaller == left, right, left)
        instead[level] = np.where(dropped, instead[larger], level)
    return _replaced(tree, instead)[0]


def _replaced(tree: TreeArrays, instead: npt.NDArray[np.int64]) -> tuple[TreeArrays, npt.NDArray[np.int64]]:
    """The tree in which each node's place is taken by another, of those below it, or by itself; and as `_walked`."""
    inner = tree.question >= 0
    left, right = (np.where(inner, instead[children], -1) for children in (tree.left, tree.right))
    return _walked(tree, left, right, tree.question, tree.leaf, tree.log_probs, root=int(instead[0]))


def _without_agreeing(tree: TreeArrays, shares: npt.NDArray[np.float64]) -> TreeArrays:
    nodes, classes = len(tree.left), len(tree.classes)
    ends = np.flatnonzero(tree.leaf >= 0)
    says = np.full(nodes, -1)  # the class that all leaves below agree on
    says[ends] = tree.log_probs[tree.leaf[ends]].argmax(axis=1)
    # Their distributions, weighted by rows; and plain, for where there are none.
    weighted, plain = np.zeros((nodes, classes)), np.zeros((nodes, classes))
    plain[ends] = np.exp(tree.log_probs[tree.leaf[ends]].astype(np.float64))
    weighted[ends] = plain[ends] * shares[ends, np.newaxis]
    for level in reversed(tree.levels):
        left, right = tree.left[level], tree.right[level]
        says[level] = np.where(says[left] == says[right], says[left], -1)
    weighted, plain = summed(tree, weighted), summed(tree, plain)
    together = (says >= 0) & (tree.question >= 0)
    sums = np.where(weighted.sum(axis=1, keepdims=True) > 0, weighted, plain)
    mean = _log_distribution(sums[together])
    leaf = tree.leaf.copy()
    leaf[together] = tree.leaves + np.arange(np.count_nonzero(together))
    question = np.where(together, -1, tree.question)
    log_probs = np.concatenate([tree.log_probs, mean])
    left, right = (np.where(question >= 0, children, -1) for children in (tree.left, tree.right))
    return _walked(tree, left, right, question, leaf, log_probs, root=0)[0]


def _log_distribution(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Sums of distributions as log-probabilities; a class that none gives any probability has next to none."""
    shares = sums / sums.sum(axis=-1, keepdims=True)
    return np.asarray(np.log(np.maximum(shares, np.finfo(np.float64).tiny)), dtype=np.float32)


def _walked(
    tree: TreeArrays, left: Array, right: Array, question: Array, leaf: Array, log_probs: Array, *, root: int
) -> tuple[TreeArrays, npt.NDArray[np.int64]]:
    """The tree of the nodes that can be reached from the root, numbered level by level; and their old numbers."""
    kept, level = [], np.array([root])
    while len(level):
        kept.append(level)
        inner = level[question[level] >= 0]
        level = np.column_stack([left[inner], right[inner]]).ravel()
    old = np.concatenate(kept)
    new = np.full(len(left), -1)
    new[old] = np.arange(len(old))
    inner, ends = question[old] >= 0, leaf[old] >= 0
    walked = replace(
        tree,
        left=np.where(inner, new[left[old]], -1),
        right=np.where(inner, new[right[old]], -1),
        question=np.where(inner, np.cumsum(inner) - 1, -1),
        leaf=np.where(ends, np.cumsum(ends) - 1, -1),
        weights=tree.weights[question[old[inner]]],
        bias=tree.bias[question[old[inner]]],
        log_probs=log_probs[leaf[old[ends]]],
        reached=tree.reached[old],
    )
    return walked, old
