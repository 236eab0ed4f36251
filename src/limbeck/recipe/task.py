"""The typed form of `[[task]]`, and the recipe of one task where there are several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from limbeck.recipe.data import Data
from limbeck.recipe.errors import no_such_part, shown
from limbeck.recipe.general import GENERAL, General
from limbeck.recipe.rows import PlannedRow
from limbeck.recipe.settings import Encoder, Name, Table
from limbeck.recipe.student import Reference, Student
from limbeck.recipe.teacher import Teacher

if TYPE_CHECKING:
    from limbeck.recipe.form import Recipe

TASK = "task"
"""The key by which a task's rows are told apart."""


class Task(Table):
    """Labelled data of its own, for which all teachers, students and references are trained and measured.

    `data`: everything that a recipe's `[data]` takes.
    """

    name: Name
    data: Data = Field(description='a table with a "source"')


def of_task(recipe: Recipe, task: Task) -> Recipe:
    """The recipe of one of its tasks alone, without claims, which are of all; regressions are the first task's."""
    assert recipe.task is not None
    exclude = {"task", "claim"} if task == recipe.task[0] else {"task", "claim", "regression"}
    whole: dict[str, Any] = recipe.model_dump(by_alias=True, exclude_none=True, exclude=exclude)
    return type(recipe).model_validate({**whole, "data": task.data.model_dump(exclude_none=True)})


def rows_of_tasks(rows: Sequence[PlannedRow], tasks: Sequence[Task] | None) -> list[PlannedRow]:
    """The rows of each task; those of regressions, which have data of their own, once."""
    if tasks is None:
        return list(rows)
    found = [
        replace(row, variant={**row.variant, TASK: task.name}) for task in tasks for row in rows if not row.regression
    ]
    return found + [row for row in rows if row.regression]


def start_problems(
    teachers: Sequence[Teacher], others: Sequence[Student | Reference], generals: Sequence[General] | None
) -> Iterator[str]:
    """Phrases about encoders that begin from a general part that there is not."""
    names = [part.name for part in generals or ()]
    parts: list[tuple[str, Teacher | Student | Reference]] = [("teacher", part) for part in teachers]
    parts += [("student" if isinstance(part, Student) else "reference", part) for part in others]
    for section, part in parts:
        swept = part.swept() if isinstance(part, Student | Reference) else [part]
        trials = [trial for one in swept for trial in (one.trials() if isinstance(one, Student) else [one])]
        for trial in trials:
            given = trial.model.from_ if isinstance(trial.model, Encoder) else None
            if given is None or not given.startswith(GENERAL):
                continue
            name = given.removeprefix(GENERAL)
            if name not in names:
                missing = no_such_part("general", name, names)
                beside = "" if names else ": add it as a [[general]] part"
                yield f"{section}.{part.name}.model.from: {missing}{beside}"


def unread_data(tasks: Any) -> dict[str, Any]:
    """What stands for `[data]` where nothing is distilled without a task, and so nothing reads them.

    Args:
        tasks: as given, not checked yet.
    """
    first = tasks[0].get("data") if isinstance(tasks, list) and tasks and isinstance(tasks[0], dict) else None
    source = first.get("source") if isinstance(first, dict) else None
    return {"data": {"source": source}} if isinstance(source, str) else {}


def data_problems(data: Data, tasks: Sequence[Task] | None, generals: Sequence[General] | None) -> Iterator[str]:
    """Phrases about settings of `[data]` that plain text has none of, or that nothing reads."""
    if tasks is None:
        return
    if not generals and data != Data(source=tasks[0].data.source):
        yield (
            "data: with tasks these are texts for general distillation, and there is none: leave them out, or add a "
            "[[general]] part"
        )
        return
    for key in ("test", "labels"):
        if (value := getattr(data, key)) is not None:
            yield (
                f"data.{key}: found {shown(value)}, but with tasks these are texts to distil on alone: set it in the "
                "data of a [[task]]"
            )
