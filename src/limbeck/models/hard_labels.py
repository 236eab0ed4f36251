"""Hard labels in the place of probabilities: what a teacher that gives nothing but a class knows."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FLOOR = 1e-7  # that of limbeck.teachers, which imports models and so cannot be imported here


def near_one_hot(labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float32]:
    """Log-probabilities of labels: log(1 − (classes − 1)·FLOOR) at the label, log FLOOR elsewhere.

    Args:
        labels: shape (n,), numbers of classes.
        classes: how many there are.

    Returns:
        float32, shape (n, classes).
    """
    log_probs = np.full((len(labels), classes), math.log(FLOOR), dtype=np.float32)
    log_probs[np.arange(len(labels)), labels] = math.log1p(-(classes - 1) * FLOOR)
    return log_probs
