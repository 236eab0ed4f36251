"""From a recipe to stages: what has to be made, each with its key, before anything is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.data import Part, Split, SyntheticSettings, ViewSettings
from limbeck.data.unlabelled import check_held_out, unlabelled_part
from limbeck.errors import UsageError
from limbeck.knowledge import Recording
from limbeck.objectives import Objective
from limbeck.plan.general_stage import GeneralPlanner
from limbeck.plan.given_teacher import PredictionsModel
from limbeck.plan.model_stage import ModelStage, Start
from limbeck.plan.plan_checks import check_recipe
from limbeck.plan.row_sets import RowSets
from limbeck.plan.starting import stage_start, with_texts
from limbeck.plan.teacher_plan import TeacherPlanner
from limbeck.plan.trained_stage import trained_stage, view_settings
from limbeck.recipe import Recipe, Reference, Student, Transfer, TransferViews
from limbeck.recipe.rows import OF_THE_TEACHER, baseline_variant, reference_variant, setting, student_variant
from limbeck.recipe.settings import FILE, FITTED_AT_ONCE, Encoder
from limbeck.recipe.task import TASK
from limbeck.recipe.transfer import SYNTHETIC
from limbeck.regression import RegressionStage, load_task


@dataclass(frozen=True)
class StudentPlan:
    """A student with everything it needs: candidates to choose from on validation rows, and their baselines.

    Attributes:
        student: as in the recipe.
        trials: one stage for each setting tried; one without a grid.
        baselines: likewise for the baseline, without settings that make no difference to it; empty without one.
        final_refit: whether what is chosen is trained anew on all rows.
    """

    student: Student
    trials: tuple[ModelStage, ...]
    baselines: tuple[ModelStage, ...]
    final_refit: bool = False

    @property
    def made(self) -> list[ModelStage]:
        """Those that are trained: one alone, which is refitted, is chosen without being tried."""
        ways = (self.trials, self.baselines)
        return [stage for tried in ways for stage in tried if len(tried) > 1 or not self.refits]

    @property
    def refits(self) -> bool:
        """Whether what a grid chooses is then trained anew."""
        return bool(self.student.grid) and self.final_refit


@dataclass
class Planner:
    """Turns a recipe's parts into stages.

    Args:
        recipe: checked.
        split: the data, cut.
        seed: of everything but the split.
        beside: the recipe's folder, where a teacher's path, and a part's, is looked for first.
        say: told, in a line, what was made of a part that was read.
        task: whose data these are, where the recipe has several; it tells all rows apart from those of others.
        generals: the encoders that are distilled without a task; by default from the training rows.
    """

    recipe: Recipe
    split: Split
    seed: int
    beside: Path | None = None
    say: Callable[[str], None] | None = None
    task: str | None = None
    generals: GeneralPlanner | None = None

    def __post_init__(self) -> None:
        self.rows = RowSets(self.split, self.recipe.data.split_seed, self._read_part)
        if self.generals is None:
            texts, held_out = self.split.train, self.split.validation
            self.generals = GeneralPlanner(self.recipe, texts, held_out, self.seed, self.beside, self.say)
        self._apart = {} if self.task is None else {TASK: self.task}
        self._teachers = TeacherPlanner(
            self.recipe, self.rows, self.seed, self.beside, self.student_stage, self.say, self.generals, self._apart
        )
        check_recipe(self.recipe, self.rows)

    def _read_part(self, name: str) -> Part:
        """The rows of a part that lies in a file: none of them held out for choices or measurements."""
        reading = self.recipe.data.reading()
        path, like = name.removeprefix(FILE), self.split.train
        part = unlabelled_part(path, like, reading, beside=self.beside, name=name, say=self.say)
        check_held_out(part, self.split)
        return part

    def teachers(self) -> list[ModelStage]:
        """The teachers in the recipe's order: refitted where they or a student of theirs are to be."""
        return self._teachers.shown()

    def members(self) -> list[ModelStage]:
        """The members of teachers that are several of one kind, which the results show among the references."""
        return self._teachers.members()

    def students_asked_for(self) -> list[Student]:
        """The students in the recipe's order, one for each value of a sweep."""
        return list(self._asked_for)

    @cached_property
    def _asked_for(self) -> list[Student]:
        return [student for part in self.recipe.student for student in part.swept()]

    def students(self) -> list[StudentPlan]:
        """Their plans; where there is a grid, their trials on the validation split."""
        return [self.student(student) for student in self.students_asked_for()]

    def student(self, student: Student) -> StudentPlan:
        """One student with its baseline."""
        refit = self.final_refit(student) and not student.grid
        trials: dict[str, ModelStage] = {}  # values without effect make no trial of their own
        baselines: dict[str, ModelStage] = {}
        for trial, values in zip(student.trials(), student.grid_values(), strict=True):
            stage = self.student_stage(trial, refit)
            trials.setdefault(stage.identity.key, replace(stage, tried=values))
            if student.baseline:
                stage = self.baseline_stage(trial, refit)
                baselines.setdefault(stage.identity.key, replace(stage, tried=_tried("baseline", values)))
        final_refit = self.final_refit(student)
        return StudentPlan(student, tuple(trials.values()), tuple(baselines.values()), final_refit)

    def references(self) -> list[ModelStage]:
        """The references in the recipe's order."""
        found = []
        for reference in (reference for part in self.recipe.reference for reference in part.swept()):
            transfer = self.transfer(reference.transfer)
            stage = self._on_labels("reference", reference, transfer, reference.train.refit)
            found.append(replace(stage, variant={**reference_variant(reference, transfer), **self._apart}))
        return found

    def regressions(self) -> list[RegressionStage]:
        """The regressions in the recipe's order: for each loss, every depth."""
        return [
            RegressionStage(part.name, part.source, load_task(part.source), depth, power, part, self.seed)
            for part in self.recipe.regression
            for power in part.powers
            for depth in part.depths
        ]

    def transfer(self, name: str) -> Transfer:
        """A transfer set by name."""
        return next(part for part in self.recipe.transfer if part.name == name)

    def refitted(self, student: Student, stage: ModelStage) -> ModelStage:
        """The stage chosen on validation rows, trained anew on all rows."""
        return replace(self.trial_like(student, stage, refit=True), tried=stage.tried)

    def student_stage(self, student: Student, refit: bool) -> ModelStage:
        """A student without a grid."""
        transfer = self.transfer(student.transfer)
        teacher = self._teaching(student, refit)
        found = self.rows.transfer_set(transfer, refit)
        recordings = self._recordings(transfer, teacher, found.parts)
        targets = student.distill.targets
        stage = trained_stage(
            "student", student, found.rows, self.seed, recordings=recordings, select=transfer.select, targets=targets,
            objective=Objective(**student.distill.model_dump(exclude={"targets", "members"}, exclude_none=True)),
            teacher=teacher, confidence=transfer.confidence, start=self._start(student, refit),
        )  # fmt: skip
        return replace(stage, variant={**student_variant(student, transfer), **self._apart})

    def _start(self, part: Student | Reference, refit: bool) -> Start | None:
        """What an encoder begins with: what it names, or the student's teacher."""
        if not isinstance(part.model, Encoder):
            return None
        where = f"{'student' if isinstance(part, Student) else 'reference'}.{part.name}.model.from"
        if part.model.from_ is not None:
            start: Start | None = self._teachers.named_start(part.model.from_, where)
        elif isinstance(part, Student):
            start = stage_start(self._teachers.teacher(part.teacher, refit))
            if start is None:
                raise UsageError(
                    f"{where}: missing, and teacher {part.teacher} is no encoder whose layers it could take: give a "
                    'folder, a name on the hub, or "minilm"'
                )
        else:
            raise UsageError(f'{where}: missing, expected a folder, a name on the hub, or "minilm"')
        assert start is not None
        texts = self.rows.transfer_set(self.transfer(part.transfer), refit).rows.train
        return with_texts(start, part.model, texts)

    def _teaching(self, student: Student, refit: bool) -> ModelStage:
        """A student's teacher: of several, those that it learns from."""
        (teacher,) = (part for part in self.recipe.teacher if part.name == student.teacher)
        members = student.distill.members
        some = members if members is not None and members < self.recipe.member_count(teacher.name) else None
        return self._teachers.teacher(teacher.name, refit, some)

    def baseline_stage(self, student: Student, refit: bool) -> ModelStage:
        """The same network with the same training, on labels alone; views are fresh in every epoch."""
        transfer = self.transfer(student.transfer)
        smoothing = student.distill.label_smoothing
        stage = self._on_labels("baseline", student, transfer, refit, smoothing)
        variant = {**baseline_variant(student, transfer), **self._apart}
        return replace(stage, variant=variant, teacher=self._teaching(student, refit))

    def final_refit(self, student: Student) -> bool:
        """Whether the student that is shown is trained on all rows, and so by a teacher that was."""
        return student.train.refit or self.recipe.teaches_refitted(student.teacher)

    def trial_like(self, student: Student, stage: ModelStage, refit: bool) -> ModelStage:
        """The trial, of student or baseline, of which the stage has the settings."""
        make = self.baseline_stage if stage.role == "baseline" else self.student_stage
        pairs = zip(student.trials(), student.grid_values(), strict=True)
        return make(next(trial for trial, values in pairs if _tried(stage.role, values) == stage.tried), refit)

    def _recordings(self, transfer: Transfer, teacher: ModelStage, parts: Sequence[Part]) -> tuple[Recording, ...]:
        """The knowledge that a student learns from: of each teacher and part the rows themselves, then the views."""
        settings = _seen_in(transfer.views)
        known = np.concatenate([one.ids for one in (self.split.train, self.split.validation, self.split.test)])
        for asked in (one for one in teacher.asked if isinstance(one.given, PredictionsModel)):
            if transfer.views.count:
                raise UsageError(
                    f"transfer.{transfer.name}.views: teacher {asked.name} is a file of predictions, which has none "
                    "for views: leave views out, or give a teacher that can be asked"
                )
            for part in parts:
                if part.name.startswith(FILE) and np.isin(part.ids, known).any():
                    raise UsageError(
                        f"transfer.{transfer.name}.parts: teacher {asked.name} is a file of predictions, which knows "
                        f"rows by their ids, and {part.name} has ids that rows of the data have, too: give it ids of "
                        "its own (data.id), leave it out, or give a teacher that can be asked"
                    )
        return tuple(
            Recording(
                asked.identity.key, part, view, settings if view else ViewSettings(), self.seed if view else 0,
                transfer.dtype, part.name.startswith(FILE) and not isinstance(asked.given, PredictionsModel),
            )
            for asked in teacher.asked
            for part in parts
            for view in range(transfer.views.count + 1)
        )  # fmt: skip

    def _on_labels(
        self, role: str, part: Student | Reference, transfer: Transfer, refit: bool, smoothing: float = 0.0
    ) -> ModelStage:
        rows, times = self.rows.on_labels(transfer, refit)
        if times > 1 and role == "baseline" and part.model.kind not in FITTED_AT_ONCE:
            # As many steps as the student, which has rows without labels, too.
            train = part.train.model_copy(update={"passes": times * (part.train.passes or 1)})
            part = part.model_copy(update={"train": train})
        return trained_stage(
            role, part, rows, self.seed, select=transfer.select,
            objective=Objective(loss="hard_labels", label_smoothing=smoothing),
            fresh_views=view_settings(transfer.views) if transfer.views.count else None,
            start=self._start(part, refit),
        )  # fmt: skip


def _tried(role: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a grid's values, those that make a difference: what is asked of the teacher makes none to a baseline."""
    if role != "baseline":
        return dict(values)
    return {path: value for path, value in values.items() if setting(path) not in OF_THE_TEACHER}


def _seen_in(views: TransferViews) -> ViewSettings | SyntheticSettings:
    """How the views of a transfer set are made."""
    if views.rows is None:
        return view_settings(views) or ViewSettings()
    given = views.model_dump(include={*SYNTHETIC[views.rows]})
    return SyntheticSettings(views.rows, **given)
