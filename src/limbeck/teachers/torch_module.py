"""PyTorch modules and plain functions as teachers, and whatever else a caller hands over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from limbeck.data import Part
from limbeck.devices import brought, device_of
from limbeck.errors import LimbeckError, is_out_of_memory
from limbeck.models import ConvNet, logits_of
from limbeck.models.estimator import Estimator
from limbeck.precision import Precision, autocast, resolve_precision
from limbeck.teachers.estimator_teacher import EstimatorTeacher, is_estimator
from limbeck.teachers.protocol import Teacher

# Rows asked at once, by kind of model: activations of a small batch stay in the cache (benchmarks/). Boosted trees meet
# their threads once for every tree and batch, which costs more than the answers where batches are small.
EXTRACTION_BATCH = {"convnet": 250, "mlp": 500, "random-forest": 8000, "gradient-boosting": 8000, "lightgbm": 8000}
EXTRACTION_BATCH_OTHERWISE = 250


class TorchTeacher:
    """A module in the form in which it answers fastest: evaluation mode, no gradients, folded where it can be.

    It answers on the device where it is.

    Args:
        model: maps raw inputs (batch, …) to logits, as a tensor, `Outputs` or an object with `.logits`.
        precision: `auto`, `float32` or `bfloat16`.
        batch_size: rows asked at once; by default a fixed number by kind of model.
    """

    outputs: Literal["logits"] = "logits"

    def __init__(self, model: nn.Module, *, precision: str = "auto", batch_size: int | None = None) -> None:
        kind = getattr(model, "kind", None)
        self.device = device_of(model)
        self.precision: Precision = resolve_precision(precision, kind, self.device)
        self.batch_size = batch_size or EXTRACTION_BATCH.get(str(kind), EXTRACTION_BATCH_OTHERWISE)
        self.model: nn.Module = model.inference_form() if isinstance(model, ConvNet) else model

    def answer(self, inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Raw inputs (batch, …) to logits (batch, classes)."""
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode(), autocast(self.precision, self.device):
                rows = torch.from_numpy(np.require(inputs, requirements=["C", "W"]))
                logits = logits_of(self.model(brought(rows, self.model)))
        except (RuntimeError, ValueError, IndexError) as error:
            if is_out_of_memory(error):
                raise
            kind = f"{inputs.dtype} inputs of shape {inputs.shape}"
            reason = " ".join(str(error).split())[:200]
            raise LimbeckError(f"the teacher ({type(self.model).__name__}) does not take {kind}: {reason}") from error
        finally:
            self.model.train(was_training)
        return np.asarray(logits.float().cpu().numpy())


class FunctionTeacher:
    """Any function from raw inputs (batch, …) to logits or probabilities (batch, classes), arrays or tensors."""

    precision = "float32"

    def __init__(
        self,
        function: Callable[[npt.NDArray[Any]], Any],
        *,
        outputs: Literal["logits", "probabilities"] = "logits",
        batch_size: int = EXTRACTION_BATCH_OTHERWISE,
    ) -> None:
        self.function = function
        self.outputs = outputs
        self.batch_size = batch_size

    def answer(self, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Raw inputs (batch, …) to what the function gives."""
        with torch.inference_mode():
            returned = self.function(inputs)
        return np.asarray(returned.detach().float().cpu() if isinstance(returned, torch.Tensor) else returned)


def as_teacher(teacher: object, part: Part | None = None) -> Teacher:
    """A module, a fitted classifier, a function from arrays to logits, or an object with `answer`, as a teacher.

    An object that has `answer` alone is taken to answer with logits. A classifier has scikit-learn's interface:
    `predict_proba`, or `predict` alone, and `classes_`.

    Args:
        teacher: the object.
        part: the rows that it will be asked about: a classifier's answers come in the order of their classes, and a
            table's columns as it was fitted to them. Without it, in its own order.

    Raises:
        LimbeckError: a classifier that is not fitted, or whose classes are not the part's.
        TypeError: if it is none of these.
    """
    if isinstance(teacher, Estimator):
        return EstimatorTeacher(teacher)
    if isinstance(teacher, nn.Module):
        return TorchTeacher(teacher)
    if isinstance(teacher, Teacher):
        return teacher
    if not hasattr(teacher, "answer") and is_estimator(teacher):
        return EstimatorTeacher(teacher, (part.classes or None) if part else None, part.form if part else None)
    function = getattr(teacher, "answer", teacher)
    if callable(function):
        return FunctionTeacher(function)
    raise TypeError(
        f"{type(teacher).__name__} is no teacher: expected a torch module, a function, or an object with "
        ".answer(inputs) or .predict_proba(inputs)"
    )
