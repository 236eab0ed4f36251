"""Classes that a student never saw, made answerable: their biases raised by one number (Hinton et al. 2015, sec. 3).

A student that was taught without any 3 has learnt from the soft targets of other digits what a 3 looks like, but also
that a 3 is rare. Raising one number mends most of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from limbeck.errors import LimbeckError, UsageError
from limbeck.metrics import errors

BIAS = "bias.json"  # beside a model whose biases were raised
NARROW = 1e-4
"""Intervals of numbers below this are rounding: a logit of 100 in float32 is known to 1e-5."""


@dataclass(frozen=True)
class BestBias:
    """The number by which to raise biases, and the errors that are left on the rows it was chosen on."""

    bias: float
    errors: int


def best_bias(log_probs: npt.NDArray[Any], labels: npt.NDArray[np.int64], missing: Sequence[int]) -> BestBias:
    """The number with the fewest errors when it is added to the logits of the missing classes.

    Errors change only where a row's best missing class overtakes its best other class. Of the numbers with the fewest
    errors, the middle of the widest interval that lies between two such changes; intervals too narrow for a float32
    model to keep to are passed over. It may be negative; lowering the classes that were there by as much is the same.

    Args:
        log_probs: shape (rows, classes), log-probabilities or logits.
        labels: shape (rows,), of all classes.
        missing: the numbers of the missing classes, some but not all.

    Raises:
        UsageError: none or all classes are missing.
        LimbeckError: the shapes do not fit.
    """
    errors(log_probs, labels)  # checks shapes and labels
    absent = np.zeros(log_probs.shape[1], dtype=bool)
    absent[list(missing)] = True
    if not 0 < absent.sum() < len(absent):
        raise UsageError(f"{absent.sum()} of {len(absent)} classes are missing: expected some, but not all")
    values = log_probs.astype(np.float64)
    of_missing, of_others = (np.where(kept, values, -np.inf) for kept in (absent, ~absent))
    # Above its threshold a row is given its best missing class.
    thresholds = of_others.max(axis=1) - of_missing.max(axis=1)
    lost, won = of_others.argmax(axis=1) == labels, of_missing.argmax(axis=1) == labels
    order = np.argsort(thresholds, kind="stable")
    count = int(np.count_nonzero(~lost))  # at minus infinity no row has a missing class
    after = count + np.cumsum(lost[order].astype(np.int64) - won[order].astype(np.int64))
    at = thresholds[order]
    # Intervals lie between neighbouring thresholds; the outermost reach as far as a row's logits may differ.
    edges = np.concatenate([[at[0] - 1.0], at, [at[-1] + 1.0]])
    counts = np.concatenate([[count], after])
    widths = np.diff(edges)
    fewest = counts[widths > NARROW].min()
    best = int(np.argmax(np.where(counts == fewest, widths, 0.0)))
    return BestBias(float((edges[best] + edges[best + 1]) / 2), int(fewest))


def raise_bias(model: nn.Module, missing: Sequence[int], bias: float) -> None:
    """Add a number to the last layer's biases of these classes, in place.

    Raises:
        LimbeckError: the model's last layer is not a linear one with a bias for each class.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    classes = getattr(model, "classes", None)
    if not layers or layers[-1].bias is None or layers[-1].out_features != classes:
        raise LimbeckError(f"{type(model).__name__} has no last layer with a bias for each class: leave bias out")
    with torch.no_grad():
        layers[-1].bias[list(missing)] += bias
