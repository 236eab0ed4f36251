"""Soft targets of a large vocabulary from what the sparse form keeps, without the teacher's dense distribution.

The only dense arrays are the student's logits, their gradient, and a few rows at a time of what is between.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from limbeck.errors import LimbeckError, UsageError
from limbeck.knowledge.sparse_targets import SparseTargets, temperature_number

TailName = Literal["one_cell", "even"]
_NUMBERS_AT_ONCE = 2**22  # of logits, so that what is between stays at 16 MB however many outputs there are


def sparse_soft_target_loss(
    student_logits: Tensor,
    targets: SparseTargets,
    temperature: float,
    *,
    tail: TailName = "one_cell",
    weights: Tensor | None = None,
) -> Tensor:
    """KL divergence of the student from sparse soft targets, scaled by T²: as `soft_target_loss`, over k + 1 cells.

    T² · (Σ_i q_i (log q_i − log p_i) + r (log r − log s)), where i goes over the k classes that are kept, q and r are
    the teacher's probabilities of these and of all others together at temperature T, p and s the student's. It is the
    dense loss less what the teacher knows about the others among themselves: never above it, equal if k is all classes,
    and zero where the student agrees on the cells. Of the others' gradient the student's own shape is kept.

    With tail="even" the teacher's tail is taken as evenly spread over its classes. That has an opinion about each of
    them, but a wrong one: the loss is then no bound, and pulls the student's tail flat.

    Args:
        student_logits: shape (outputs, classes); widened to float32 if narrower.
        targets: of the same outputs.
        temperature: T, one of 1, 2, 4 and 10.
        tail: how the teacher's tail is taken.
        weights: shape (outputs,), at least 0; the mean over outputs is weighted by them. All alike if None.

    Returns:
        A scalar: the mean over the outputs; zero where the weights are all zero. It can be derived once.

    Raises:
        UsageError: no tail is stored for the temperature, or there is no such way to take it.
        LimbeckError: the shapes do not fit each other, or there are no outputs.
    """
    temperature_number(temperature)
    if tail not in get_args(TailName):
        raise UsageError(f"tail is {tail!r}, but must be one of {', '.join(get_args(TailName))}")
    rows = len(targets.values)
    if tuple(student_logits.shape) != (rows, targets.classes) or rows == 0:
        raise LimbeckError(
            f"the student's logits have shape {tuple(student_logits.shape)}, but the teacher's knowledge is of "
            f"{rows} outputs with {targets.classes} classes: both must be alike, and not empty"
        )
    wide = torch.float64 if student_logits.dtype == torch.float64 else torch.float32
    if weights is None:
        shares = torch.full((rows,), 1 / rows, dtype=wide, device=student_logits.device)
    elif tuple(weights.shape) != (rows,):
        raise LimbeckError(f"weights have shape {tuple(weights.shape)}, but there are {rows} outputs: one for each")
    else:
        shares = weights.to(wide)
        shares = shares / shares.sum().clamp(min=torch.finfo(wide).tiny)
    loss: Tensor = _SparseDivergence.apply(student_logits, targets, temperature, tail, shares)  # type: ignore[no-untyped-call]
    return loss


class _SparseDivergence(torch.autograd.Function):
    """The loss with its gradient written out, so that autograd keeps no dense array but the logits.

    With respect to z_j / T it is p_i − q_i for a class that is kept, and for another, whose share of the student's tail
    is t_j: (s − r) · t_j, or p_j − r / others if the tail is even.
    """

    @staticmethod
    def forward(
        context: Any, logits: Tensor, targets: SparseTargets, temperature: float, tail: TailName, shares: Tensor
    ) -> Tensor:
        dtype = shares.dtype
        kept, rest = targets.values.to(dtype) / temperature, targets.tail(temperature).to(dtype)
        whole = torch.logaddexp(kept.logsumexp(dim=1), rest)
        log_q, log_r = kept - whole[:, None], rest - whole
        others = targets.classes - kept.shape[1]
        divergences, tops, tails = [], [], []
        for some in _pieces(logits):
            scaled = logits[some].to(dtype) / temperature
            top = scaled.gather(1, targets.indices[some])
            even = (scaled.sum(dim=1) - top.sum(dim=1)) / max(1, others)
            inner = scaled.scatter(1, targets.indices[some], -torch.inf).logsumexp(dim=1)
            total = torch.logaddexp(top.logsumexp(dim=1), inner)
            log_p, r = top - total[:, None], log_r[some].exp()
            divergence = (log_q[some].exp() * (log_q[some] - log_p)).sum(dim=1)
            if others:
                log_s = even + math.log(others) if tail == "even" else inner
                # r · log r is 0 where r is 0, and log r then −∞.
                divergence = divergence + torch.special.xlogy(r, r) - r * (log_s - total)
            divergences.append(divergence)
            tops.append(log_p)
            tails.append(torch.stack([inner, total]))
        context.save_for_backward(
            logits, targets.indices, log_q.exp(), log_r.exp(), torch.cat(tops).exp(), torch.cat(tails, dim=1), shares
        )
        context.settings = temperature, tail, others
        return torch.dot(torch.cat(divergences), shares) * temperature**2

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        logits, indices, q, r, p, (inner, total), shares = context.saved_tensors
        temperature, tail, others = context.settings
        found = torch.empty_like(logits)
        factors = gradient * temperature * shares
        s = (inner - total).exp()
        for some in _pieces(logits):
            scaled = logits[some].to(q.dtype) / temperature
            factor = factors[some, None]
            if tail == "even":
                each = scaled.sub_(total[some, None]).exp_().sub_(r[some, None] / max(1, others)).mul_(factor)
            elif others:
                # Of the tail's own log-sum-exp: nothing is lost where its mass is small.
                share = scaled.scatter_(1, indices[some], -torch.inf).sub_(inner[some, None]).exp_()
                each = share.mul_((s - r)[some, None] * factor)
            else:
                each = scaled
            found[some] = each.scatter_(1, indices[some], (p[some] - q[some]) * factor).to(logits.dtype)
        return found, None, None, None, None


def _pieces(logits: Tensor) -> list[slice]:
    """A few rows at a time."""
    step = max(1, _NUMBERS_AT_ONCE // logits.shape[1])
    return [slice(start, start + step) for start in range(0, len(logits), step)]
