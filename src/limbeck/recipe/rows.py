"""Which rows a recipe's results will have: what they are called, and what tells those of one name apart."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.recipe.errors import shown
from limbeck.recipe.settings import Distill, SoftTree, Train
from limbeck.recipe.student import Reference, Student
from limbeck.recipe.teacher import Teacher
from limbeck.recipe.transfer import Select, Transfer
from limbeck.rows import model_id, row_label

Variant = dict[str, Any]

_EXACT = 2**53  # up to which a float can be any whole number

# What is asked of the teacher makes no difference to a baseline.
OF_THE_TEACHER = {"teacher"} | set(Distill.model_fields) - {"label_smoothing"}


@dataclass(frozen=True)
class PlannedRow:
    """A row that the results will have.

    Attributes:
        role: teacher, student, baseline or reference.
        name: the part's.
        variant: what tells it apart from others of its name.
        settings: what decides the model behind it.
        beside: whether it stands beside a baseline, with a verdict.
        judged: whether its last epoch was judged on rows that it was not trained on.
        curve: whether there are errors over epochs.
        regression: whether it is a depth of a regression.
    """

    role: str
    name: str
    variant: Variant
    settings: Mapping[str, Any]
    beside: bool = False
    judged: bool = False
    curve: bool = False
    regression: bool = False

    @property
    def id(self) -> str:
        """Its name in predictions/ and models/."""
        return model_id(self.role, self.name, self.variant)


def student_variant(student: Student, transfer: Transfer) -> Variant:
    """What tells a student's row apart: what it was taught at, the rows it saw, and what the recipe names."""
    distill = student.distill
    variant: Variant = {} if distill.members is None else {"members": distill.members}
    if distill.soft and distill.loss == "soft_targets":
        variant["temperature"] = _tidy(distill.temperature)
    elif distill.soft:
        variant["loss"] = distill.loss
    if transfer.views.rows is not None:
        some = transfer.select is not None and transfer.select.rows is not None
        variant["synthetic" if some else "rows"] = transfer.views.rows  # "rows" is then how many real ones
    if distill.soft and distill.targets != "teacher":
        variant["targets"] = distill.targets
    return {**variant, **_selected(transfer.select), **_named(student, transfer)}


def baseline_variant(student: Student, transfer: Transfer) -> Variant:
    """What tells its baseline's row apart."""
    named = {key: value for key, value in _named(student, transfer).items() if key not in OF_THE_TEACHER}
    return {**_selected(transfer.select), **named}


def reference_variant(reference: Reference, transfer: Transfer) -> Variant:
    """What tells a reference's row apart."""
    return {**_selected(transfer.select), **_named(reference, transfer)}


def planned_rows(
    students: Sequence[Student],
    references: Sequence[Reference],
    transfers: Sequence[Transfer],
    refitted: Collection[str] = (),
) -> Iterator[tuple[str, PlannedRow]]:
    """The rows of students, baselines and references, each with the part it comes from.

    Of a grid every trial is among them: any of them may be the row that is shown.

    Args:
        students: as in the recipe.
        references: likewise.
        transfers: likewise.
        refitted: names of the teachers that are, and whose students and their baselines therefore are.
    """
    transfer_of = {transfer.name: transfer for transfer in transfers}
    for number, student in enumerate(student for part in students for student in part.swept()):
        transfer = transfer_of[student.transfer]
        part = f"student.{student.name}"
        refit = student.train.refit or student.teacher in refitted
        on_labels = {**_on_labels(student, transfer), "refit": refit}
        trained = _what_comes_of(student.train, refit)
        for trial in student.trials():
            variant = student_variant(trial, transfer)
            yield part, PlannedRow("student", student.name, variant, {"student": number}, student.baseline, **trained)
            if student.baseline:
                labels_alone = baseline_variant(trial, transfer)
                yield part, PlannedRow("baseline", student.name, labels_alone, on_labels, **trained)
            for made in _made_from(student):
                beside = student.baseline and made != {"bias": "test"}
                yield (
                    part,
                    PlannedRow("student", student.name, {**variant, **made}, {"student": number, **made}, beside),
                )
                if student.baseline:
                    of_labels = {**baseline_variant(trial, transfer), **made}
                    yield part, PlannedRow("baseline", student.name, of_labels, {**on_labels, **made})
    for number, reference in enumerate(reference for part in references for reference in part.swept()):
        variant = reference_variant(reference, transfer_of[reference.transfer])
        trained = _what_comes_of(reference.train, reference.train.refit)
        of = {"reference": number}
        yield f"reference.{reference.name}", PlannedRow("reference", reference.name, variant, of, **trained)


def _made_from(student: Student) -> list[Variant]:
    """What tells the rows apart that are made from a student without training."""
    pruned = [] if student.prune is None else [{"pruned": student.prune}]
    return [
        *({"bias": rows} for rows in student.bias),
        *({"predict": way} for way in student.also_predict or []),
        *pruned,
    ]


def _what_comes_of(train: Train, refit: bool) -> dict[str, bool]:
    return {"judged": not refit, "curve": train.snapshot_every is not None}


def teacher_rows(teacher: Teacher, wanted: Collection[bool], members: Sequence[int] = ()) -> list[PlannedRow]:
    """The rows of a teacher: refitted where a student of it is, and beside it, if one is not, the other.

    Those of its members, which are references, come before it; after it, the mean of the first so many.

    Args:
        teacher: as in the recipe.
        wanted: whether it is refitted, or both.
        members: how many of its members some student learns from, where not from all.
    """
    rows = []
    for refit in sorted(wanted, reverse=True):
        apart = {} if refit is max(wanted) else {"refit": False}
        trained = {} if teacher.train is None else _what_comes_of(teacher.train, refit)
        for number in range(1, (teacher.members or 0) + 1):
            rows.append(PlannedRow("reference", teacher.called, {"member": number, **apart}, {}, **trained))
        own = {} if teacher.several else trained
        rows.append(PlannedRow("teacher", teacher.name, apart, {}, **own))
        rows += [PlannedRow("teacher", teacher.name, {"members": number, **apart}, {}) for number in members]
    return rows


def row_problems(rows: Sequence[tuple[str, PlannedRow]]) -> list[str]:
    """Phrases about different rows that would be called the same, without regard to capitals."""
    seen: dict[str, PlannedRow] = {}
    problems = []
    for part, row in rows:
        before = seen.setdefault(row.id.lower(), row)
        if before.name != row.name:
            both = f"{shown(before.name)} and {shown(row.name)}"
            problems.append(f"{part}: found the names {both}, expected a difference in more than capitals")
        elif before.settings != row.settings:
            label = row_label({"name": row.name, "variant": row.variant})
            problems.append(
                f"{part}: found two rows {row.role} {label}, expected every one once: give one another name, or "
                'name in its "variant" what tells it apart, such as ["epochs"]'
            )
    return list(dict.fromkeys(problems))


def _on_labels(student: Student, transfer: Transfer) -> dict[str, Any]:
    """What decides a student's baseline: of a transfer set, the rows and their views, but none that are synthetic."""
    grid = {path: values for path, values in (student.grid or {}).items() if setting(path) not in OF_THE_TEACHER}
    views = transfer.views if transfer.views.count and transfer.views.rows is None else None
    settings = {
        **student.model_dump(include={"model", "train"}),
        "select": transfer.select,
        "parts": [part for part in transfer.parts if part != "train"],
        "views": views and views.model_dump(exclude={"count"}),
    }
    return {**settings, "label_smoothing": student.distill.label_smoothing, "grid": grid}


def setting(path: str) -> str:
    """The setting at the end of a grid's dotted path."""
    return path.rpartition(".")[2]


def _selected(select: Select | None) -> Variant:
    return {} if select is None else {key: value for key, value in select.model_dump().items() if value}


def _named(part: Student | Reference, transfer: Transfer) -> Variant:
    settings: Variant = {
        "views": transfer.views.count, "unlabelled": transfer.unlabelled, "transfer": part.transfer
    }  # fmt: skip
    if isinstance(part, Student):
        settings |= {"teacher": part.teacher, **part.distill.model_dump()}
    settings |= {**part.train.model_dump(), **part.model.model_dump(by_alias=True, exclude={"kind"})}
    always = ["predict"] if isinstance(part.model, SoftTree) else []
    return {key: _tidy(settings[key]) for key in (*always, *part.variant) if settings[key] is not None}


def _tidy(value: Any) -> Any:
    return int(value) if isinstance(value, float) and abs(value) < _EXACT and value == int(value) else value
