"""An answer that is a mixture: leaves' distributions, weighted by the probability of reaching them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

LeafLoss = Literal["leaves", "mixture"]

_FLOOR = 1e-37  # about the least that float32 has under probabilities, whose logarithm has a gradient of their inverse


@dataclass
class Mixture:
    """What a soft decision tree says about a batch while it learns (Frosst and Hinton 2017, arXiv:1711.09784).

    Attributes:
        weights: shape (batch, leaves), the probability of reaching each leaf; rows sum to one.
        logits: shape (leaves, classes), each leaf's distribution before the softmax.
        loss: `leaves`: a loss is each leaf's own, weighted by the probability of reaching it (the paper's);
            `mixture`: it is that of the mean of the leaves' distributions (the likelihood of the mixture).
    """

    weights: Tensor
    logits: Tensor
    loss: LeafLoss = "mixture"

    @property
    def shape(self) -> tuple[int, int]:
        """(batch, classes), as that of logits would be."""
        return len(self.weights), self.logits.shape[1]

    def log_probs(self, temperature: float = 1.0) -> Tensor:
        """What a cross-entropy takes the place of log-probabilities, each leaf's softened by the temperature.

        Σ_l P_l log Q_l for `leaves`, which is linear in the losses of the leaves, and so no distribution: it lacks
        what the leaves disagree by. log Σ_l P_l Q_l for `mixture`.

        Args:
            temperature: T; a leaf's distribution is softmax(logits / T), and the mean is taken of these.

        Returns:
            Shape (batch, classes), float32 or wider.
        """
        leaves = self.logits / temperature
        if self.loss == "leaves":
            return self.weights @ leaves.log_softmax(dim=-1)
        return (self.weights @ leaves.softmax(dim=-1)).clamp_min(_FLOOR).log()

    def squared_distance(self, target: Tensor) -> Tensor:
        """Half the mean squared difference of logits, each row's mean taken out first; shape (batch,).

        For `leaves`, each leaf's, weighted; for `mixture`, that of the mean of the leaves' logits.

        Args:
            target: shape (batch, classes), logits.
        """
        leaves, target = (values - values.mean(dim=-1, keepdim=True) for values in (self.logits, target))
        classes = target.shape[1]
        if self.loss == "mixture":
            return 0.5 * (self.weights @ leaves - target).square().mean(dim=-1)
        own = (self.weights @ leaves.square().sum(dim=-1, keepdim=True)).squeeze(-1)
        both = (self.weights @ leaves * target).sum(dim=-1)
        return 0.5 * (own - 2 * both + target.square().sum(dim=-1)) / classes
