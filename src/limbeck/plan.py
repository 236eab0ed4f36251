"""From a recipe to stages: what has to be made, each with its key, before anything is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.artifacts import Identity
from limbeck.data import Part, Split, ViewSettings
from limbeck.data.views import VIEWS_VERSION
from limbeck.errors import LimbeckError
from limbeck.files import sha256_hex
from limbeck.knowledge import Recording
from limbeck.models import read_description
from limbeck.models.saving import WEIGHTS
from limbeck.objectives import Objective
from limbeck.recipe import Recipe, Select, Student, Teacher, Train, Transfer, ViewSpec
from limbeck.training import TrainSettings

MODEL_VERSION = 2


@dataclass(frozen=True)
class Rows:
    """The labelled rows that a stage works with: those left after the validation split, or, to refit, all."""

    train: Part
    validation: Part

    @cached_property
    def hashes(self) -> dict[str, str]:
        """What enters keys: inputs and labels, of training and of validation rows. Never the test rows'."""
        return {
            "train": self.train.inputs_hash,
            "labels": self.train.labels_hash,
            "validation": self.validation.inputs_hash,
            "validation_labels": self.validation.labels_hash,
        }


@dataclass(frozen=True)
class ModelStage:
    """A model to train, or one that exists: a teacher, a student or a baseline.

    Attributes:
        role: teacher, student or baseline.
        name: the part's name in the recipe; a baseline has its student's.
        identity: what decides the model.
        rows: what it trains and validates on.
        model: kind and settings; None for a teacher given by path.
        train: how; None for a teacher given by path.
        objective: what it minimises.
        fresh_views: new views in every epoch, None for the rows as they are (or in stored views, for a student).
        seed: of initialisation, order and dropout.
        selected: row numbers it trains on; None for all.
        recordings: the knowledge a student learns from, one for each view.
        variant: what tells its row apart from others of the name.
        tried: of a grid, the values that this stage stands for, by dotted path.
        path: the folder of a teacher given by path.
    """

    role: str
    name: str
    identity: Identity
    rows: Rows
    model: Mapping[str, Any] | None = None
    train: Train | None = None
    objective: Objective = field(default_factory=lambda: Objective(loss="hard_labels"))
    fresh_views: ViewSettings | None = None
    seed: int = 0
    selected: npt.NDArray[np.int64] | None = None
    recordings: tuple[Recording, ...] = ()
    variant: Mapping[str, Any] = field(default_factory=dict)
    tried: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.role} {self.name}"

    @property
    def settings(self) -> TrainSettings:
        """The loop's settings; `refit` is not among them: it decides which rows there are."""
        assert self.train is not None
        values = self.train.model_dump(exclude={"refit"})
        return TrainSettings(**(values if len(self.rows.validation) else {**values, "keep": "last"}))


@dataclass(frozen=True)
class StudentPlan:
    """A student with everything it needs: candidates to choose from on validation rows, and their baselines.

    Attributes:
        student: as in the recipe.
        trials: one stage for each setting tried; one without a grid.
        baselines: likewise for the baseline, without settings that make no difference to it; empty without one.
    """

    student: Student
    trials: tuple[ModelStage, ...]
    baselines: tuple[ModelStage, ...]


@dataclass
class Planner:
    """Turns a recipe's parts into stages.

    Args:
        recipe: checked.
        split: the data, cut.
        seed: of everything but the split.
    """

    recipe: Recipe
    split: Split
    seed: int

    @cached_property
    def split_rows(self) -> Rows:
        """Training and validation rows as they were cut."""
        return Rows(self.split.train, self.split.validation)

    @cached_property
    def all_rows(self) -> Rows:
        """All rows but the test rows for training, none for validation: what a refit trains on."""
        parts = (self.split.train, self.split.validation)
        order = np.argsort(np.concatenate([part.ids for part in parts]), kind="stable")
        inputs, labels, ids = (
            np.concatenate([getattr(part, name) for part in parts])[order] for name in ("inputs", "labels", "ids")
        )
        everything = Part("train", inputs, labels, ids, self.split.train.classes)
        return Rows(everything, self.split.validation.take(np.arange(0)))

    def rows_for(self, refit: bool) -> Rows:
        """The rows of a stage that is refitted, or that is not."""
        return self.all_rows if refit else self.split_rows

    def teachers(self) -> list[ModelStage]:
        """The teachers in the recipe's order: refitted where they or a student of theirs are to be."""
        stages = []
        for teacher in self.recipe.teacher:
            students = [student for student in self.recipe.student if student.teacher == teacher.name]
            wanted = {self.final_refit(student) for student in students} or {_refits(teacher.train)}
            found = [self.teacher(teacher.name, refit) for refit in sorted(wanted, reverse=True)]
            # A refitted teacher comes first; beside it, one of the split's rows has to be told apart.
            stages += [found[0], *(replace(stage, variant={"refit": False}) for stage in found[1:])]
        return stages

    def teacher(self, name: str, refit: bool) -> ModelStage:
        """One teacher."""
        teacher = next(part for part in self.recipe.teacher if part.name == name)
        rows = self.rows_for(refit)
        if teacher.from_ is not None:
            return _given_teacher(teacher, rows)
        assert teacher.model is not None
        assert teacher.train is not None
        views = _view_settings(teacher.views)
        return _trained("teacher", name, rows, teacher.model.model_dump(), teacher.train, self.seed, fresh_views=views)

    def recordings(self, student: Student, refit: bool) -> tuple[Recording, ...]:
        """The knowledge that a student learns from: the rows themselves, then each of the views."""
        transfer = self.transfer(student.transfer)
        key = self.teacher(student.teacher, refit).identity.key
        part = self.rows_for(refit).train
        settings = _view_settings(transfer.views) or ViewSettings()
        return tuple(
            Recording(key, part, view, settings if view else ViewSettings(), self.seed if view else 0, transfer.dtype)
            for view in range(transfer.views.count + 1)
        )

    def transfer(self, name: str) -> Transfer:
        """A transfer set by name."""
        return next(part for part in self.recipe.transfer if part.name == name)

    def students(self) -> list[StudentPlan]:
        """The students in the recipe's order; where there is a grid, their trials on the validation split."""
        return [self.student(student) for student in self.recipe.student]

    def student(self, student: Student) -> StudentPlan:
        """One student with its baseline."""
        refit = self.final_refit(student) and not student.grid
        return StudentPlan(student, self._trials(student, refit), self._baselines(student, refit))

    def refitted(self, student: Student, stage: ModelStage) -> ModelStage:
        """The stage chosen on validation rows, trained anew on all rows."""
        make = self.student_stage if stage.role == "student" else self.baseline_stage
        pairs = zip(student.trials(), student.grid_values(), strict=True)
        chosen = next(trial for trial, values in pairs if _tried(stage.role, values) == stage.tried)
        return replace(make(chosen, True), tried=stage.tried)

    def _trials(self, student: Student, refit: bool) -> tuple[ModelStage, ...]:
        found: dict[str, ModelStage] = {}  # values without effect make no trial of their own
        for trial, values in zip(student.trials(), student.grid_values(), strict=True):
            stage = self.student_stage(trial, refit)
            found.setdefault(stage.identity.key, replace(stage, tried=values))
        return tuple(found.values())

    def _baselines(self, student: Student, refit: bool) -> tuple[ModelStage, ...]:
        if not student.baseline:
            return ()
        found: dict[str, ModelStage] = {}
        for trial, values in zip(student.trials(), student.grid_values(), strict=True):
            stage = self.baseline_stage(trial, refit)
            found.setdefault(stage.identity.key, replace(stage, tried=_tried("baseline", values)))
        return tuple(found.values())

    def student_stage(self, student: Student, refit: bool) -> ModelStage:
        """A student without a grid."""
        rows = self.rows_for(refit)
        transfer = self.transfer(student.transfer)
        recordings = self.recordings(student, refit)
        objective = Objective(**student.distill.model_dump())
        variant: dict[str, Any] = {}
        if objective.loss == "logit_matching":
            variant["loss"] = objective.loss
        elif objective.uses_teacher:
            variant["temperature"] = _tidy(objective.temperature)
        return _trained(
            "student", student.name, rows, student.model.model_dump(), student.train, self.seed,
            objective=objective, recordings=recordings, select=transfer.select, variant=variant,
        )  # fmt: skip

    def baseline_stage(self, student: Student, refit: bool) -> ModelStage:
        """The same network with the same training, on labels alone; views are fresh in every epoch."""
        transfer = self.transfer(student.transfer)
        smoothing = student.distill.label_smoothing
        return _trained(
            "baseline", student.name, self.rows_for(refit), student.model.model_dump(), student.train, self.seed,
            objective=Objective(loss="hard_labels", label_smoothing=smoothing),
            fresh_views=_view_settings(transfer.views) if transfer.views.count else None, select=transfer.select,
        )  # fmt: skip

    def final_refit(self, student: Student) -> bool:
        """Whether the student that is shown is trained on all rows, and so by a teacher that was."""
        teacher = next(part for part in self.recipe.teacher if part.name == student.teacher)
        return student.train.refit or _refits(teacher.train)


def _tried(role: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a grid's values, those that make a difference: what is asked of the teacher makes none to a baseline."""
    if role == "student":
        return dict(values)
    return {k: v for k, v in values.items() if not k.startswith("distill.") or k == "distill.label_smoothing"}


def _refits(train: Train | None) -> bool:
    return train is not None and train.refit


def _trained(
    role: str,
    name: str,
    rows: Rows,
    model: Mapping[str, Any],
    train: Train,
    seed: int,
    *,
    objective: Objective | None = None,
    fresh_views: ViewSettings | None = None,
    recordings: tuple[Recording, ...] = (),
    select: Select | None = None,
    variant: Mapping[str, Any] | None = None,
) -> ModelStage:
    objective = objective or Objective(loss="hard_labels")
    chosen = {} if select is None else {k: v for k, v in select.model_dump().items() if v}
    selected = rows.train.selected(**chosen) if chosen else None
    if chosen and len(rows.validation):
        rows.validation.selected(**chosen)  # must leave rows to choose on
    stage = ModelStage(
        role, name, Identity("", 0, {}, {}), rows, model, train, objective, fresh_views, seed,
        recordings=recordings, variant={**(variant or {}), **chosen},
        selected=selected,
    )  # fmt: skip
    views = None if fresh_views is None else {"version": VIEWS_VERSION, **asdict(fresh_views)}
    identity = Identity(
        kind="teacher" if role == "teacher" else "student",
        version=MODEL_VERSION,
        settings={
            "model": dict(model), "train": stage.settings.in_effect(), "objective": objective.in_effect(),
            "fresh_views": views, "select": {k: rows.train.class_numbers(v) for k, v in chosen.items()} or None,
        },
        inputs={**rows.hashes, "knowledge": [recording.identity.key for recording in recordings]},
        seed=seed,
    )  # fmt: skip
    return replace(stage, identity=identity)


def _given_teacher(teacher: Teacher, rows: Rows) -> ModelStage:
    folder = Path(str(teacher.from_))
    if not folder.is_dir():
        raise LimbeckError(f"teacher.{teacher.name}.from: there is no folder {folder}: give the path of a saved model")
    description = read_description(folder)
    if tuple(description["classes"]) != rows.train.classes:
        raise LimbeckError(
            f"{folder} has the classes {', '.join(description['classes'][:12])}, but the data has "
            f"{', '.join(rows.train.classes[:12])}: they must be the same, in the same order"
        )
    if tuple(description["input_shape"]) != rows.train.inputs.shape[1:]:
        raise LimbeckError(
            f"{folder} takes inputs of shape {tuple(description['input_shape'])}, but the data's have "
            f"{rows.train.inputs.shape[1:]}: give a teacher for these data"
        )
    if "identity" in description:
        identity = Identity.from_json(description["identity"])
    else:
        digest = sha256_hex((folder / WEIGHTS).read_bytes())
        identity = Identity("teacher", MODEL_VERSION, {"model": digest}, {})
    return ModelStage("teacher", teacher.name, identity, rows, path=folder)


def _view_settings(views: ViewSpec | None) -> ViewSettings | None:
    if views is None:
        return None
    settings = ViewSettings(**views.model_dump(include={"rotate", "scale", "shear", "shift"}))
    return None if settings.is_plain else settings


def _tidy(number: float) -> float | int:
    return int(number) if number == int(number) else number
