"""The typed form of a recipe: what may be asked for, and everything's default.

The keys, and what each means, are these classes' fields. Nothing here loads torch or numpy: a recipe
can be checked before either is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from limbeck.recipe.claim import Claim, claim_problems, one_line
from limbeck.recipe.data import Data
from limbeck.recipe.errors import found, misfit, no_such_part, shown
from limbeck.recipe.general import General
from limbeck.recipe.rows import PlannedRow, planned_rows, row_problems, teacher_rows
from limbeck.recipe.settings import FITTED_AT_ONCE, Count, Name, Table
from limbeck.recipe.student import Reference, Student
from limbeck.recipe.task import Task, data_problems, rows_of_tasks, start_problems, unread_data
from limbeck.recipe.teacher import Teacher
from limbeck.recipe.teaching import (
    called_problems,
    mean_problems,
    member_count,
    member_problems,
    members_asked,
    taught_problems,
)
from limbeck.recipe.transfer import Transfer

PLAIN_TRANSFER = {"name": "train"}
"""The transfer set where a recipe has none."""


class Regression(Table):
    """Linear nets of several depths on one regression, each under each loss (1/p)·mean |error|^p.

    Trained by gradient descent on all rows at once for so many `steps`, with each of the step sizes
    `learning_rates`; shown is the one that is soonest close to the least loss that any linear function has, or, where
    none comes close, the one of the lowest loss at the end. `start` is the norm of the function that all depths begin
    with.
    """

    name: Name
    source: Literal["diabetes"] = "diabetes"
    powers: list[Annotated[int, Field(ge=2, le=16)]] = Field(default=[4], min_length=1)
    depths: list[Count] = Field(min_length=1, description="a list of depths, such as [1, 2, 4]")
    learning_rates: list[Annotated[float, Field(gt=0)]] = Field(min_length=1, description="a list of step sizes to try")
    steps: Count = 1000
    start: float = Field(default=0.1, gt=0)

    @model_validator(mode="after")
    def _each_once(self) -> Regression:
        for key in ("powers", "depths", "learning_rates"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise misfit(found(values, "every value once"), key)
        return self


class Recipe(Table):
    """One experiment: data, teachers, transfer sets, students and references, and what a paper claims of them.

    `minutes` is about how long it takes on two cores. Without a transfer set there is one of the plain
    training rows, named `train`; a student or a reference need not name its teacher or its transfer set where
    there is only one. `general`: encoders that are distilled on the texts of `data` before anything else. With `task`
    all of the rest is done for each of these, on its own data, and `data` are texts for general distillation alone.
    """

    title: Annotated[str, AfterValidator(one_line)] = Field(description="one line of text")
    about: str = ""
    minutes: float | None = Field(default=None, ge=0)
    data: Data = Field(description="a table")
    general: list[General] | None = Field(default=None, min_length=1)
    task: list[Task] | None = Field(default=None, min_length=1)
    teacher: list[Teacher] = Field(min_length=1, description="at least one [[teacher]]")
    transfer: list[Transfer]
    student: list[Student] = Field(min_length=1, description="at least one [[student]]")
    reference: list[Reference] = Field(default_factory=list)
    regression: list[Regression] = Field(default_factory=list)
    claim: list[Claim] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """The transfer set, and the references, that may be left out."""
        if not isinstance(data, dict):
            return data
        filled = dict(data)
        if filled.get("transfer", []) == []:
            filled["transfer"] = [dict(PLAIN_TRANSFER)]
        if "data" not in filled and not filled.get("general"):
            filled |= unread_data(filled.get("task"))
        given = filled.get("data")
        if isinstance(given, dict) and given.get("labels") is not None and isinstance(filled["transfer"], list):
            # As parts of their own, so that other transfer sets share what is known of them.
            filled["transfer"] = [_in_two_parts(part) for part in filled["transfer"]]
        only = {key: _only_name(filled.get(key)) for key in ("teacher", "transfer")}
        for section, defaults in (("student", only), ("reference", {"transfer": only["transfer"]})):
            known = {key: name for key, name in defaults.items() if name is not None}
            if isinstance(filled.get(section), list):
                filled[section] = [{**known, **part} if isinstance(part, dict) else part for part in filled[section]]
        return filled

    @model_validator(mode="after")
    def _names_fit(self) -> Recipe:
        problems = [
            *_taken_names("teacher", self.teacher),
            *_taken_names("transfer", self.transfer),
            *_taken_names("regression", self.regression),
            *_taken_names("general", self.general or ()),
            *_taken_names("task", self.task or ()),
            *data_problems(self.data, self.task, self.general),
        ]
        for name in {part.name for part in self.regression} & {part.name for part in self.reference}:
            problems.append(f"regression.{name}: a reference has that name, too, expected another one")
        teachers, transfers = ([part.name for part in parts] for parts in (self.teacher, self.transfer))
        for section, parts in (("student", self.student), ("reference", self.reference)):
            for part in parts:
                where = f"{section}.{part.name}"
                if isinstance(part, Student) and part.teacher not in teachers:
                    problems.append(f"{where}.teacher: {no_such_part('teacher', part.teacher, teachers)}")
                if part.transfer not in transfers:
                    problems.append(f"{where}.transfer: {no_such_part('transfer', part.transfer, transfers)}")
        problems += [*mean_problems(self.teacher), *called_problems(self.teacher, (*self.reference, *self.regression))]
        problems += start_problems(self.teacher, [*self.student, *self.reference], self.general)
        problems = problems or [*taught_problems(self.teacher, self.student)]
        if not problems:
            problems = [
                *self._bias_problems(),
                *self._view_problems(),
                *member_problems(self.teacher, self.student),
                *self._row_problems(),
            ]
        if problems:
            raise misfit("; ".join(dict.fromkeys(problems)))
        return self

    def member_count(self, name: str) -> int:
        """How many teachers one is."""
        return member_count(next(part for part in self.teacher if part.name == name), self.teacher)

    def members_asked(self, name: str) -> list[int]:
        """How many members of a teacher, where not all, some student learns from; rising, each number once."""
        asked = {members for part in self.student if part.teacher == name for members in members_asked(part)}
        return sorted(members for members in asked if members < self.member_count(name))

    def _bias_problems(self) -> Iterator[str]:
        complete = {
            part.name for part in self.transfer if not (part.select and (part.select.without or part.select.only))
        }
        for student in self.student:
            if student.bias and student.transfer in complete:
                yield (
                    f"student.{student.name}.bias: transfer set {shown(student.transfer)} has all classes, "
                    "expected one whose select leaves some out: the biases of those are raised"
                )

    def _view_problems(self) -> Iterator[str]:
        with_views = {part.name for part in self.transfer if part.views.count and part.views.rows is None}
        for section, parts in (("student", self.student), ("reference", self.reference)):
            for part in parts:
                if part.model.kind in FITTED_AT_ONCE and part.transfer in with_views:
                    yield (
                        f"{section}.{part.name}.transfer: {shown(part.transfer)} has views, expected one without: a "
                        f"{part.model.kind} is fitted to the rows as they are"
                    )
        weighing = {part.name for part in self.transfer if part.confidence is not None and part.confidence.weight}
        for student in self.student:
            if student.model.kind in FITTED_AT_ONCE and student.transfer in weighing:
                yield (
                    f"student.{student.name}.transfer: {shown(student.transfer)} has confidence.weight, expected one "
                    f"without: to a {student.model.kind} all rows count alike"
                )
        without = {part.name: "the synthetic rows" for part in self.transfer if part.views.rows is not None}
        without |= {part.name: "rows" for part in self.transfer if part.unlabelled}
        for student in self.student:
            if student.transfer in without:
                yield from _unlabelled_problems(student, without[student.transfer])

    def rows(self) -> list[PlannedRow]:
        """The rows that the results will have, and those that a grid may choose instead."""
        rows = [row for _, row in self._trained_rows()]
        for part in self.teacher:
            rows += teacher_rows(part, self.teacher_refits(part.name), self.members_asked(part.name))
        rows += [
            PlannedRow("reference", part.name, {"depth": depth, "power": power}, {}, regression=True)
            for part in self.regression
            for power in part.powers
            for depth in part.depths
        ]
        return rows_of_tasks(rows, self.task)

    def teaches_refitted(self, name: str) -> bool:
        """Whether a teacher's students learn from it refitted: it, or one that it is the mean of, says so."""
        return any(self._refitted(part) for part in self._with_members(name))

    def _refitted(self, teacher: Teacher) -> bool:
        if teacher.student is not None:
            (student,) = (part for part in self.student if part.name == teacher.student)
            return student.train.refit or self.teaches_refitted(student.teacher)
        return teacher.train is not None and teacher.train.refit

    def teacher_refits(self, name: str) -> set[bool]:
        """Whether a teacher is refitted on all rows: as its students ask, and those of means that it is part of."""
        means = [part.name for part in self.teacher if name in (part.of or ())]
        asked_for = [student for part in self.student for student in part.swept()]
        taught = [student for student in asked_for if student.teacher in (name, *means)]
        asked = {student.train.refit or self.teaches_refitted(student.teacher) for student in taught}
        return asked or {any(self.teaches_refitted(one) for one in (name, *means))}

    def _with_members(self, name: str) -> list[Teacher]:
        (found,) = (part for part in self.teacher if part.name == name)
        return [found, *(part for part in self.teacher if part.name in (found.of or ()))]

    def _trained_rows(self) -> list[tuple[str, PlannedRow]]:
        refitted = {part.name for part in self.teacher if self.teaches_refitted(part.name)}
        return list(planned_rows(self.student, self.reference, self.transfer, refitted))

    def _row_problems(self) -> Iterator[str]:
        yield from row_problems(self._trained_rows())
        yield from claim_problems(self.claim, self.rows())


def _in_two_parts(transfer: Any) -> Any:
    """A transfer set of the training rows as one of those with labels and those without; not of synthetic ones."""
    if not isinstance(transfer, dict) or transfer.get("parts", ["train"]) != ["train"]:
        return transfer
    views = transfer.get("views")
    made = isinstance(views, dict) and views.get("rows") is not None
    return transfer if made else {**transfer, "parts": ["labelled", "unlabelled"]}


def _unlabelled_problems(student: Student, rows: str) -> Iterator[str]:
    """What a student cannot learn from rows that have no labels."""
    tried = [trial.distill for part in student.swept() for trial in part.trials()]
    where = f"student.{student.name}.distill"
    if not all(distill.soft for distill in tried):
        yield f"{where}.soft: found 0, expected more: {rows} of {shown(student.transfer)} have no labels"
    if any(distill.targets == "smoothed_labels" for distill in tried):
        yield (
            f'{where}.targets: found "smoothed_labels", expected others: {rows} of {shown(student.transfer)} have no '
            "labels"
        )


def _only_name(parts: Any) -> str | None:
    """What a student that names no part of this list refers to; nothing where there are several.

    The list is not checked yet. Where it is wrong its own error will do, and the reference gets no second.
    """
    if not isinstance(parts, list) or not parts:
        return ""
    name = parts[0].get("name") if isinstance(parts[0], dict) else getattr(parts[0], "name", None)
    return None if len(parts) > 1 else name if isinstance(name, str) else ""


def _taken_names(section: str, parts: Sequence[Teacher | Transfer | Regression | General | Task]) -> list[str]:
    """Phrases about names used twice. Names become folders, which in some file systems ignore capitals."""
    seen: dict[str, str] = {}
    problems = []
    for part in parts:
        before = seen.setdefault(part.name.lower(), part.name)
        if before != part.name:
            both = f"{shown(before)} and {shown(part.name)}"
            problems.append(f"{section}: found the names {both}, expected a difference in more than capitals")
        elif [other.name for other in parts].count(part.name) > 1:
            problems.append(f"{section}: found the name {shown(part.name)} twice, expected every name once")
    return list(dict.fromkeys(problems))
