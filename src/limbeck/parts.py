"""The names by which run.json knows a run's artifacts: what is shown, what was tried for it, what it learnt from."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.outcome import Entry
from limbeck.plan import ModelStage, Planner
from limbeck.rows import model_id


def planned_parts(planner: Planner) -> dict[str, str]:
    """The key of every artifact that a run needs, by name, as far as that is known before anything is made."""
    parts = {f"teacher/{_label(planner, stage)}": stage.identity.key for stage in planner.teachers()}
    for plan in planner.students():
        student, first = plan.student, plan.trials[0]
        teacher = planner.teacher(student.teacher, refit=first.rows is planner.all_rows)
        parts[f"teacher/{_label(planner, teacher)}"] = teacher.identity.key
        parts |= _knowledge(planner, first, teacher, student.transfer)
        for stages in (plan.trials, plan.baselines):
            for number, stage in enumerate(stages, start=1):
                name = model_id(stage.role, stage.name, stage.variant)
                trial = f"{stage.role}/{stage.name}-trial={number}"
                parts[name if len(stages) == 1 else trial] = stage.identity.key
    return parts


def shown_parts(planner: Planner, entries: Sequence[Entry]) -> dict[str, str]:
    """The keys of the models that the results show, and of the knowledge that they learnt from."""
    parts = {entry.id: entry.stage.identity.key for entry in entries}
    for entry in entries:
        if entry.teacher is not None and entry.transfer is not None:
            parts |= _knowledge(planner, entry.stage, entry.teacher, entry.transfer)
    return parts


def _knowledge(planner: Planner, stage: ModelStage, teacher: ModelStage, transfer: str) -> dict[str, str]:
    label = _label(planner, teacher)
    return {f"knowledge/{label}-{transfer}-view={r.view}": r.identity.key for r in stage.recordings}


def _label(planner: Planner, teacher: ModelStage) -> str:
    """A teacher's name; one that only the trials of a grid have, before the refit, is told apart."""
    for shown in planner.teachers():
        if shown.identity.key == teacher.identity.key:
            return model_id("teacher", shown.name, shown.variant).removeprefix("teacher/")
    return f"{teacher.name}-trials"
