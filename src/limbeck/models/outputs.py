"""What a model returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.mixture import Mixture


@dataclass
class Outputs:
    """A model's outputs for a batch.

    Attributes:
        logits: shape (batch, classes), before the softmax; of a soft decision tree that learns, the mixture of its
            leaves.
        hidden: the last layer's hidden states, shape (batch, tokens, width), where an encoder is asked for them.
        projections: the last layer's queries, keys and values, shape (3, batch, heads, tokens, width of a head),
            likewise.
        mask: which tokens count, shape (batch, tokens), likewise.
    """

    logits: Tensor | Mixture
    hidden: Tensor | None = None
    projections: Tensor | None = None
    mask: Tensor | None = None


def logits_of(returned: object) -> Tensor:
    """The logits in whatever a module returned: `Outputs`, a tensor, or an object or dict with `logits`.

    Raises:
        TypeError: if there are no logits in it.
    """
    if isinstance(returned, Outputs):
        return returned.logits.log_probs() if isinstance(returned.logits, Mixture) else returned.logits
    if isinstance(returned, Tensor):
        return returned
    logits = returned.get("logits") if isinstance(returned, dict) else getattr(returned, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    kind = type(returned).__name__
    raise TypeError(f"the model returned {kind}: expected logits as a tensor, limbeck.models.Outputs, or .logits")


def answer_of(returned: object) -> Tensor | Mixture:
    """What a loss looks at: a mixture as it is, logits in float32 or wider."""
    if isinstance(returned, Outputs) and isinstance(returned.logits, Mixture):
        return returned.logits
    return logits_of(returned).float()
