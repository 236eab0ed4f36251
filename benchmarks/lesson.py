"""What the benchmarks train on: MNIST, and knowledge of it that no teacher had to be trained for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from limbeck.batches import StoredBatches
from limbeck.data import Part, load_dataset
from limbeck.knowledge import CombinedTargets, LabelTargets, StoredTargets, TargetSource
from limbeck.models import MLP
from limbeck.objectives import Objective
from limbeck.precision import Precision
from limbeck.progress import Progress
from limbeck.train_settings import TrainSettings
from limbeck.training import History, train

SOFT_TARGETS = Objective(temperature=4.0)
VIEWS = 12  # as in the recipe `mnist`: the digits and eleven views of them
VALIDATION = 5000
SMALL, LARGE = (30, 30), (800, 800)


@dataclass(frozen=True)
class Lesson:
    """Training rows, in several views, with a teacher's answers to each.

    Speed does not depend on what the pixels and answers are, so every view shows the rows themselves, and the
    answers are made up from the labels.

    Attributes:
        part: the rows.
        inputs: shape (views, rows, 28, 28), uint8.
        log_probs: shape (views, rows, 10), float16, log-probabilities at temperature 1.
    """

    part: Part
    inputs: npt.NDArray[np.uint8]
    log_probs: npt.NDArray[np.float16]

    @classmethod
    def of(cls, part: Part, views: int = VIEWS) -> Lesson:
        """A lesson about these rows."""
        generator = np.random.default_rng(0)
        shape = (views, len(part), len(part.classes))
        logits = generator.normal(0, 1.5, shape).astype(np.float32)
        logits += 8 * np.eye(shape[2], dtype=np.float32)[part.labels]
        log_probs = torch.from_numpy(logits).log_softmax(dim=-1).half().numpy()
        return cls(part, np.repeat(part.inputs[np.newaxis], views, axis=0), log_probs)

    @property
    def nbytes(self) -> int:
        """Bytes of inputs and knowledge."""
        return self.inputs.nbytes + self.log_probs.nbytes

    @property
    def targets(self) -> TargetSource:
        """Knowledge and labels, as a recipe's students get them."""
        return CombinedTargets(StoredTargets(self.log_probs), LabelTargets(self.part.labels))

    def student(self, widths: tuple[int, ...]) -> MLP:
        """An untrained student, the same every time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            student = MLP(self.part.inputs.shape[1:], len(self.part.classes), widths)
        student.preprocessing.fit(self.part.inputs[:5000])
        return student

    def train(
        self,
        student: nn.Module,
        batch_size: int,
        *,
        rows: int | None = None,
        epochs: int = 1,
        precision: Precision = "float32",
        validation: Part | None = None,
        progress: Progress | None = None,
    ) -> History:
        """Train from stored knowledge, as `limbeck run` does; on all rows, or on so many of them."""
        return train(
            student,
            StoredBatches(self.inputs, batch_size, None if rows is None else np.arange(rows)),
            self.targets,
            SOFT_TARGETS,
            TrainSettings(epochs=epochs, batch_size=batch_size, precision=precision),
            seed=0,
            validation=validation,
            progress=progress,
        )


def digits(rows: int | None = None) -> Part:
    """MNIST's training rows without the validation rows, or the first of them."""
    part = load_dataset("mnist").split(validation=VALIDATION).train
    return part if rows is None else part.take(np.arange(rows))


def validation_digits() -> Part:
    """The validation rows."""
    return load_dataset("mnist").split(validation=VALIDATION).validation
