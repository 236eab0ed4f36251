"""What a student is to match, by row and view: stored knowledge, a live teacher, labels, or several of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limbeck.models import logits_of


@dataclass
class Targets:
    """The targets of one batch; what a source does not have is None.

    Attributes:
        logits: shape (batch, classes), the teacher's logits or log-probabilities at temperature 1, float32.
        labels: shape (batch,), int64, −1 for a row without a label.
        weights: shape (batch,), each row's weight.
        hidden: a live teacher's hidden states.
        attentions: a live teacher's attention maps.
        mask: shape (batch, tokens), which outputs count.
    """

    logits: Tensor | None = None
    labels: Tensor | None = None
    weights: Tensor | None = None
    hidden: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    mask: Tensor | None = None


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
    """

    def __init__(self, labels: npt.NDArray[np.int64]) -> None:
        self.labels = torch.from_numpy(labels)

    def batch(self, rows: Tensor, view: Tensor) -> Targets:
        """Labels of shape (batch,)."""
        return Targets(labels=self.labels.index_select(0, rows))


class LiveTargets:
    """A teacher asked in every step, for what is not stored: the usual way, and the slow one.

    Args:
        teacher: maps raw inputs to logits.
        views: raw inputs, shape (views, rows, …); not copied.
    """

    def __init__(self, teacher: nn.Module, views: npt.NDArray[Any]) -> None:
        self.teacher = teacher.eval()
        self.rows = views.shape[1]
        self.inputs = torch.from_numpy(views.reshape(-1, *views.shape[2:]))

    def batch(self, rows: Tensor, view: Tensor) -> Targets:
        """Logits (batch, classes) without gradients, with hidden states where the teacher shows them."""
        with torch.no_grad():
            outputs = self.teacher(self.inputs.index_select(0, view * self.rows + rows))
        return Targets(
            logits=logits_of(outputs).float(),
            hidden=getattr(outputs, "hidden", None),
            attentions=getattr(outputs, "attentions", None),
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
