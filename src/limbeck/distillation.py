"""Distilling in one call: a teacher, a student and inputs, without a recipe or a run folder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn

from limbeck.batches import StoredBatches, held_out_order
from limbeck.data import Part
from limbeck.errors import UsageError
from limbeck.knowledge import (
    CombinedTargets,
    Knowledge,
    LabelTargets,
    StoredTargets,
    TargetSource,
    check_knowledge,
)
from limbeck.objectives import Objective
from limbeck.progress import Progress
from limbeck.teachers import as_teacher, log_probabilities
from limbeck.training import History, TrainSettings, train


@dataclass(frozen=True)
class Distilled:
    """What came of it.

    Attributes:
        student: the module that was given, trained, in evaluation mode.
        knowledge: the teacher's log-probabilities for every row: hand it on to teach another student.
        history: a row for each epoch.
    """

    student: nn.Module
    knowledge: Knowledge
    history: History


def distill(
    teacher: object,
    student: nn.Module,
    inputs: npt.ArrayLike | Part,
    *,
    labels: npt.ArrayLike | None = None,
    objective: Objective | None = None,
    settings: TrainSettings | None = None,
    validation: float = 0.1,
    seed: int = 0,
    progress: Progress | None = None,
) -> Distilled:
    """Teach a student what a teacher knows about some inputs; the teacher is asked once for each row.

    Args:
        teacher: a torch module or a function from raw inputs (batch, …) to logits, an object with
            `answer(inputs)`, or `Knowledge` about the same rows that was kept from before.
        student: a torch module from the same raw inputs to logits, trained in place.
        inputs: shape (n, …), uint8 or floats, without labels; or a part, with its own.
        labels: shape (n,), whole numbers, −1 for a row without; needed if the objective uses labels.
        objective: soft targets at T = 4 by default.
        settings: how to train; ten epochs at 1e-3 by default.
        validation: fraction of the rows on which the epoch is chosen: by agreement with their labels, or with the
            teacher's class where there are no labels. 0 keeps the last epoch.
        seed: of order, dropout and the validation rows.
        progress: told by step.

    Raises:
        UsageError: if the arguments do not fit each other.
        LimbeckError: if inputs or the teacher's outputs are not finite, or knowledge is of other rows.
    """
    objective = objective or Objective(temperature=4.0)
    settings = settings or TrainSettings()
    if not 0 <= validation < 1:
        raise UsageError(f"validation = {validation}: expected a fraction of the rows, at least 0 and below 1")
    part = _part(inputs, labels)
    rows = part.inputs
    if objective.uses_labels and not (part.labels >= 0).any():
        raise UsageError("the objective uses labels, but none were given: pass labels, or hard=0")
    if isinstance(teacher, Knowledge):
        knowledge = teacher
    else:
        answers = log_probabilities(as_teacher(teacher), rows)
        names = [str(number) for number in range(answers.shape[1])]
        if isinstance(inputs, Part) and len(part.classes) == len(names):
            names = list(part.classes)
        knowledge = Knowledge.in_memory(answers, names)
    log_probs = knowledge.log_probs()
    if not isinstance(inputs, Part):
        part = Part(part.name, rows, part.labels, part.ids, knowledge.classes)
    check_knowledge(knowledge, part, "the teacher's output")
    held = round(validation * len(rows))
    if held >= len(rows):
        raise UsageError(f"validation = {validation} leaves none of the {len(rows)} inputs to train on: ask for less")
    order = held_out_order(seed, len(rows))
    chosen, kept = np.sort(order[:held]), np.sort(order[held:])
    truth = np.where(part.labels >= 0, part.labels, log_probs.argmax(axis=1))
    judged = Part("validation", rows[chosen], truth[chosen], chosen, part.classes)
    targets: TargetSource = CombinedTargets(StoredTargets(log_probs[np.newaxis]), LabelTargets(part.labels))
    history = train(
        student,
        StoredBatches(rows[np.newaxis], settings.batch_size, kept),
        targets,
        objective,
        settings,
        seed=seed,
        validation=judged,
        progress=progress,
        title="student",
    )
    return Distilled(student, knowledge, history)


def _part(inputs: npt.ArrayLike | Part, labels: npt.ArrayLike | None) -> Part:
    if isinstance(inputs, Part):
        if labels is not None:
            raise UsageError("labels were given beside a part, which has its own: pass one of them")
        return inputs
    rows = np.atleast_1d(np.asarray(inputs))
    if rows.dtype.kind == "f":
        rows = rows.astype(np.float32)
    given = np.full(len(rows), -1) if labels is None else np.asarray(labels)
    if given.dtype.kind not in "iu" or given.shape != rows.shape[:1]:
        raise UsageError(
            f"labels are {given.dtype} of shape {given.shape}: expected whole numbers, one for each of the "
            f"{len(rows)} inputs"
        )
    classes = tuple(str(number) for number in range(int(given.max(initial=-1)) + 1))
    return Part("inputs", np.ascontiguousarray(rows), given.astype(np.int64), np.arange(len(rows)), classes)
