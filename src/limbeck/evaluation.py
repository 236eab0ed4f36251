"""A model measured: what it gets right, how sure it is, how large and how fast it is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limbeck import metrics
from limbeck.data.texts import byte_lengths
from limbeck.devices import brought
from limbeck.models import ConvNet, logits_of
from limbeck.models.encoder import Encoder
from limbeck.models.estimator_size import summed
from limbeck.models.mean import MeanModel

Array = npt.NDArray[Any]


_ROUNDS = 5  # in which models are timed in turns
_BATCH = 500  # inputs, for the speed of many


@dataclass(frozen=True)
class Cost:
    """What a model costs to keep and to run.

    Attributes:
        parameters: trainable numbers; of a tree, those of its questions and leaves.
        bytes: of its file.
        multiply_adds: in linear and convolutional layers and in a tree's questions, for one input; None: not known.
        latency_ms: median milliseconds for one input.
        examples_per_second: in batches of 500.
    """

    parameters: int
    bytes: int
    multiply_adds: int | None
    latency_ms: float
    examples_per_second: float


def serving_form(model: nn.Module) -> nn.Module:
    """The model in the form in which it would be served: evaluation mode, normalisation folded where it can be."""
    if isinstance(model, MeanModel):
        members = [serving_form(member) for member in model.members]
        return MeanModel(
            members, weights=model.weights, mean=model.mean, input_shape=model.input_shape, classes=model.classes,
            form=model.form,
        ).eval()  # fmt: skip
    return model.inference_form() if isinstance(model, ConvNet) else model.eval()


def multiply_adds(model: nn.Module, inputs: Array) -> int | None:
    """Multiplications for one raw input: as a model says itself, else in its linear and convolutional layers.

    None where a model says that it is not known.

    Of an encoder, which takes as many as a text is long, those of its attention are among them.

    Args:
        model: any module.
        inputs: at least one raw input, shape (n, …).
    """
    known = getattr(model, "multiply_adds", ...)
    if known is None or isinstance(known, int):
        return known
    if isinstance(model, MeanModel):
        return summed([multiply_adds(member, inputs) for member in model.asked])
    count = 0

    def counted(layer: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal count
        weight = layer.weight
        assert isinstance(weight, Tensor)
        # Each output element of a layer is a product with one row of its weight matrix.
        count += output[0].numel() * math.prod(weight.shape[1:])

    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)]
    handles = [layer.register_forward_hook(counted) for layer in layers]
    try:
        with torch.inference_mode():
            model.eval()(brought(torch.from_numpy(np.require(inputs[:1], requirements=["C", "W"])), model))
    finally:
        for handle in handles:
            handle.remove()
    if isinstance(model, Encoder):  # every token with every other, by queries and keys and by weights and values
        tokens = int(model.tokens.lengths(inputs[:1], len(model.form.columns) > 1)[0])
        count += 2 * model.layers * tokens**2 * int(model.network.config.hidden_size)
    return count


def measure_cost(model: nn.Module, file_bytes: int, inputs: Array) -> Cost:
    """Size and speed of one model; see `measure_costs`."""
    return measure_costs([Asked(lambda: model, file_bytes, inputs)])[0]


@dataclass(frozen=True)
class Asked:
    """A model that is to be measured.

    Attributes:
        opened: gives it, once for each round.
        file_bytes: size of its file.
        inputs: raw inputs to run it on, shape (n, …); of texts, one is that of median length.
    """

    opened: Callable[[], nn.Module]
    file_bytes: int
    inputs: Array


def measure_costs(models: Sequence[Asked]) -> list[Cost]:
    """Size and speed of models that are to stand beside each other, in their serving form and in float32.

    They are timed in turns, some repeats of each in every round, so that a machine that is slower for a while is so for
    all of them; what is said is the median of the rounds' medians.
    """
    sizes: list[tuple[int, int | None]] = []
    speeds = np.zeros((_ROUNDS, len(models), 2))
    for number in range(_ROUNDS):
        for place, asked in enumerate(models):
            model, inputs = asked.opened(), asked.inputs
            if isinstance(model, Encoder):
                inputs = np.concatenate([inputs[[_median_text(inputs)]], inputs])
            if not number:
                sizes.append((parameter_count(model), multiply_adds(model, inputs)))
            speeds[number, place] = _seconds(model, inputs)
    found = []
    for asked, (parameters, products), (latency, batch) in zip(models, sizes, np.median(speeds, axis=0), strict=True):
        rate = round(_BATCH / float(batch), 1)
        found.append(Cost(parameters, asked.file_bytes, products, round(float(latency) * 1000, 4), rate))
    return found


def _seconds(model: nn.Module, inputs: Array) -> tuple[float, float]:
    """How long a model takes for the first input, and for a batch of them; a round's part of the repeats."""
    served = serving_form(model)
    one = brought(torch.from_numpy(np.require(inputs[:1], requirements=["C", "W"])), model)
    many = brought(torch.from_numpy(np.resize(inputs[:_BATCH], (_BATCH, *inputs.shape[1:]))), model)
    with torch.inference_mode():
        latency = median_seconds(lambda: logits_of(served(one)).cpu(), 200 // _ROUNDS, 1.0 / _ROUNDS, least=1)
        batch = median_seconds(lambda: logits_of(served(many)).cpu(), 20 // _ROUNDS, 1.0 / _ROUNDS, least=1)
    return latency, batch


def _median_text(inputs: Array) -> int:
    """The number of a text of median length."""
    return int(np.argsort(byte_lengths(inputs), kind="stable")[len(inputs) // 2])


def parameter_count(model: nn.Module) -> int:
    """As a model says itself, else its trainable numbers."""
    known = getattr(model, "parameter_count", None)
    return known if isinstance(known, int) else sum(parameter.numel() for parameter in model.parameters())


def median_seconds(work: Callable[[], object], repeats: int, at_most: float, least: int = 3) -> float:
    """How long some work takes: warmed up, the median of so many repeats, or of those that the seconds allow.

    Args:
        work: to be timed.
        repeats: of it.
        at_most: seconds, warming up among them.
        least: repeats whatever the seconds.
    """
    began = time.perf_counter()
    for _ in range(max(least - 1, 1, repeats // 10)):
        work()
    taken: list[float] = []
    while len(taken) < least or (len(taken) < repeats and time.perf_counter() - began < at_most):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


ROW_FIELDS = (
    "role", "name", "data", "variant", "teacher", "transfer", *Cost.__dataclass_fields__, "accuracy", "errors", "nll",
    "ece", "agreement", "train_seconds", "trials", "chosen", "metrics", "gap_recovered", "p_value", "verdict",
)  # fmt: skip
"""The fields of a row of results.json, in their order."""


def result_row(
    role: str,
    name: str,
    log_probs: Array,
    labels: Array,
    *,
    data: str | None = None,
    variant: dict[str, Any] | None = None,
    teacher: str | None = None,
    transfer: str | None = None,
    cost: Cost | None = None,
    train_seconds: float | None = None,
    trials: int | None = None,
    chosen: dict[str, Any] | None = None,
    teacher_log_probs: Array | None = None,
    baseline_log_probs: Array | None = None,
    metrics_by_name: dict[str, float] | None = None,
) -> dict[str, Any]:
    """One row of results.json: every field, None where it does not apply.

    Args:
        role: teacher, baseline, student or reference.
        name: the part's name; a baseline has its student's.
        log_probs: on the test rows, shape (n, classes).
        labels: of the test rows, shape (n,).
        data: the task's name, of a recipe that has several.
        variant: what tells rows of one name apart.
        teacher: the name of the teacher.
        transfer: the name of the transfer set.
        cost: size and speed.
        train_seconds: spent on training it.
        trials: settings tried on validation rows.
        chosen: of those, the ones that were best, by dotted path.
        teacher_log_probs: the teacher's on the same rows, for agreement and the gap.
        baseline_log_probs: the baseline's on the same rows, for a student: gap, paired test and verdict.
        metrics_by_name: anything else.
    """
    share = metrics.accuracy(log_probs, labels)
    row: dict[str, Any] = {
        "role": role,
        "name": name,
        "data": data,
        "variant": variant or {},
        "teacher": teacher,
        "transfer": transfer,
        **(asdict(cost) if cost else dict.fromkeys(Cost.__dataclass_fields__)),
        "accuracy": share,
        "errors": metrics.errors(log_probs, labels),
        "nll": metrics.nll(log_probs, labels),
        "ece": metrics.ece(log_probs, labels),
        "agreement": None if teacher_log_probs is None else metrics.agreement(log_probs, teacher_log_probs),
        "train_seconds": train_seconds,
        "trials": trials,
        "chosen": chosen,
        "metrics": metrics_by_name or {},
        "gap_recovered": None,
        "p_value": None,
        "verdict": None,
    }
    if role == "student" and baseline_log_probs is not None:
        of_baseline = metrics.accuracy(baseline_log_probs, labels)
        correct, correct_baseline = (p.argmax(axis=1) == labels for p in (log_probs, baseline_log_probs))
        row["p_value"] = metrics.mcnemar_exact(correct, correct_baseline)
        row["verdict"] = metrics.verdict(share, of_baseline, row["p_value"])
        if teacher_log_probs is not None:
            of_teacher = metrics.accuracy(teacher_log_probs, labels)
            row["gap_recovered"] = metrics.gap_recovered(share, of_baseline, of_teacher)
    return row
