"""Weights of several teachers, by maximum likelihood on rows that none of them was fitted to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from limbeck import metrics
from limbeck.averaging import Mean, checked_mean
from limbeck.errors import UsageError
from limbeck.knowledge.combination import combined

Array = npt.NDArray[Any]

_UNITS = 10**6  # weights have six digits
_GAP = 1e-7  # nats a row: nearer to the least that there is, no report tells
_STEPS = 5000
_PLACES = 16  # on the way from equal weights to the likeliest ones
_LEAST = -1e4  # a logarithm of a probability; what is below is ruled out anyhow, and minus infinity has no products


@dataclass(frozen=True)
class FittedWeights:
    """Weights, and what the mean does with them and with equal ones on the rows that they were fitted to.

    Attributes:
        weights: one for each member, of six digits, sum one; equal ones as they are, 1/members.
        nll: mean negative log-likelihood of the labels, in nats; never above `nll_equal`.
        nll_equal: with equal weights.
        errors: rows that are got wrong; never more than `errors_equal`.
        errors_equal: with equal weights.
    """

    weights: tuple[float, ...]
    nll: float
    nll_equal: float
    errors: int
    errors_equal: int


def fit_weights(members: Sequence[Array], labels: Array, mean: Mean = "probabilities") -> FittedWeights:
    """The likeliest weights, or those on the way to them from equal ones that get no more rows wrong than these.

    The likelihood is concave, so on the way it is nowhere worse than at its worse end: on the rows given the result is
    no worse than equal weights, neither in negative log-likelihood nor in errors.

    Args:
        members: each teacher's log-probabilities at temperature 1, all of shape (n, classes).
        labels: shape (n,); rows with a negative one are left out.
        mean: of "probabilities" or of "logits".

    Raises:
        UsageError: no row has a label, a label is beyond the classes, or shapes or answers are not what they should be.
    """
    mean = checked_mean(mean)
    shape = members[0].shape
    if any(member.shape != shape for member in members) or labels.shape != shape[:1]:
        found = ", ".join(str(member.shape) for member in members)
        raise UsageError(
            f"weights: answers of shapes {found} for labels of shape {labels.shape}: expected (n, classes)"
        )
    rows = np.flatnonzero(labels >= 0)
    if not len(rows):
        raise UsageError(f"weights are fitted to labels, and none of {len(labels)} validation rows has one: give them")
    if labels.max() >= shape[1]:
        raise UsageError(f"weights: found label {labels.max()}, and the members answer for {shape[1]} classes")
    kept, labels = [member[rows] for member in members], labels[rows]
    if any(np.isnan(member).any() for member in kept):
        raise UsageError("weights: a member's answers are not numbers: expected log-probabilities")
    return _no_worse(likeliest_weights(kept, labels, mean), kept, labels, mean)


def likeliest_weights(members: Sequence[Array], labels: Array, mean: Mean) -> Array:
    """The weights under which the mean of several teachers makes the labels likeliest, at temperature 1.

    Either likelihood is concave in the weights, so what is found is the best: for a mean of probabilities by
    expectation maximisation, in which no step makes it worse (Dempster et al. 1977), for a mean of logits by
    exponentiated gradients with a line search (Kivinen and Warmuth 1997).

    Args:
        members: log-probabilities at temperature 1, all of shape (n, classes); all are held in float64 at once.
        labels: shape (n,), in 0 … classes − 1.
        mean: of "probabilities" or of "logits".

    Returns:
        float64, shape (members,), of sum one.
    """
    log_probs = torch.stack([torch.from_numpy(member).double() for member in members]).log_softmax(dim=-1)
    several = log_probs.clamp_min_(_LEAST).numpy()
    of_labels = several[:, np.arange(len(labels)), labels]
    return _of_probabilities(of_labels) if mean == "probabilities" else _of_logits(several, of_labels)


def _no_worse(best: Array, members: Sequence[Array], labels: Array, mean: Mean) -> FittedWeights:
    """The weights nearest to the best, on the way from equal ones, with which no more rows are wrong."""
    equal = np.full(len(members), 1 / len(members))

    def measured(weights: tuple[float, ...]) -> tuple[float, int]:
        log_probs = combined(members, 1.0, weights=weights, mean=mean)
        return metrics.nll(log_probs, labels), metrics.errors(log_probs, labels)

    nll_equal, errors_equal = measured(tuple(equal.tolist()))
    for step in range(_PLACES, 0, -1):
        weights = _rounded(equal + (best - equal) * step / _PLACES)
        nll, errors = measured(weights)
        if nll <= nll_equal and errors <= errors_equal:
            return FittedWeights(weights, nll, nll_equal, errors, errors_equal)
    return FittedWeights(tuple(equal.tolist()), nll_equal, nll_equal, errors_equal, errors_equal)


def _rounded(weights: Array) -> tuple[float, ...]:
    """Weights of six digits whose sum is still one: those that lose most by being cut get the units left over."""
    units = np.floor(weights * _UNITS).astype(np.int64)
    left = _UNITS - int(units.sum())
    units[np.argsort(units - weights * _UNITS, kind="stable")[:left]] += 1
    return tuple(float(unit) / _UNITS for unit in units)


def _of_probabilities(of_labels: Array) -> Array:
    """By expectation maximisation: a member's next weight is its mean share in what the mean gives to the labels.

    Args:
        of_labels: shape (members, n), each member's log-probability of each row's label.

    Returns:
        float64, shape (members,).
    """
    likely = np.exp(of_labels - of_labels.max(axis=0))  # a row's factor changes no share
    weights = np.full(len(likely), 1 / len(likely))
    for _ in range(_STEPS):
        gains = (likely / (weights @ likely)).mean(axis=1)
        if gains.max() - 1 < _GAP:  # what is left to gain is less, since the likelihood is concave
            break
        weights *= gains
        weights /= weights.sum()
    return weights


def _of_logits(several: Array, of_labels: Array) -> Array:
    """By exponentiated gradients: weights are multiplied, so none is ever negative.

    Args:
        several: shape (members, n, classes), log-probabilities.
        of_labels: shape (members, n), those of the labels.

    Returns:
        float64, shape (members,).
    """
    flat = several.reshape(len(several), -1)
    linear = of_labels.mean(axis=1)

    def loss_and_gradient(weights: Array) -> tuple[float, Array]:
        mixed = torch.from_numpy((weights @ flat).reshape(several.shape[1:]))
        normaliser = mixed.logsumexp(dim=-1)
        said = (mixed - normaliser[:, None]).exp().numpy().reshape(-1)
        return float(normaliser.mean()) - weights @ linear, flat @ said / several.shape[1] - linear

    return _exponentiated_gradient(loss_and_gradient, len(several))


def _exponentiated_gradient(loss_and_gradient: Callable[[Array], tuple[float, Array]], members: int) -> Array:
    weights, rate = np.full(members, 1 / members), 1.0
    loss, gradient = loss_and_gradient(weights)
    for _ in range(_STEPS):
        if weights @ gradient - gradient.min() < _GAP:  # what is left to gain is less, since the loss is convex
            break
        moved = weights * np.exp(-rate * (gradient - gradient.min()))
        moved /= moved.sum()
        found, steeper = loss_and_gradient(moved)
        if found <= loss + gradient @ (moved - weights) / 2:  # half of what the slope promised (Armijo)
            weights, loss, gradient, rate = moved, found, steeper, rate * 2
        elif rate < 1e-12:
            break
        else:
            rate /= 2
    return weights
