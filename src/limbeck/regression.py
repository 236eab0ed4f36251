"""Does depth itself help training? Linear nets of several depths on one regression (Arora, Cohen and Hazan 2018).

A product of matrices can say no more than one matrix can, so whatever a deeper linear net gains is gained by the way
in which gradient descent walks (arXiv:1802.06509, sec. 8).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limbeck.artifacts import ArtifactStore, Identity, damages, read_checked, wrong_key
from limbeck.batches import StoredBatches
from limbeck.errors import LimbeckError
from limbeck.files import DamagedFileError, key_of, write_json
from limbeck.knowledge.targets import Targets
from limbeck.models import Outputs
from limbeck.progress import Progress
from limbeck.recipe import Regression
from limbeck.rows import model_id
from limbeck.train_settings import TrainSettings
from limbeck.training import train

VERSION = 2
REGRESSION = "regression.json"
CLOSE = 0.001
"""How much of the loss that could be lost may be left: the steps to get there tell nets apart."""


class LinearNet(nn.Module):
    """x ↦ w_N ⋯ w_2 (w_1 · x): one output, hidden layers of one unit, no biases.

    Every depth begins at the same function, with weights of the same size in every layer (balanced, as in the
    paper's sec. 4).

    Args:
        start: weights of the function to begin with, shape (features,), not zero.
        depth: number of layers.
    """

    def __init__(self, start: Tensor, depth: int) -> None:
        super().__init__()
        size = float(start.norm())
        self.first = nn.Parameter(start / size * size ** (1 / depth))
        self.others = nn.Parameter(torch.full((depth - 1,), size ** (1 / depth)))

    def forward(self, inputs: Tensor) -> Outputs:
        """Inputs (batch, features) to outputs (batch, 1)."""
        return Outputs((inputs @ self.first * self.others.prod())[:, None])


@dataclass(frozen=True)
class Task:
    """A regression: inputs and values, both standardised.

    Attributes:
        inputs: shape (rows, features), float32.
        values: shape (rows,), float32.
    """

    inputs: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]

    @cached_property
    def hash(self) -> str:
        """What enters keys."""
        return key_of({"inputs": self.inputs.tolist(), "values": self.values.tolist()})

    def batch(self, rows: Tensor, view: Tensor) -> Targets:
        """The values of some rows, as `Targets.logits` of shape (batch, 1)."""
        return Targets(logits=torch.from_numpy(self.values)[rows, None])

    def least_loss(self, power: int) -> float:
        """The lowest loss that any linear function has."""
        from scipy.optimize import minimize

        inputs, values = self.inputs.astype(np.float64), self.values.astype(np.float64)

        def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
            rest = inputs @ weights - values
            slope = np.sign(rest) * np.abs(rest) ** (power - 1)
            return float((np.abs(rest) ** power).mean() / power), inputs.T @ slope / len(values)

        start = np.linalg.lstsq(inputs, values, rcond=None)[0]
        return float(minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-10}).fun)


def load_task(source: str) -> Task:
    """A regression by name: `diabetes`, scikit-learn's 442 patients with ten measurements each."""
    if source != "diabetes":
        raise LimbeckError(f'no regression is named "{source}": there is diabetes')
    from sklearn.datasets import load_diabetes

    found = load_diabetes()
    return Task(_standardised(found.data), _standardised(found.target))


def _standardised(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    return np.asarray((values - values.mean(axis=0)) / values.std(axis=0), np.float32)


@dataclass(frozen=True)
class PowerLoss:
    """(1/p) · mean |output − value|^p."""

    power: int

    def __call__(self, logits: Tensor, *, teacher_logits: Tensor | None = None, **_: object) -> Tensor:
        """The loss of a batch: outputs and values of shape (batch, 1)."""
        assert teacher_logits is not None
        return (logits - teacher_logits).abs().pow(self.power).mean() / self.power


@dataclass(frozen=True)
class RegressionStage:
    """One depth under one loss, with every step size to be tried.

    Attributes:
        name: the part's in the recipe.
        source: the task's name.
        task: the data.
        depth: layers of the net.
        power: p of the loss.
        settings: the part.
        seed: of the function that every depth begins with.
    """

    name: str
    source: str
    task: Task
    depth: int
    power: int
    settings: Regression
    seed: int

    @property
    def variant(self) -> dict[str, Any]:
        """What tells its row apart."""
        return {"depth": self.depth, "power": self.power}

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.name}, depth {self.depth}, l{self.power} loss"

    @property
    def id(self) -> str:
        """Its name in run.json."""
        return model_id("regression", self.name, self.variant)

    @cached_property
    def identity(self) -> Identity:
        """What decides its outcome."""
        settings = {
            "depth": self.depth, "power": self.power, "steps": self.settings.steps, "start": self.settings.start,
            "learning_rates": list(self.settings.learning_rates),
        }  # fmt: skip
        return Identity("regression", VERSION, settings, {"task": self.task.hash}, self.seed)


def walked(stage: RegressionStage, store: ArtifactStore, progress: Progress) -> dict[str, Any]:
    """What came of a regression, walked if it was not before, and again if its record is damaged."""
    folder = store.folder(stage.identity)
    if not store.is_complete(stage.identity) or _damages(folder):
        with store.locked(stage.identity, progress.line) as part:
            # Whoever held the lock may have made it.
            if store.is_complete(stage.identity) and (found := _damages(folder)):
                aside = store.set_aside(stage.identity)
                progress.line(f"{found[0].path} is damaged: set aside as {aside.name}, {stage.title} is made again")
            if not store.is_complete(stage.identity):
                part.mkdir(parents=True, exist_ok=True)
                progress.start(stage.title, len(stage.settings.learning_rates))
                write_json(part / REGRESSION, {**walk(stage, progress), "identity": stage.identity.as_json()})
                store.complete(stage.identity)
                progress.end()
    return dict(json.loads(read_checked(folder, REGRESSION)))


def _damages(folder: Path) -> list[DamagedFileError]:
    """What is wrong with a record, being another's included."""
    try:
        return damages(folder) or wrong_key(folder, json.loads(read_checked(folder, REGRESSION)))
    except DamagedFileError as damage:
        return [damage]


def walk(stage: RegressionStage, progress: Progress | None = None) -> dict[str, Any]:
    """Train by gradient descent on all rows at once, with each step size; the one that is soonest close is shown.

    Close is as `steps_to` has it. Where none comes so close, it is the one with the lowest loss at the end.

    Returns:
        {learning_rate, trials: [{learning_rate, loss (None: it diverged), steps}, …], losses (before each step),
        least}. Where every step size diverged there is no learning rate, and there are no losses.
    """
    trials: list[dict[str, Any]] = []
    least = stage.task.least_loss(stage.power)
    best: list[float] = []
    chosen, soonest = 0.0, (math.inf, math.inf)
    for number, rate in enumerate(stage.settings.learning_rates, start=1):
        losses = _losses(stage, rate)
        if progress is not None:
            progress.at(number)
        steps = steps_to(losses, least) if losses else None
        trials.append({"learning_rate": rate, "loss": losses[-1] if losses else None, "steps": steps})
        if losses and (score := (math.inf if steps is None else steps, losses[-1])) < soonest:
            best, chosen, soonest = losses, rate, score
    if progress is not None and not best:
        progress.line(f"{stage.title}: the loss diverged at every step size: add smaller learning_rates")
    return {"learning_rate": chosen if best else None, "trials": trials, "losses": best, "least": least}


def _losses(stage: RegressionStage, rate: float) -> list[float] | None:
    rows = len(stage.task.values)
    generator = torch.Generator().manual_seed(stage.seed)
    start = torch.randn(stage.task.inputs.shape[1], generator=generator)
    model = LinearNet(start / start.norm() * stage.settings.start, stage.depth)
    descent = TrainSettings(
        epochs=stage.settings.steps, batch_size=rows, optimizer="sgd", learning_rate=rate, momentum=0.0,
        weight_decay=0.0, warmup=0.0, schedule="constant", keep="last", precision="float32",
    )  # fmt: skip
    batches = StoredBatches(stage.task.inputs[np.newaxis], rows)
    try:
        history = train(model, batches, stage.task, PowerLoss(stage.power), descent, seed=stage.seed)
    except LimbeckError:  # it is not finite any more
        return None
    return [epoch["loss"] for epoch in history.epochs]


def steps_to(losses: Sequence[float], least: float, share: float = CLOSE) -> int | None:
    """The steps after which at most this share of what the loss could fall by is left for good; None if it never is."""
    goal = least + share * (losses[0] - least)
    above = [step for step, loss in enumerate(losses) if loss > goal]
    steps = above[-1] + 1 if above else 0
    return steps if steps < len(losses) else None
