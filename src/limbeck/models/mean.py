"""The mean of several models, as a model like any other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limbeck.averaging import (
    Mean,
    checked_mean,
    checked_weights,
    log_mean_of_probabilities,
    mean_of_log_probs,
    weighing,
)
from limbeck.data import Part
from limbeck.data.form import Form
from limbeck.models.estimator import RowAnswers
from limbeck.models.hard_labels import FLOOR
from limbeck.models.outputs import Outputs, logits_of


class MeanModel(nn.Module):
    """An ensemble: the mean of its members' probabilities at temperature 1, or of their logits, weighted or not.

    A student learns from its members' knowledge, put together for the temperature that it is taught at.

    Args:
        members: models that take the same raw inputs and answer for the same classes in the same order.
        keys: of the members' artifacts.
        weights: of the members, not negative; equal by default. A member of weight 0 is not asked.
        mean: of "probabilities" (arithmetic) or of "logits" (geometric, normalised).
        input_shape: of one raw input; the first member's by default, as are the next two.
        classes: how many.
        form: what the inputs mean.

    Attributes:
        weights: scaled to sum one; None for equal ones.
        mean: of what.

    Raises:
        UsageError: the weights do not fit the members, or there is no such mean.
    """

    kind = "mean"

    def __init__(
        self,
        members: Sequence[nn.Module],
        keys: Sequence[str] = (),
        *,
        weights: Sequence[float] | None = None,
        mean: Mean = "probabilities",
        input_shape: Sequence[int] | None = None,
        classes: int | None = None,
        form: Form | None = None,
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        first: Any = members[0]
        self.input_shape: tuple[int, ...] = tuple(first.input_shape if input_shape is None else input_shape)
        self.classes: int = first.classes if classes is None else classes
        self.form: Form | None = getattr(first, "form", None) if form is None else form
        self.mean: Mean = checked_mean(mean)
        self.weights: tuple[float, ...] | None = (
            None if weights is None else checked_weights(weights, len(self.members))
        )
        self._counted, self._weighing = weighing(self.weights, len(self.members))
        self.settings: dict[str, Any] = {"members": list(keys)}
        if self.weights is not None:
            self.settings["weights"] = list(self.weights)
        if mean != "probabilities":
            self.settings["mean"] = mean

    def forward(self, inputs: Tensor) -> Outputs:
        """Raw inputs (batch, *input_shape) to log-probabilities (batch, classes)."""
        return Outputs(self.of([logits_of(member(inputs)).float().log_softmax(dim=-1) for member in self.asked]))

    @property
    def asked(self) -> list[nn.Module]:
        """The members that count."""
        return [self.members[number] for number in self._counted]

    def of(self, log_probs: Sequence[Tensor]) -> Tensor:
        """The mean of what the members that count said, log-probabilities, each (…, classes); none below the floor."""
        several = torch.stack(list(log_probs))
        if self.mean == "logits":
            found = mean_of_log_probs(several, self._weighing).log_softmax(dim=-1)
        else:
            found = log_mean_of_probabilities(several, self._weighing)
        return found.clamp_min(math.log(FLOOR))

    @property
    def own_rows(self) -> MeanRows | None:
        """What is said about rows that members were fitted to, by those that have not seen them."""
        return MeanRows(self) if any(_own(member) is not None for member in self.asked) else None

    @property
    def parameter_count(self) -> int:
        """The sum of its members' numbers."""
        return sum(_count(member, "parameter_count") for member in self.members)


class MeanRows:
    """What a mean says about rows that members of it were fitted to: there each of these says what it does unseen.

    Args:
        mean: of the members.
    """

    def __init__(self, mean: MeanModel) -> None:
        self.mean = mean

    def answers_for(self, part: Part) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        """Which rows of a part a member has an answer of its own for, and the mean, to which others add theirs.

        Returns:
            A mask, shape (n,), and log-probabilities, shape (n, classes), 0 outside of the mask.
        """
        return self._mean(part, [None if own is None else own.answers_for(part) for own in map(_own, self.mean.asked)])

    def answers_by_content(self, part: Part) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        """As `answers_for`, of rows without ids of their own.

        Raises:
            UsageError: a member knows its rows by ids alone, or has several answers for equal rows.
        """
        from limbeck.teachers import TorchTeacher, own_answers_by_content  # teachers are made of models

        none = np.zeros(len(part), dtype=bool), np.zeros((len(part), self.mean.classes), dtype=np.float32)
        found = [
            None if _own(member) is None else own_answers_by_content(TorchTeacher(member), part) or none
            for member in self.mean.asked
        ]
        return self._mean(part, found)

    def _mean(
        self, part: Part, found: Sequence[tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]] | None]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        """The mean of what members said about their own rows and, where they did not, of what they say."""
        from limbeck.training import predict_log_probs  # training is of models

        known = np.logical_or.reduce([one[0] for one in found if one is not None])
        log_probs = np.zeros((len(part), self.mean.classes), dtype=np.float32)
        several = []
        for member, said in zip(self.mean.asked, found, strict=True):
            answers = np.zeros_like(log_probs) if said is None else said[1].copy()
            asked = known if said is None else known & ~said[0]
            if asked.any():
                answers[asked] = predict_log_probs(member, part.inputs[asked])
            several.append(torch.from_numpy(answers[known].astype(np.float64)))
        log_probs[known] = self.mean.of(several).numpy()
        return known, log_probs


def _own(member: nn.Module) -> RowAnswers | None:
    own: RowAnswers | None = getattr(member, "own_rows", None)
    return own


def _count(member: nn.Module, name: str) -> int:
    known = getattr(member, name, None)
    return known if isinstance(known, int) else sum(parameter.numel() for parameter in member.parameters())
