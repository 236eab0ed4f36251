"""What a student is to match, by row and view: stored knowledge, a live teacher, labels, or several of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limbeck.devices import brought, device_of
from limbeck.errors import UsageError
from limbeck.knowledge.sparse_targets import SparseTargets
from limbeck.models import logits_of
from limbeck.precision import Precision, autocast

_SHUFFLES = 2**60  # a key of the generator beside the seed; those of orders and views are in batches.py


@dataclass
class Targets:
    """The targets of one batch; what a source does not have is None.

    Attributes:
        logits: shape (batch, classes), the teacher's logits or log-probabilities at temperature 1, float32.
        sparse: in place of logits, the most likely of them and what is left, of a vocabulary.
        labels: shape (batch,), int64, −1 for a row without a label.
        weights: shape (batch,), each row's weight.
        hidden: a live teacher's last hidden states, shape (batch, tokens, width).
        projections: its last layer's queries, keys and values, shape (3, batch, heads, tokens, width of a head).
    """

    logits: Tensor | None = None
    sparse: SparseTargets | None = None
    labels: Tensor | None = None
    weights: Tensor | None = None
    hidden: Tensor | None = None
    projections: Tensor | None = None

    def to(self, device: torch.device) -> Targets:
        """The same on a device."""
        found = ((field.name, getattr(self, field.name)) for field in fields(self))
        return Targets(**{name: value if value is None else value.to(device) for name, value in found})


class TargetSource(Protocol):
    """Gives the targets of the rows and views of a batch."""

    def batch(self, rows: Tensor, view: Tensor) -> Targets:
        """The targets for rows (batch,) seen in views (batch,), both int64."""
        ...


class StoredTargets:
    """Stored knowledge, kept in the stored dtype and widened batch by batch.

    Args:
        views: log-probabilities at temperature 1, shape (views, rows, classes); not copied.
    """

    def __init__(self, views: npt.NDArray[Any]) -> None:
        self.rows = views.shape[1]
        self.log_probs = torch.from_numpy(views.reshape(-1, views.shape[2]))

    def batch(self, rows: Tensor, view: Tensor) -> Targets:
        """Log-probabilities as float32, shape (batch, classes)."""
        return Targets(logits=self.log_probs.index_select(0, view * self.rows + rows).float())


class LabelTargets:
    """Hard labels; a row's label is the same in every view.

    Args:
        labels: shape (rows,), int64, −1 for none.
        synthetic: whether views other than 0 are synthetic rows, which have no label.
    """

    def __init__(self, labels: npt.NDArray[np.int64], synthetic: bool = False) -> None:
        self.labels, self.synthetic = torch.from_numpy(labels), synthetic

    def batch(self, rows: Tensor, view: Tensor) -> Targets:
        """Labels of shape (batch,), −1 for none."""
        labels = self.labels.index_select(0, rows)
        return Targets(labels=labels.masked_fill(view != 0, -1) if self.synthetic else labels)


class RowWeights:
    """How much each row counts, the same in every view.

    Args:
        weights: shape (rows,), float32, at least 0.
    """

    def __init__(self, weights: npt.NDArray[np.float32]) -> None:
        self.weights = torch.from_numpy(weights)

    def batch(self, rows: Tensor, view: Tensor) -> Targets:
        """Weights of shape (batch,)."""
        return Targets(weights=self.weights.index_select(0, rows))


class LiveTargets:
    """A teacher asked in every step, for what is not stored: the usual way, and the slow one.

    Args:
        teacher: maps raw inputs to logits.
        views: raw inputs, shape (views, rows, …); not copied.
        precision: in which it computes.
    """

    def __init__(self, teacher: nn.Module, views: npt.NDArray[Any], precision: Precision = "float32") -> None:
        self.teacher, self.precision = teacher.eval(), precision
        self.rows = views.shape[1]
        self.inputs = torch.from_numpy(views.reshape(-1, *views.shape[2:]))
        self.device = device_of(teacher)

    def batch(self, rows: Tensor, view: Tensor) -> Targets:
        """Logits (batch, classes) without gradients, with hidden states where the teacher shows them."""
        inputs = brought(self.inputs.index_select(0, view * self.rows + rows), self.teacher)
        with torch.no_grad(), autocast(self.precision, self.device):
            outputs = self.teacher(inputs)
        return Targets(
            logits=logits_of(outputs).float(),
            hidden=getattr(outputs, "hidden", None),
            projections=getattr(outputs, "projections", None),
        )


class CombinedTargets:
    """Several sources as one: the first that has a field gives it."""

    def __init__(self, *sources: TargetSource) -> None:
        self.sources = sources

    def batch(self, rows: Tensor, view: Tensor) -> Targets:
        """Every field from the first source that has it."""
        combined = Targets()
        for source in self.sources:
            for name, value in vars(source.batch(rows, view)).items():
                if value is not None and getattr(combined, name) is None:
                    setattr(combined, name, value)
        return combined


def permuted(views: npt.NDArray[Any], seed: int) -> npt.NDArray[Any]:
    """Soft targets that are as sure as before, but of no similarity: a shuffle of all classes but the top one.

    In each row and view, the values of the other classes are exchanged at random. What the top class is, how probable
    it is at any temperature, and the entropy stay.

    Args:
        views: log-probabilities, shape (views, rows, classes).
        seed: decides the shuffles.

    Returns:
        A new array of the same shape and dtype.
    """
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, _SHUFFLES], dtype=np.uint64)))
    places = np.arange(views.shape[2])
    shuffled = np.empty_like(views)
    for number, view in enumerate(views):
        top = view.argmax(axis=1)[:, np.newaxis]
        # By random keys: the top class has the lowest in its own order and in the shuffled one.
        keys = generator.random(view.shape)
        np.put_along_axis(keys, top, -1.0, axis=1)
        own = np.where(places == top, -1, places)
        values = np.take_along_axis(view, own.argsort(axis=1), axis=1)
        np.put_along_axis(shuffled[number], keys.argsort(axis=1), values, axis=1)
    return shuffled


def smoothed_labels(
    views: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    temperature: float,
    selected: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.float32]:
    """The labels, as sure at this temperature as the teacher is on the average, and all other classes alike.

    Label smoothing whose ε is the teacher's: no row differs from another of its class.

    Args:
        views: the teacher's log-probabilities, shape (views, rows, classes).
        labels: shape (rows,), all at least 0 where selected.
        temperature: T, at which the mean confidence is taken.
        selected: the row numbers to take it over; all by default.

    Returns:
        Log-probabilities times T, of the shape of `views`: softmax(·/T) gives the smoothed labels.

    Raises:
        UsageError: a selected row has no label.
    """
    rows = np.arange(views.shape[1]) if selected is None else selected
    if (labels[rows] < 0).any():
        raise UsageError(
            "smoothed_labels need a label for every row: leave rows without labels out of the transfer set"
        )
    classes = views.shape[2]
    confidence = mean_confidence(views[:, rows], temperature)
    others = max((1 - confidence) / (classes - 1), np.finfo(np.float32).tiny)
    smoothed = np.full((views.shape[1], classes), math.log(others) * temperature, np.float32)
    known = np.flatnonzero(labels >= 0)
    smoothed[known, labels[known]] = math.log(confidence) * temperature
    return np.broadcast_to(smoothed, views.shape).copy()


def mean_confidence(views: npt.NDArray[Any], temperature: float) -> float:
    """The mean probability of the top class at a temperature.

    Args:
        views: log-probabilities, shape (views, rows, classes).
        temperature: T, above 0.
    """
    total = 0.0
    for view in views:
        values = view.astype(np.float32) / np.float32(temperature)
        values -= values.max(axis=1, keepdims=True)
        total += float((1 / np.exp(values).sum(axis=1, dtype=np.float64)).mean())
    return total / len(views)
