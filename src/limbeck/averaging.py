"""The mean of what several models say, weighted or not: of their probabilities, or of their logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from limbeck.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

Mean = Literal["probabilities", "logits"]
"""Of what the mean is: arithmetic of distributions, or geometric, which is the mean of logits, normalised."""

MEANS: tuple[Mean, ...] = get_args(Mean)


def checked_mean(mean: str) -> Mean:
    """The same, if it is one.

    Raises:
        UsageError: it is neither "probabilities" nor "logits".
    """
    for known in MEANS:
        if mean == known:
            return known
    raise UsageError(f'mean = "{mean}": expected "probabilities" or "logits"')


def checked_weights(weights: Sequence[float], members: int) -> tuple[float, ...]:
    """Weights that sum to one, so that a mean of logits is not tempered by them.

    Args:
        weights: one for each member, not negative, in any unit.
        members: how many there are.

    Raises:
        UsageError: there are more weights than members or fewer, one is negative or not finite, or all are 0.
    """
    if len(weights) != members:
        raise UsageError(f"weights: found {len(weights)} for {members} members: give one for each member")
    for number, weight in enumerate(cast(Sequence[object], weights), 1):  # a file may hold anything
        if isinstance(weight, bool) or not isinstance(weight, int | float | np.number):
            raise UsageError(f"weights: that of member {number} is {weight!r}: give a number")
        if not _finite(weight):
            raise UsageError(f"weights: that of member {number} is not finite: give a finite number")
        if float(weight) < 0:
            raise UsageError(f"weights: that of member {number} is {weight:g}: give 0 or more")
    if max(weights) <= 1 and math.isclose(math.fsum(weights), 1.0, abs_tol=1e-9):
        return tuple(map(float, weights))  # as they were written
    largest = max(weights)
    if largest == 0:
        raise UsageError(f"weights: those of all {members} members are 0: give one of them more")
    parts = [float(weight / largest) for weight in weights]  # no sum of large ones overflows
    total = math.fsum(parts)
    return tuple(part / total for part in parts)


def _finite(weight: Any) -> bool:
    try:
        return math.isfinite(weight)
    except OverflowError:  # an integer beyond any float
        return False


def weighing(weights: Sequence[float] | None, members: int) -> tuple[list[int], tuple[float, ...] | None]:
    """Which members count, by number, and their weights, which sum to one; None where these are equal.

    A member of weight 0 is left out: what it rules out is not ruled out.

    Raises:
        UsageError: the weights do not fit.
    """
    if weights is None:
        return list(range(members)), None
    checked = checked_weights(weights, members)
    counted = [number for number, weight in enumerate(checked) if weight > 0]
    kept = tuple(checked[number] for number in counted)
    return counted, None if len(set(kept)) == 1 else kept


def log_mean_of_probabilities(log_probs: Tensor, weights: Sequence[float] | None = None) -> Tensor:
    """Log of the arithmetic mean of distributions.

    Args:
        log_probs: shape (members, …, classes), of each member.
        weights: above 0, of sum one; None for equal ones.

    Returns:
        Log-probabilities, shape (…, classes).
    """
    if weights is None:
        return log_probs.logsumexp(dim=0) - math.log(len(log_probs))
    return (log_probs + along(weights, log_probs).log()).logsumexp(dim=0)


def mean_of_log_probs(log_probs: Tensor, weights: Sequence[float] | None = None) -> Tensor:
    """Mean of log-probabilities: log of the geometric mean of distributions but for a constant of each row.

    Args:
        log_probs: shape (members, …, classes), of each member.
        weights: above 0, of sum one; None for equal ones.

    Returns:
        Shape (…, classes), not normalised.
    """
    if weights is None:
        return log_probs.mean(dim=0)
    return (log_probs * along(weights, log_probs)).sum(dim=0)


def along(weights: Sequence[float], log_probs: Tensor) -> Tensor:
    """Weights as a tensor that goes with log-probabilities (members, …, classes)."""
    return log_probs.new_tensor(list(weights)).reshape(-1, *[1] * (log_probs.dim() - 1))
