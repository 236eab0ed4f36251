"""What a teacher is: anything that maps a batch of raw inputs to logits or probabilities."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from limbeck.data import Part
from limbeck.errors import LimbeckError, UsageError

# Under a probability of zero: its logarithm would be −inf, and one −inf vetoes a class for good.
FLOOR = 1e-7


@runtime_checkable
class Teacher(Protocol):
    """Anything that answers for a batch of raw inputs.

    Attributes:
        batch_size: how many rows it is asked at once; part of what decides the last bits of its answers.
    """

    batch_size: int

    @property
    def outputs(self) -> Literal["logits", "probabilities"]:
        """What `answer` gives."""
        ...

    @property
    def precision(self) -> str:
        """What it computes in."""
        ...

    def answer(self, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Raw inputs (batch, …) to logits or probabilities (batch, classes)."""
        ...


def log_probabilities(teacher: Teacher, inputs: npt.NDArray[Any], first_row: int = 0) -> npt.NDArray[np.float32]:
    """Ask a teacher for log-probabilities at temperature 1: logits minus their log-sum-exp.

    Args:
        teacher: asked in batches of its own size, so that an answer depends on these inputs alone.
        inputs: raw, shape (n, …).
        first_row: the number of the first of them, for messages.

    Returns:
        float32 of shape (n, classes). Probabilities below `FLOOR` count as `FLOOR`.

    Raises:
        UsageError: if there are no inputs.
        LimbeckError: if an answer is not finite, is no matrix, or probabilities do not sum to one.
    """
    if not len(inputs):
        raise UsageError("there are no inputs to ask the teacher about: give at least one row")
    answers = []
    for start in range(0, len(inputs), teacher.batch_size):
        batch = inputs[start : start + teacher.batch_size]
        answer = np.asarray(teacher.answer(batch), dtype=np.float32)
        if answer.ndim != 2 or len(answer) != len(batch):
            raise LimbeckError(
                f"the teacher answered {len(batch)} inputs with an array of shape {answer.shape}: "
                f"expected ({len(batch)}, classes)"
            )
        answers.append(_checked(answer, teacher.outputs, first_row + start))
    values = np.concatenate(answers)
    if teacher.outputs == "probabilities":
        values = np.log(np.maximum(values, FLOOR))
    return torch.from_numpy(values).log_softmax(dim=-1).numpy()


class OwnAnswers(Protocol):
    """Answers for certain rows that asking a model would not give: out of fold, or from a file of predictions."""

    def answers_for(self, part: Part) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        """Which rows have such an answer, (n,), and log-probabilities, (n, classes), 0 for the others."""
        ...


Known = tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]


def own_answers(teacher: Teacher, part: Part) -> Known | None:
    """As `OwnAnswers.answers_for`, of a teacher whose model has any for these rows; None where it has none."""
    own: OwnAnswers | None = getattr(getattr(teacher, "model", teacher), "own_rows", None)
    if own is None:
        return None
    known, log_probs = own.answers_for(part)
    return (known, log_probs) if known.any() else None


def own_answers_by_content(teacher: Teacher, inputs: Part) -> Known | None:
    """As `own_answers`, about rows whose ids are none: those of an array, which says no more than what is in them.

    Raises:
        UsageError: the teacher knows its rows by ids alone, or has several answers for equal rows.
    """
    own: OwnAnswers | None = getattr(getattr(teacher, "model", teacher), "own_rows", None)
    if own is None:
        return None
    by_content = getattr(own, "answers_by_content", None)
    if by_content is None:
        raise UsageError(
            "the teacher has answers for rows by their numbers, and an array has none: hand over the part, with its "
            "row numbers, in place of an array"
        )
    known, log_probs = by_content(inputs)
    return (known, log_probs) if known.any() else None


def answers_about(
    teacher: Teacher, inputs: npt.NDArray[Any], own: Known | None, first_row: int = 0
) -> npt.NDArray[np.float32]:
    """As `log_probabilities`, of rows for some of which the answer is known.

    Args:
        teacher: asked about the others.
        inputs: raw, shape (n, …).
        own: what `own_answers` gave for these rows.
        first_row: the number of the first of them, for messages.
    """
    if own is None:
        return log_probabilities(teacher, inputs, first_row)
    known, answers = own
    if known.all():
        return answers
    filled = answers.copy()
    filled[~known] = log_probabilities(teacher, inputs[~known], first_row)
    return filled


def _checked(answer: npt.NDArray[np.float32], outputs: str, start: int) -> npt.NDArray[np.float32]:
    bad = ~np.isfinite(answer).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise LimbeckError(
            f"the teacher's output for row {start + row} is not finite ({_shown(answer[row])}): "
            "nothing can be learnt from it; look at that input and at the teacher"
        )
    if outputs == "probabilities":
        off = np.abs(answer.sum(axis=1) - 1) > 1e-3
        if off.any() or (answer < 0).any():
            row = int(np.argmax(off | (answer < 0).any(axis=1)))
            raise LimbeckError(
                f"the teacher's output for row {start + row} is no distribution (it sums to "
                f'{answer[row].sum():.4g}): if it gives logits, say outputs="logits"'
            )
    return answer


def _shown(values: npt.NDArray[np.float32]) -> str:
    return ", ".join(f"{value:.4g}" for value in values[:12]) + (", …" if len(values) > 12 else "")
