"""What a student with a live teacher minimises beside soft targets: the distance of hidden states and of relations."""

from __future__ import annotations

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import LimbeckError


class States(Protocol):
    """What an encoder shows of its last layer: `limbeck.models.Outputs` of a student, `Targets` of a live teacher."""

    hidden: Tensor | None
    projections: Tensor | None


def hidden_cosine_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """One minus the cosine of the angle between the last hidden states, a mean over the tokens that count.

    The third term of DistilBERT's loss (Sanh et al. 2019, sec. 2).

    Args:
        student: shape (batch, tokens, width).
        teacher: of the same shape.
        mask: which tokens count, shape (batch, tokens).

    Returns:
        A scalar between 0 and 2; 0 where no token counts.

    Raises:
        LimbeckError: the shapes differ.
    """
    if student.shape != teacher.shape:
        raise LimbeckError(
            f"the student's hidden states have shape {tuple(student.shape)}, the teacher's {tuple(teacher.shape)}, but "
            "must be alike: a student of the teacher's layers has its width and its pieces of text"
        )
    counted = mask.float()  # bfloat16 cannot count tokens
    distance = 1 - F.cosine_similarity(student.float(), teacher.float(), dim=-1)
    return (distance * counted).sum() / counted.sum().clamp(min=1)


def relation_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """KL divergence of the last layers' self-attention relations: of queries, of keys and of values with themselves.

    R = softmax(A·Aᵀ / √d) for A the queries, keys and values of each head; the sum of the three divergences, each a
    mean over heads and the tokens that count (Wang et al. 2020, MiniLM v2, eq. 5 to 7, with as many relation heads as
    the models have heads).

    Args:
        student: queries, keys and values, shape (3, batch, heads, tokens, width of a head).
        teacher: likewise; its heads may have another width, but must be as many.
        mask: which tokens count, shape (batch, tokens).

    Returns:
        A scalar of 0 or more; 0 where no token counts.

    Raises:
        LimbeckError: the shapes do not fit each other.
    """
    if student.shape[:4] != teacher.shape[:4]:
        raise LimbeckError(
            f"the student's queries, keys and values have shape {tuple(student.shape)}, the teacher's "
            f"{tuple(teacher.shape)}, but may differ in width alone: a student of the teacher's layers has its heads"
        )
    ours, theirs = (_relations(one.float(), mask) for one in (student, teacher))
    divergence = (theirs.exp() * (theirs - ours)).masked_fill(~mask[None, :, None, None, :], 0.0).sum(dim=-1)
    counted = mask.to(divergence.dtype)
    rows = divergence.sum(dim=0).mean(dim=1)  # (batch, tokens): over the three relations, and the heads
    return (rows * counted).sum() / counted.sum().clamp(min=1)


def _relations(projections: Tensor, mask: Tensor) -> Tensor:
    """Log-softmax over the tokens that count, shape (3, batch, heads, tokens, tokens)."""
    products = projections @ projections.transpose(-1, -2) / projections.shape[-1] ** 0.5
    # A finite number far down, and not −inf: where no token counts, a softmax of −inf alone is not a number.
    counted: Tensor = products.masked_fill(~mask[None, :, None, None, :], -1e9)
    return counted.log_softmax(dim=-1)
