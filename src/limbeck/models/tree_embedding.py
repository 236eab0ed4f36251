"""A pruned soft decision tree inside a complete one, so that it is saved, loaded and asked like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from limbeck.trees import TreeArrays

if TYPE_CHECKING:
    from limbeck.models.soft_tree import SoftDecisionTree

SETTLED = 60.0
"""A score at which the other side's probability is gone in the rounding."""


def embedded(arrays: TreeArrays, whole: SoftDecisionTree) -> SoftDecisionTree:
    """A tree of the depth of the whole one that answers as the arrays do.

    Below a leaf that is not as deep, questions without weights send all to the right, and all leaves are that leaf.

    Args:
        arrays: what is left of the whole tree.
        whole: gives settings and preprocessing; it stays as it is.
    """
    tree, inner = whole.answering(whole.predict), len(whole.bias)
    beta, scale = float(whole.inverse_temperature), arrays.spread.astype(np.float64) / whole.input_scale
    weight, bias = np.zeros(tree.weight.shape), np.full(inner, SETTLED / beta)
    log_probs, reached = np.zeros(tree.leaves.shape), np.zeros(len(tree.reached))
    places = [(0, 0)]  # in the arrays, and in the complete tree
    while places:
        node, place = places.pop()
        reached[place] = arrays.reached[node]
        asked = arrays.question[node]
        if asked >= 0:
            own = arrays.weights[asked].astype(np.float64)
            weight[place] = own * scale / beta
            bias[place] = (arrays.bias[asked] + own @ arrays.centre) / beta
            places += [(int(arrays.left[node]), 2 * place + 1), (int(arrays.right[node]), 2 * place + 2)]
            continue
        first = last = place
        while last < inner:
            first, last = 2 * first + 1, 2 * last + 2
            reached[last] = arrays.reached[node]
        log_probs[first - inner : last + 1 - inner] = arrays.log_probs[arrays.leaf[node]]
    with torch.no_grad():
        tree.weight.copy_(torch.from_numpy(weight))
        tree.bias.copy_(torch.from_numpy(bias))
        tree.set_leaves(torch.from_numpy(log_probs))
        tree.reached.copy_(torch.from_numpy(reached))
    return tree
