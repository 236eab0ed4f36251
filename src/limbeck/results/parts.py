"""The names by which run.json knows a run's artifacts: what is shown, what was tried for it, what it learnt from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from limbeck.plan.derived import derived
from limbeck.plan.model_stage import ModelStage
from limbeck.plan.planner import Planner, StudentPlan
from limbeck.recipe.rows import setting
from limbeck.rows import model_id, plain


def run_parts(planners: Sequence[Planner], generals: Sequence[ModelStage]) -> dict[str, str]:
    """The keys of all that a run needs: what is distilled without a task, then the `planned_parts` of each plan."""
    known = general_parts(generals)
    return known | {name: key for planner in planners for name, key in planned_parts(planner, known).items()}


def general_parts(generals: Sequence[ModelStage]) -> dict[str, str]:
    """The keys of encoders that are distilled without a task, and of what they need."""
    return {one.id: one.identity.key for stage in generals for one in (*stage.needs, stage)}


def planned_parts(planner: Planner, known: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """The key of every artifact that a run needs, by name, as far as that is known before anything is made.

    Args:
        planner: of the run, or of one of its tasks.
        known: artifacts that have a name already.
    """
    parts = {stage.id: stage.identity.key for stage in planner.members()}
    parts |= {f"teacher/{_label(planner, stage)}": stage.identity.key for stage in planner.teachers()}
    parts |= _folds([*planner.members(), *planner.teachers()])
    trials: Counter[str] = Counter()  # students of one name may each have a grid
    needing = [*planner.members(), *planner.teachers(), *planner.references()]
    for plan in planner.students():
        parts |= _behind(planner, plan.trials[0], plan.student.transfer)
        needing += [*plan.trials, *plan.baselines]
        for stages in (plan.trials, plan.baselines):
            if len(stages) == 1:
                parts[stages[0].id] = stages[0].identity.key
            else:
                for stage in stages:
                    fixed = _fixed(plan, stage)
                    trials[row := model_id(stage.role, stage.name, fixed)] += 1
                    parts[model_id(stage.role, stage.name, {**fixed, "trial": trials[row]})] = stage.identity.key
        if not plan.student.grid:
            for trained in (*plan.trials, *plan.baselines):
                for stage in derived(planner, plan.student, trained):
                    parts |= {stage.id: stage.identity.key, **_behind(planner, stage, plan.student.transfer)}
                    needing.append(stage)
    parts |= {stage.id: stage.identity.key for stage in planner.references()}
    parts |= {stage.id: stage.identity.key for stage in planner.regressions()}
    return parts | _further({**known, **parts}, needing)


def shown_parts(
    planner: Planner,
    shown: Sequence[tuple[ModelStage, str | None]],
    known: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """The keys of the models that the results show, and of what they were made from.

    Args:
        planner: of the run.
        shown: each model's stage, and the name of its transfer set.
        known: artifacts that have a name already.
    """
    parts: dict[str, str] = {}
    for stage, transfer in shown:
        parts |= {stage.id: stage.identity.key, **_behind(planner, stage, transfer)}
    return parts | _further({**known, **parts}, [stage for stage, _ in shown])


def _further(parts: Mapping[str, str], stages: Iterable[ModelStage]) -> dict[str, str]:
    """What stages need that has no name yet: what lies deeper behind a student that teaches, or behind weights."""
    known, found = set(parts.values()), dict[str, str]()
    for one in (one for stage in stages for one in (*stage.needs, stage)):
        kind = "reference" if one.role == "reference" else "teacher" if one.identity.kind == "teacher" else one.role
        keys = [(kind, one.name, one.identity.key)] if one.path is None else []
        keys += [
            ("knowledge", teacher.name, recording.identity.key)
            for teacher, recordings in one.recorded()
            for recording in recordings
        ]
        found |= {f"{role}/{plain(name)}-behind={key[:12]}": key for role, name, key in keys if key not in known}
    return found


def _folds(teachers: Iterable[ModelStage]) -> dict[str, str]:
    """What is trained beside teachers without some rows each."""
    return {fold.id: fold.identity.key for teacher in teachers for fold in teacher.apart}


def _fixed(plan: StudentPlan, stage: ModelStage) -> dict[str, Any]:
    """What tells a trial's row apart, without what is tried: a trial is called by that, and its number."""
    tried = {setting(path) for path in plan.student.grid or {}}
    return {key: value for key, value in stage.variant.items() if key not in tried}


def _behind(planner: Planner, stage: ModelStage, transfer: str | None) -> dict[str, str]:
    """The artifacts that a model is made from."""
    parts: dict[str, str] = {}
    if stage.made is not None:
        for student in stage.made.needs:
            parts |= _behind(planner, student, transfer)
        judge = stage.made.needs[-1]
        if judge is not stage.made.student:
            parts[model_id(judge.role, judge.name, {**judge.variant, "refit": False})] = judge.identity.key
    if stage.teacher is not None and transfer is not None:
        made_here = (member for member in stage.teacher.members if member.path is None)
        for taught in (*made_here, stage.teacher):
            role = "reference" if taught.role == "reference" else "teacher"
            parts[f"{role}/{_label(planner, taught)}"] = taught.identity.key
            parts |= _folds([taught])
        for teacher, recordings in stage.recorded():
            label = _label(planner, teacher)
            several = len({recording.part.inputs_hash for recording in recordings}) > 1
            for one in recordings:
                part = f"-{plain(one.part.name)}" if several else ""
                parts[f"knowledge/{label}-{transfer}{part}-view={one.view}"] = one.identity.key
    return parts


def _label(planner: Planner, teacher: ModelStage) -> str:
    """A teacher's name; one that only trials have, before the refit, is told apart."""
    for shown in (*planner.teachers(), *planner.members()):
        if shown.identity.key == teacher.identity.key and (shown.role == "reference") == (teacher.role == "reference"):
            return shown.id.partition("/")[2]
    if teacher.path is not None:  # a member of a mean that is given
        return teacher.name
    number = f"-member={teacher.variant['member']}" if "member" in teacher.variant else ""
    task = "" if planner.task is None else f"-task={planner.task}"
    return f"{teacher.name}{number}{task}-trials"
