"""The mean of several models, as a model like any other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.data.form import Form
from limbeck.models.hard_labels import FLOOR
from limbeck.models.outputs import Outputs, logits_of


class MeanModel(nn.Module):
    """An ensemble: the arithmetic mean of its members' probabilities at temperature 1.

    A student learns from its members' knowledge, put together for the temperature that it is taught at.

    Args:
        members: models that take the same raw inputs and answer for the same classes in the same order.
        keys: of the members' artifacts.
        input_shape: of one raw input; the first member's by default, as are the next two.
        classes: how many.
        form: what the inputs mean.
    """

    kind = "mean"

    def __init__(
        self,
        members: Sequence[nn.Module],
        keys: Sequence[str] = (),
        *,
        input_shape: Sequence[int] | None = None,
        classes: int | None = None,
        form: Form | None = None,
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        first: Any = members[0]
        self.input_shape: tuple[int, ...] = tuple(first.input_shape if input_shape is None else input_shape)
        self.classes: int = first.classes if classes is None else classes
        self.form: Form | None = first.form if form is None else form
        self.settings: dict[str, Any] = {"members": list(keys)}

    def forward(self, inputs: Tensor) -> Outputs:
        """Raw inputs (batch, *input_shape) to log-probabilities (batch, classes)."""
        each = [logits_of(member(inputs)).float().log_softmax(dim=-1) for member in self.members]
        mean = torch.stack(each).logsumexp(dim=0) - math.log(len(each))
        return Outputs(mean.clamp_min(math.log(FLOOR)))

    @property
    def parameter_count(self) -> int:
        """The sum of its members' numbers."""
        return sum(_count(member, "parameter_count") for member in self.members)


def _count(member: nn.Module, name: str) -> int:
    known = getattr(member, name, None)
    return known if isinstance(known, int) else sum(parameter.numel() for parameter in member.parameters())
