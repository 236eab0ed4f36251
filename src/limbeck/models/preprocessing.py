"""Preprocessing that belongs to a model and is saved with it: raw inputs in, numbers of size one out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn


class Standardize(nn.Module):
    """(x − mean) / std, learnt on the training rows; takes raw uint8 or float inputs of shape (batch, …).

    One mean and one deviation for grey images (batch, height, width), one for each channel of colour images
    (batch, height, width, channels), one for each feature of tables (batch, features).

    Args:
        statistics: how many of each.
        centred: whether the mean is taken out. Where it is not, what is 0 stays 0, and the rest is divided by its root
            mean square.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, statistics: int = 1, centred: bool = True) -> None:
        super().__init__()
        self.centred = centred
        self.register_buffer("mean", torch.zeros(statistics))
        self.register_buffer("std", torch.ones(statistics))

    @classmethod
    def for_shape(cls, input_shape: tuple[int, ...], centred: bool = True) -> Standardize:
        """An unfitted one for inputs of this shape, the batch left out."""
        return cls(1 if len(input_shape) == 2 else input_shape[-1], centred)

    @property
    def is_fitted(self) -> bool:
        """Whether it does anything: until `fit`, the mean is 0 and the deviation 1."""
        return bool((self.mean != 0).any() or (self.std != 1).any())

    def fit(self, inputs: npt.NDArray[Any]) -> Standardize:
        """Learn mean and standard deviation from raw training inputs of shape (n, …); constant features keep 1."""
        columns = inputs.reshape(-1, self.mean.numel())
        total, squares = np.zeros(columns.shape[1]), np.zeros(columns.shape[1])
        for chunk in np.array_split(columns, max(1, columns.size // 4_000_000)):
            wide = chunk.astype(np.float64)
            total += wide.sum(axis=0)
            squares += np.square(wide).sum(axis=0)
        mean = total / len(columns) if self.centred else np.zeros_like(total)
        std = np.sqrt(np.maximum(squares / len(columns) - np.square(mean), 0.0))
        std[std < 1e-8] = 1.0
        self.mean.copy_(torch.from_numpy(mean))
        self.std.copy_(torch.from_numpy(std))
        return self

    def leave(self, features: Tensor) -> None:
        """Leave these as they are, shape (statistics,) of truth values."""
        self.mean[features] = 0.0
        self.std[features] = 1.0

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (batch, …) in and out, float32 out."""
        return (inputs.to(self.mean.dtype) - self.mean) / self.std
