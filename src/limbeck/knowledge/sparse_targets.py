"""A large categorical output in few numbers: its top values, where they are, and what is left at four temperatures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.errors import LimbeckError, UsageError

TEMPERATURES = (1.0, 2.0, 4.0, 10.0)


@dataclass
class SparseTargets:
    """The targets of several outputs (the tokens, or masked positions, of some records).

    Attributes:
        values: float32, shape (outputs, k), the top log-probabilities at temperature 1, highest first.
        indices: int64, shape (outputs, k), the classes that they are of.
        tails: float32, shape (outputs, 4), the log-sum-exp of all other log-probabilities divided by T, for each T of
            `TEMPERATURES`; −∞ where there are no others.
        offsets: int64, shape (records + 1,): record i's outputs are offsets[i] to offsets[i + 1].
        classes: how many classes there are in all.
    """

    values: Tensor
    indices: Tensor
    tails: Tensor
    offsets: Tensor
    classes: int

    def tail(self, temperature: float) -> Tensor:
        """The tail at a temperature, shape (outputs,).

        Raises:
            UsageError: no tail is stored for it.
        """
        return self.tails[:, temperature_number(temperature)]

    def to(self, device: torch.device | str) -> SparseTargets:
        """The same on another device."""
        values, indices, tails, offsets = (
            one.to(device) for one in (self.values, self.indices, self.tails, self.offsets)
        )
        return SparseTargets(values, indices, tails, offsets, self.classes)


def temperature_number(temperature: float) -> int:
    """Which of `TEMPERATURES` it is.

    Raises:
        UsageError: it is none of them: the mass of the tail at one says little about that at another.
    """
    if temperature not in TEMPERATURES:
        names = ", ".join(f"{one:g}" for one in TEMPERATURES[:-1])
        raise UsageError(
            f"temperature is {temperature!r}, but sparse knowledge holds the tails at {names} and "
            f"{TEMPERATURES[-1]:g} alone: choose one of these, or record dense knowledge"
        )
    return TEMPERATURES.index(temperature)


def top_and_tails(logits: Tensor, k: int) -> SparseTargets:
    """The targets that dense logits give, all of one record.

    Args:
        logits: shape (outputs, classes), finite; widened to float32 if narrower.
        k: how many classes to keep; all, if there are fewer.

    Raises:
        UsageError: k is below 1.
        LimbeckError: the logits are no matrix, or not all finite.
    """
    if k < 1:
        raise UsageError(f"k is {k}, but at least one class of each output must be kept")
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise LimbeckError(f"the logits have shape {tuple(logits.shape)}, but must be (outputs, classes)")
    finite = logits.isfinite().all(dim=1)
    if not finite.all():
        raise LimbeckError(f"the logits of output {int((~finite).nonzero()[0, 0])} are not all finite")
    rest = (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(dim=-1)
    values, indices = rest.topk(min(k, rest.shape[1]), dim=1)
    rest.scatter_(1, indices, -torch.inf)
    tails = torch.stack([(rest / temperature).logsumexp(dim=1) for temperature in TEMPERATURES], dim=1)
    offsets = torch.tensor([0, len(logits)], device=logits.device)
    return SparseTargets(values.float(), indices, tails.float(), offsets, logits.shape[1])
