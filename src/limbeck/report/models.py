"""The rows of results.json as the page needs them: with predictions and histories, and put in families."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.rows import row_id

Row = dict[str, Any]


def finite(value: Any) -> float | None:
    """The value if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


@dataclass(frozen=True, eq=False)
class Model:
    """One row of the results.

    main: the first row of its role and name; further ones are variants of it.
    log_probs: (test rows, classes) float32, or None where no predictions were kept.
    history: the content of history.json, or None where it was not trained in this run.
    """

    row: Row
    main: bool
    log_probs: np.ndarray | None
    history: dict[str, Any] | None

    @property
    def role(self) -> str:
        """teacher, student, baseline or reference."""
        return str(self.row.get("role"))

    @property
    def name(self) -> str:
        """The part's name; a baseline has its student's."""
        return str(self.row.get("name"))

    @property
    def variant(self) -> dict[str, Any]:
        """What tells rows of one name apart."""
        return self.row.get("variant") or {}

    def number(self, field: str) -> float | None:
        """The field's value if it is a finite number, else None."""
        return finite(self.row.get(field))


@dataclass(frozen=True, eq=False)
class Family:
    """A student with what it is compared with, and the other settings under its name."""

    student: Model
    teacher: Model | None
    baseline: Model | None
    variants: tuple[Model, ...]

    @property
    def members(self) -> list[Model]:
        """Teacher, student and baseline, as far as there are any."""
        return [model for model in (self.teacher, self.student, self.baseline) if model is not None]


def read_models(
    results: Mapping[str, Any],
    predictions: Mapping[str, np.ndarray],
    histories: Mapping[str, dict[str, Any]],
    test_rows: int,
    classes: int,
) -> list[Model]:
    """All rows in their order, each with its predictions and history where there are any.

    Raises:
        LimbeckError: predictions that are not of shape (test_rows, classes).
    """
    for model_id, log_probs in predictions.items():
        if log_probs.shape != (test_rows, classes):
            raise LimbeckError(
                f"predictions of {model_id} have the shape {log_probs.shape}, but the test set has "
                f"{test_rows} rows and {classes} classes: run `limbeck evaluate` again"
            )
    models = []
    seen: set[tuple[str, str]] = set()
    for row in results["models"]:
        key = (str(row.get("role")), str(row.get("name")))
        main = key not in seen
        seen.add(key)
        models.append(Model(row, main, predictions.get(row_id(row)), histories.get(row_id(row))))
    return models


def families(models: Sequence[Model]) -> list[Family]:
    """One family for each student's name, in the order of the rows."""
    found = []
    for student in models:
        if student.role != "student" or not student.main:
            continue
        variants = tuple(m for m in models if m.role == "student" and m.name == student.name and not m.main)
        found.append(Family(student, _teacher_of(student, models), baseline_of(student, models), variants))
    return found


def baseline_of(student: Model, models: Sequence[Model]) -> Model | None:
    """The baseline with the student's name; of several, the one whose variant fits the student's best."""
    candidates = [m for m in models if m.role == "baseline" and m.name == student.name]

    def misfit(baseline: Model) -> tuple[int, int]:
        # What a grid chose for each says nothing of which belongs to which.
        chosen = {path.rpartition(".")[2] for path in baseline.row.get("chosen") or {}}
        told = [key for key in baseline.variant if key not in chosen]
        shared = [key for key in told if student.variant.get(key) == baseline.variant[key]]
        return len(told) - len(shared), -len(shared)

    return min(candidates, key=misfit, default=None)


def _teacher_of(student: Model, models: Sequence[Model]) -> Model | None:
    teachers = [m for m in models if m.role == "teacher"]
    named = [m for m in teachers if m.name == student.row.get("teacher")]
    if named:
        return named[0]
    only_choice = student.row.get("teacher") is None and len(teachers) == 1
    return teachers[0] if only_choice else None
