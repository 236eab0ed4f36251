"""What several teachers know, put together when it is read: each keeps its own knowledge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

_CHUNK_VALUES = 1 << 22  # put together at a time, so that little memory is needed beside the result


def combined(members: Sequence[npt.NDArray[Any]], temperature: float | None) -> npt.NDArray[np.float32]:
    """The mean of several teachers, for a student at a temperature.

    The arithmetic mean of their distributions softened by T, q = (1/M)·Σ softmax(v_m / T), handed on as T·log q, so
    that softmax(·/T) is q (Hinton et al. 2015, sec. 3, take the mean of the members' predictions; which mean at T = 1
    and softened afterwards would be another).

    Args:
        members: each teacher's log-probabilities at temperature 1, all of shape (…, classes).
        temperature: T; None for the mean of log-probabilities (the geometric mean of distributions), which has none:
            what matching logits is about.

    Returns:
        float32 of the same shape.
    """
    shape = members[0].shape
    flat = [member.reshape(-1, shape[-1]) for member in members]
    found = np.empty(flat[0].shape, dtype=np.float32)
    step = max(1, _CHUNK_VALUES // shape[-1])
    for start in range(0, len(found), step):
        several = torch.stack([torch.from_numpy(member[start : start + step]).float() for member in flat])
        if temperature is None:
            mean = several.log_softmax(dim=-1).mean(dim=0)
        else:
            softened = (several / temperature).log_softmax(dim=-1)
            mean = temperature * (softened.logsumexp(dim=0) - float(np.log(len(flat))))
        found[start : start + step] = mean.numpy()
    return found.reshape(shape)
