"""What several teachers know, put together when it is read: each keeps its own knowledge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from limbeck.averaging import Mean, along, checked_mean, weighing

_CHUNK_VALUES = 1 << 22  # put together at a time, so that little memory is needed beside the result


def combined(
    members: Sequence[npt.NDArray[Any]],
    temperature: float | None,
    *,
    weights: Sequence[float] | None = None,
    mean: Mean = "probabilities",
) -> npt.NDArray[np.float32]:
    """The mean of several teachers, for a student at a temperature.

    The arithmetic mean of their distributions softened by T, q = Σ w_m·softmax(v_m / T), handed on as T·log q, so
    that softmax(·/T) is q (Hinton et al. 2015, sec. 3, take the mean of the members' predictions; which mean at T = 1
    and softened afterwards would be another). Or the mean of their logits, Σ w_m·log softmax(v_m), normalised to
    log-probabilities: the geometric mean of distributions, which is the same whatever it is softened by.

    Args:
        members: each teacher's log-probabilities at temperature 1, all of shape (…, classes).
        temperature: T; without effect on a mean of logits. None for the mean of log-probabilities as it is, of either
            mean: what matching logits is about, where a constant of a row makes no difference.
        weights: of the members, not negative; scaled to sum one. Equal by default. A member of weight 0 is left out.
        mean: of "probabilities" or of "logits".

    Returns:
        float32 of the same shape.

    Raises:
        UsageError: the weights do not fit the members, or there is no such mean.
    """
    mean, (counted, weights) = checked_mean(mean), weighing(weights, len(members))
    shape = members[0].shape
    flat = [members[number].reshape(-1, shape[-1]) for number in counted]
    found = np.empty(flat[0].shape, dtype=np.float32)
    step = max(1, _CHUNK_VALUES // shape[-1])
    room = torch.empty(len(flat) * min(step, len(found)) * shape[-1])
    for start in range(0, len(found), step):
        chunk = torch.from_numpy(found[start : start + step])
        several = room[: len(flat) * chunk.numel()].view(len(flat), *chunk.shape)
        for member, own in zip(flat, several, strict=True):
            wide = torch.from_numpy(member[start : start + step]).float()
            softened = wide if temperature is None or mean == "logits" else wide / temperature
            torch.log_softmax(softened, dim=-1, out=own)
        if temperature is None:
            _mean_into(chunk, several, weights)
        elif mean == "logits":
            _mean_into(chunk, several, weights)
            chunk.copy_(chunk.log_softmax(dim=-1))
        else:
            _log_mean_into(chunk, several, weights)
            chunk.mul_(temperature)
    return found.reshape(shape)


def _mean_into(found: Tensor, several: Tensor, weights: Sequence[float] | None) -> None:
    """The mean (rows, classes) of log-probabilities (members, rows, classes), which are changed."""
    if weights is None:
        torch.mean(several, dim=0, out=found)
    else:
        torch.sum(several.mul_(along(weights, several)), dim=0, out=found)


def _log_mean_into(found: Tensor, several: Tensor, weights: Sequence[float] | None) -> None:
    """Log of the mean (rows, classes) of the probabilities, whose logarithms (members, rows, classes) are changed.

    As `limbeck.averaging.log_mean_of_probabilities`, to the bit; in place, which takes a third less time.
    """
    if weights is not None:
        several.add_(along(weights, several).log())
    largest = several.amax(dim=0).clamp_min_(torch.finfo(several.dtype).min)
    torch.sum(several.sub_(largest).exp_(), dim=0, out=found)
    found.log_().add_(largest)
    if weights is None:
        found.sub_(math.log(len(several)))
