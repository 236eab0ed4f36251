"""What teachers know of the rows of one call: asked now, or read from what was kept; of several, put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from limbeck.averaging import Mean
from limbeck.data import Part
from limbeck.errors import LimbeckError, UsageError
from limbeck.knowledge import Knowledge, combined
from limbeck.models.mean import MeanModel
from limbeck.progress import Progress
from limbeck.teachers import (
    EstimatorTeacher,
    Teacher,
    answers_about,
    as_teacher,
    memorised,
    own_answers,
    own_answers_by_content,
)


@dataclass(frozen=True)
class Known:
    """What a teacher knows of some rows.

    Attributes:
        knowledge: its log-probabilities for them.
        teacher: in the form in which it answers; None where the knowledge was kept from before.
    """

    knowledge: Knowledge
    teacher: Teacher | None = None

    @property
    def where(self) -> str:
        """What messages call the knowledge."""
        return str(self.knowledge.folder or "the teacher's output")


def members_of(
    teacher: object, weights: Sequence[float] | None, mean: Mean
) -> tuple[list[object], Sequence[float] | None, Mean]:
    """The teachers that one is, with their weights and what is the mean of them.

    A mean is taken apart: each member's answers are softened before they are put together.

    Raises:
        UsageError: there are none, or weights for what has its own or is one.
    """
    if isinstance(teacher, MeanModel):
        if weights is not None:
            raise UsageError("weights were given for a mean, which has its own: leave them out")
        counted = None if teacher.weights is None else [weight for weight in teacher.weights if weight > 0]
        return list(teacher.asked), counted, teacher.mean
    if isinstance(weights, str):
        raise UsageError(f'weights = "{weights}": give a list of numbers; weights are fitted in recipes')
    several = list(teacher) if isinstance(teacher, list | tuple) else [teacher]
    if not several:
        raise UsageError("the list of teachers is empty: give at least one")
    if weights is not None and not isinstance(teacher, list | tuple):
        raise UsageError("weights were given for one teacher: give a list of teachers, or leave them out")
    return several, weights, mean


def known_of(teacher: object, part: Part, *, by_id: bool, progress: Progress | None = None) -> Known:
    """What a teacher knows of a part's rows.

    Args:
        teacher: as for `distill`.
        part: the rows.
        by_id: whether the part's row ids and class names are known, and not made up for an array.
        progress: told what there is to say of the teacher.

    Raises:
        LimbeckError: the knowledge is of other rows, or the teacher's outputs are not finite.
    """
    if isinstance(teacher, Knowledge):
        if (view := teacher.description.get("view")) is not None:
            raise LimbeckError(
                f"{teacher.folder} was recorded for view {view['number']} of the rows, not for the rows as they are: "
                "give knowledge of the rows themselves"
            )
        if not by_id and teacher.folder is not None and teacher.description.get("part") != part.inputs_hash:
            raise UsageError(
                f"{teacher.folder} was recorded for the rows of a part (or for other inputs): hand over that part, "
                "with its row numbers, in place of an array"
            )
        return Known(teacher)
    asked = as_teacher(teacher, part if by_id else None)
    if progress is not None and isinstance(asked, EstimatorTeacher) and asked.warning:
        progress.line(asked.warning)
    own = own_answers(asked, part) if by_id else own_answers_by_content(asked, part)
    answers = answers_about(asked, part.inputs, own)
    named = by_id and len(part.classes) == answers.shape[1]
    names = list(part.classes) if named else [str(number) for number in range(answers.shape[1])]
    return Known(Knowledge.in_memory(answers, names, part.inputs_hash), asked)


def together(
    known: Sequence[Known], temperature: float | None, weights: Sequence[float] | None, mean: Mean
) -> npt.NDArray[np.floating]:
    """What one teacher said, or several as one, for a student at a temperature; None where it matches logits."""
    said = [one.knowledge.log_probs() for one in known]
    if len(said) == 1:
        return said[0]
    return combined(said, temperature, weights=weights, mean=mean)


def memory(known: Known, labels: npt.NDArray[np.int64], validation: Part) -> str | None:
    """What there is to say of a teacher that knows these labels by heart; nothing of one that answers no other rows."""
    if known.teacher is None or not (labels >= 0).any():
        return None
    try:
        on_validation = answers_about(known.teacher, validation.inputs, own_answers(known.teacher, validation))
    except LimbeckError:
        return None
    remedy = "fit it by limbeck.teachers.out_of_fold, or let it label rows that it was not fitted to"
    return memorised(known.knowledge.log_probs(), labels, on_validation, validation.labels, remedy=remedy)
