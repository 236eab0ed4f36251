"""The names by which run.json knows a run's artifacts: what is shown, what was tried for it, what it learnt from."""

from __future__ import annotations

from collections.abc import Iterable

from limbeck.model_stage import ModelStage
from limbeck.plan import Planner, StudentPlan
from limbeck.recipe_rows import setting
from limbeck.rows import model_id


def planned_parts(planner: Planner) -> dict[str, str]:
    """The key of every artifact that a run needs, by name, as far as that is known before anything is made."""
    parts = {f"teacher/{_label(planner, stage)}": stage.identity.key for stage in planner.teachers()}
    for plan in planner.students():
        parts |= _behind(planner, plan.trials[0], plan.student.transfer)
        for stages in (plan.trials, plan.baselines):
            if len(stages) == 1:
                parts[stages[0].id] = stages[0].identity.key
            else:
                parts |= {trial_name(plan, stage, number): stage.identity.key for number, stage in enumerate(stages, 1)}
        if not plan.student.grid:
            for stage in planner.corrected(plan.student, plan.trials[0]):
                parts |= {stage.id: stage.identity.key, **_behind(planner, stage, plan.student.transfer)}
    parts |= {stage.id: stage.identity.key for stage in planner.references()}
    return parts | {stage.id: stage.identity.key for stage in planner.regressions()}


def shown_parts(planner: Planner, shown: Iterable[tuple[ModelStage, str | None]]) -> dict[str, str]:
    """The keys of the models that the results show, and of what they were made from.

    Args:
        planner: of the run.
        shown: each model's stage, and the name of its transfer set.
    """
    parts: dict[str, str] = {}
    for stage, transfer in shown:
        parts |= {stage.id: stage.identity.key, **_behind(planner, stage, transfer)}
    return parts


def trial_name(plan: StudentPlan, stage: ModelStage, number: int) -> str:
    """What a trial of a grid is called: its row's name without what is tried, and its number."""
    tried = {setting(path) for path in plan.student.grid or {}}
    fixed = {key: value for key, value in stage.variant.items() if key not in tried}
    return model_id(stage.role, stage.name, {**fixed, "trial": number})


def _behind(planner: Planner, stage: ModelStage, transfer: str | None) -> dict[str, str]:
    """The artifacts that a model is made from."""
    parts: dict[str, str] = {}
    if stage.bias is not None:
        for student in (stage.bias.student, stage.bias.judge):
            parts |= _behind(planner, student, transfer)
        if stage.bias.judge is not stage.bias.student:
            judge = stage.bias.judge
            parts[model_id(judge.role, judge.name, {**judge.variant, "refit": False})] = judge.identity.key
    if stage.teacher is not None and transfer is not None:
        label = _label(planner, stage.teacher)
        parts[f"teacher/{label}"] = stage.teacher.identity.key
        parts |= {f"knowledge/{label}-{transfer}-view={r.view}": r.identity.key for r in stage.recordings}
    return parts


def _label(planner: Planner, teacher: ModelStage) -> str:
    """A teacher's name; one that only trials have, before the refit, is told apart."""
    for shown in planner.teachers():
        if shown.identity.key == teacher.identity.key:
            return shown.id.removeprefix("teacher/")
    return f"{teacher.name}-trials"
