"""How a network is trained: the settings of a recipe's `train`, checked."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from limbeck.errors import UsageError


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained. A baseline has its student's.

    Attributes:
        epochs: how often the rows are gone over, and the model is judged on validation rows after.
        batch_size: rows in a step.
        optimizer: AdamW (Loshchilov and Hutter 2019) or SGD with Nesterov momentum.
        learning_rate: the highest.
        momentum: of SGD.
        weight_decay: of matrices and kernels; biases and normalisation have none.
        warmup: fraction of all steps in which the rate rises from 0.
        schedule: after that it falls to 0 along a cosine, or stays.
        keep: the epoch best on the validation rows (accuracy, then negative log-likelihood), or the last.
        precision: `auto` is a fixed rule by model and hardware.
        passes: over the rows in one epoch, more than one where they are few; for whoever makes the batches.
        accumulate: batches whose gradients are added up for one step of the optimiser.

    Raises:
        UsageError: a value is out of range.
    """

    epochs: int = 10
    batch_size: int = 128
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.01
    warmup: float = 0.05
    schedule: Literal["cosine", "constant"] = "cosine"
    keep: Literal["best", "last"] = "best"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    passes: int = 1
    accumulate: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "passes", "accumulate"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise UsageError(f"train.{name} = {value!r}, expected a whole number: change {name}")
        for name, holds, expected in (
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("passes", self.passes >= 1, "at least 1"),
            ("accumulate", self.accumulate >= 1, "at least 1"),
            ("optimizer", self.optimizer in ("adamw", "sgd"), "adamw or sgd"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "a number above 0"),
            ("momentum", 0 <= self.momentum < 1, "at least 0 and below 1"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "a number of 0 or more"),
            ("warmup", 0 <= self.warmup < 1, "at least 0 and below 1"),
            ("schedule", self.schedule in ("cosine", "constant"), "cosine or constant"),
            ("keep", self.keep in ("best", "last"), "best or last"),
            ("precision", self.precision in ("auto", "float32", "bfloat16"), "auto, float32 or bfloat16"),
        ):
            if not holds:
                raise UsageError(f"train.{name} = {getattr(self, name)!r}, expected {expected}: change {name}")

    def as_json(self) -> dict[str, Any]:
        """All of them, but for a single pass, which is what an epoch is, and a single batch, as a step is."""
        return {k: v for k, v in asdict(self).items() if k not in ("passes", "accumulate") or v != 1}

    def in_effect(self) -> dict[str, Any]:
        """The settings that make a difference: AdamW has no momentum of that name."""
        return {k: v for k, v in self.as_json().items() if k != "momentum" or self.optimizer == "sgd"}

    def step_of(self, batch: int, batches: int) -> range:
        """The batches of an epoch that make one step of the optimiser with this one; at its end they may be fewer."""
        first = batch - batch % self.accumulate
        return range(first, min(first + self.accumulate, batches))

    def rate(self, progress: float) -> float:
        """The learning rate after this fraction of all steps; a step's own is that of its middle, which is never 0."""
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        if self.schedule == "constant":
            return self.learning_rate
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))
