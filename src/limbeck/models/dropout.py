"""Dropout that costs little: one random byte for each unit."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def dropped_by_bytes(units: Tensor, of_256: int) -> Tensor:
    """Units of any shape, of which so many in 256 are set to 0; the others are scaled up so that the mean stays."""
    words = torch.empty(-(-units.numel() // 8), dtype=torch.int64, device=units.device).random_(-(2**63), None)
    kept = words.view(torch.uint8)[: units.numel()] >= of_256
    return units * (kept.to(units.dtype) * (256 / (256 - of_256))).view(units.shape)


def in_256(probability: float) -> int:
    """A probability of dropout in 256ths; at most 255, so that something is left."""
    return min(round(probability * 256), 255)


class ByteDropout(nn.Module):
    """As `torch.nn.Dropout` (Srivastava et al. 2014), with the probability rounded to a 256th.

    torch draws a float for each unit, which on a processor takes a third of the time of training a network of two
    layers of 1200; a byte will do.

    Args:
        probability: of setting a unit to 0 while training; the others are scaled up so that the mean stays.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.p = probability  # which transformers hands on to its attention, where torch drops units itself
        self.dropped = in_256(probability)

    def forward(self, units: Tensor) -> Tensor:
        """Units of any shape, in and out; unchanged in evaluation."""
        if not self.training or not self.dropped:
            return units
        return dropped_by_bytes(units, self.dropped)

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return f"probability={self.dropped / 256}"


def with_byte_dropout(model: nn.Module) -> None:
    """Put `ByteDropout` in the place of every `torch.nn.Dropout` in a model."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, ByteDropout(child.p).train(child.training))
