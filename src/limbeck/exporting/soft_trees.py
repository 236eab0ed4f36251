"""A soft decision tree in a form that can be traced: all questions in one matrix product, then level by level."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limbeck.models import SoftDecisionTree

LEAST = 1e-37  # as `limbeck.mixture` has it
_ROUNDING = 1e-5  # of a sum, relative to the scores
_TOGETHER = 500  # rows


class TreeInQuestions(nn.Module):
    """The same function as a soft decision tree's in evaluation: raw inputs (batch, …) to logits (batch, classes).

    Questions that were pruned, which send all to the right, are left out of the product.

    Args:
        tree: answers by path, greedily or on average.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor
    leaves: Tensor
    distributions: Tensor
    place: Tensor | None

    def __init__(self, tree: SoftDecisionTree) -> None:
        super().__init__()
        self.encoding, self.preprocessing = tree.encoding, tree.preprocessing
        self.depth, self.predict, self.sharpness = tree.depth, tree.predict, tree.final_sharpness
        kept = torch.from_numpy(tree.kept)
        # A pruned question's product is 0: it is looked up behind those of the others.
        place = torch.where(kept, kept.cumsum(0) - 1, int(kept.sum()))
        with torch.no_grad():
            beta = tree.inverse_temperature
            self.register_buffer("weight", tree.weight[kept].T.contiguous())
            self.register_buffer("scale", beta * tree.input_scale)
            self.register_buffer("bias", (beta * tree.bias).unsqueeze(0))
            self.register_buffer("leaves", tree.leaf_logits.clone())
            self.register_buffer("distributions", tree.leaf_logits.softmax(dim=-1))
        self.register_buffer("place", None if bool(kept.all()) else place)

    def forward(self, inputs: Tensor) -> Tensor:
        """Raw inputs (batch, …) to logits (batch, classes)."""
        scores = self.scores(inputs)
        if self.predict == "greedy":
            return self.leaves[self.greedy_leaf(scores)]
        reach = self.reach(scores)
        if self.predict == "path":
            return self.leaves[reach.argmax(dim=1)]
        weights = reach.exp() if self.sharpness == 1 else (reach * self.sharpness).softmax(dim=1)
        return (weights @ self.distributions).clamp_min(LEAST).log()

    def scores(self, inputs: Tensor) -> Tensor:
        """Of all questions, shape (batch, questions): above 0 where the likelier turn is to the right."""
        rows = self.preprocessing(self.encoding(inputs)).flatten(1)
        products: Tensor = rows @ self.weight
        if self.place is not None:
            products = nn.functional.pad(products, (0, 1)).index_select(1, self.place)
        return products * self.scale + self.bias

    def reach(self, scores: Tensor) -> Tensor:
        """The log-probability of reaching each leaf, shape (batch, leaves), as `limbeck.models.path_probabilities`."""
        to_right = -nn.functional.softplus(-scores, threshold=1e9)
        to_left = to_right - scores
        reach: Tensor = torch.zeros_like(scores[:, :1])
        for level in range(self.depth):
            asked = slice(2**level - 1, 2 ** (level + 1) - 1)
            turns = torch.stack([to_left[:, asked], to_right[:, asked]], dim=2)
            reach = (reach.unsqueeze(2) + turns).flatten(1)
        return reach

    def greedy_leaf(self, scores: Tensor) -> Tensor:
        """The leaf at the end of each row's greedy path, shape (batch,)."""
        node: Tensor = torch.zeros_like(scores[:, :1], dtype=torch.int64)
        for _ in range(self.depth):
            node = 2 * node + 1 + (scores.gather(1, node) > 0).long()
        leaf: Tensor = node.squeeze(1) - (2**self.depth - 1)
        return leaf


def on_the_edge(model: nn.Module, inputs: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """The rows whose leaf hangs on the rounding of a sum, shape (n,): any of two leaves is right for these.

    Args:
        model: of any kind; only a soft tree that answers by one leaf has such rows.
        inputs: raw, shape (n, …).
    """
    found = np.zeros(len(inputs), dtype=bool)
    if not isinstance(model, SoftDecisionTree) or model.predict == "average":
        return found
    tree = TreeInQuestions(model)
    with torch.inference_mode():
        for start in range(0, len(inputs), _TOGETHER):
            some = slice(start, start + _TOGETHER)
            scores = tree.scores(torch.from_numpy(np.require(inputs[some], requirements=["C", "W"])))
            if model.predict == "greedy":
                margin = scores.abs().amin(dim=1)  # of any question: more than need be, and seldom any
            else:
                best = tree.reach(scores).topk(2, dim=1).values
                margin = best[:, 0] - best[:, 1]
            found[some] = (margin < _ROUNDING * (1 + scores.abs().amax(dim=1))).numpy()
    return found
