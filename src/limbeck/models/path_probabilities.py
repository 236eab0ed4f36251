"""The probability of reaching every node of a complete binary tree, in log space, with its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Reach(torch.autograd.Function):
    """The log-probability of reaching every node of a complete tree, from the scores of its questions.

    Shape (inner nodes, batch) in, (nodes, batch) out, level by level. As one function, for as a hundred small ones
    it would take longer than the matrix products.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        """A child's log-probability is its parent's and that of the turn."""
        inner, batch = scores.shape
        reach = scores.new_empty(2 * inner + 1, batch)
        reach[0] = 0
        children = reach[1:].view(inner, 2, batch)  # of node i, rows 2i + 1 and 2i + 2
        to_right = nn.functional.logsigmoid(scores)
        children[:, 1] = to_right
        torch.sub(to_right, scores, out=children[:, 0])
        for start in _level_starts(inner):
            level = slice(start, 2 * start + 1)
            children[level] += reach[level].unsqueeze(1)
        ctx.save_for_backward(scores)
        return reach

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """A node's gradient is the sum of those below it."""
        (scores,) = ctx.saved_tensors
        sums = grads[0].clone()
        inner, batch = scores.shape
        children = sums[1:].view(inner, 2, batch)
        for start in reversed(_level_starts(inner)):
            level = slice(start, 2 * start + 1)
            sums[level] += children[level].sum(dim=1)
        # d log sigmoid(z) = 1 − sigmoid(z) for what lies on the right, −sigmoid(z) for what lies on the left.
        scores_grad: Tensor = children[:, 1] - scores.sigmoid() * children.sum(dim=1)
        return scores_grad


def leaf_weights(log_probs: Tensor, sharpness: float) -> Tensor:
    """Path probabilities, raised to the power and normalised; shape (leaves, batch) in and out."""
    return log_probs.exp() if sharpness == 1 else (log_probs * sharpness).softmax(dim=0)


def _level_starts(inner: int) -> list[int]:
    """The first node of each level of questions."""
    return [2**level - 1 for level in range((inner + 1).bit_length() - 1)]
