"""Which classes a teacher finds alike: the knowledge that labels do not hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.metrics import class_similarity, most_alike
from limbeck.report.ensembles import Together, member_names
from limbeck.report.models import Family, Model
from limbeck.report.wording import percent

MOST_CLASSES = 20  # a larger matrix cannot be read; its strongest pairs can
PAIRS, PAIRS_OF_EACH = 5, 3
DEFAULT_TEMPERATURE = 4.0


@dataclass(frozen=True)
class Square:
    """A cell of the matrix: text in per cent, strength 0 to 1 among those off the diagonal (None: on it)."""

    text: str
    strength: float | None


@dataclass(frozen=True)
class Likeness:
    """Mean soft targets by the teacher's class; `squares` is empty where there are too many classes."""

    teacher: str
    temperature: str
    pairs: tuple[tuple[str, str, str], ...]
    squares: tuple[tuple[str, tuple[Square, ...]], ...]


def likeness(found: Sequence[Family], models: Sequence[Model], classes: Sequence[str]) -> Likeness | None:
    """For the first student's teacher at that student's temperature, or else the first teacher at T = 4.

    None where no teacher's predictions are at hand, or with fewer than three classes.
    """
    teacher, temperature = who_and_at_what(found, models)
    if teacher is None or teacher.log_probs is None or len(classes) < 3:
        return None
    matrix = np.nan_to_num(class_similarity(teacher.log_probs, temperature))
    pairs = tuple(
        (one, other, percent(similarity))
        for one, other, similarity in most_alike(teacher.log_probs, temperature, classes, PAIRS)
        if similarity > 0
    )
    return Likeness(teacher.name, f"{temperature:g}", pairs, _squares(matrix, classes))


@dataclass(frozen=True)
class Alike:
    """What one model finds most alike; `member` where it is one of an ensemble's."""

    name: str
    role: str
    member: bool
    pairs: tuple[tuple[str, str, str], ...]


def alike_to_each(
    models: Sequence[Model], ensembles: Sequence[Together], classes: Sequence[str], temperature: float
) -> list[Alike]:
    """The pairs of classes most alike according to every teacher, means of the same members followed by each of these.

    Args:
        models: of the run.
        ensembles: those among its teachers.
        classes: names, in order.
        temperature: of the soft targets.

    Returns:
        Empty where there are not two to compare, or fewer than three classes.
    """
    if len(classes) < 3:
        return []
    same = {one.teacher: several for several in ensembles for one in several.means}
    among = {member for several in ensembles for one in (*several.means, *several.smaller) for member in one.members}
    done: set[Model] = set()
    found: list[Alike] = []
    for teacher in models:
        if teacher.role != "teacher" or teacher in among or not teacher.main:
            continue
        if teacher in done:
            continue
        several = same.get(teacher)
        means = [teacher] if several is None else [one.teacher for one in several.means]
        done |= set(means)
        for mean in means:
            found += _alike(mean, mean.name, False, classes, temperature)
        members = () if several is None else several.first.members
        for name, member in zip(member_names(members), members, strict=True):
            found += _alike(member, name, True, classes, temperature)
    return found if len(found) > 1 else []


def _alike(model: Model, name: str, member: bool, classes: Sequence[str], temperature: float) -> list[Alike]:
    if model.log_probs is None:
        return []
    pairs = most_alike(model.log_probs, temperature, classes, PAIRS_OF_EACH)
    return [Alike(name, model.role, member, tuple((one, other, percent(value)) for one, other, value in pairs))]


def who_and_at_what(found: Sequence[Family], models: Sequence[Model]) -> tuple[Model | None, float]:
    """The first student's teacher and its temperature; where students name none, the first teacher and T = 4.

    None where the students' teachers have no predictions: another's say nothing about what they learnt.
    """
    temperature = DEFAULT_TEMPERATURE
    for family in found:
        if family.teacher is not None and family.teacher.log_probs is not None:
            given = family.student.variant.get("temperature")
            if isinstance(given, int | float) and not isinstance(given, bool) and given > 0:
                temperature = float(given)
            return family.teacher, temperature
    if any(family.teacher is not None for family in found):
        return None, temperature
    return next((m for m in models if m.role == "teacher" and m.log_probs is not None), None), temperature


def _squares(matrix: np.ndarray, classes: Sequence[str]) -> tuple[tuple[str, tuple[Square, ...]], ...]:
    if len(classes) > MOST_CLASSES:
        return ()
    off = ~np.eye(len(classes), dtype=bool)
    low, high = float(matrix[off].min()), float(matrix[off].max())
    span = high - low or 1.0
    decimals = 1 if high >= 0.01 else 2
    rows = []
    for i, name in enumerate(classes):
        cells = [
            Square(percent(float(value), decimals), None if i == j else round((float(value) - low) / span, 3))
            for j, value in enumerate(matrix[i])
        ]
        rows.append((name, tuple(cells)))
    return tuple(rows)
