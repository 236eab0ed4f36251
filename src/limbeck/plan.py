"""From a recipe to stages: what has to be made, each with its key, before anything is made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.artifacts import Identity
from limbeck.data import Part, Split, SyntheticSettings, ViewSettings
from limbeck.data.unlabelled import check_held_out, unlabelled_part
from limbeck.data.views import VIEWS_VERSION
from limbeck.errors import LimbeckError, UsageError
from limbeck.given_teacher import PredictionsModel, given_teacher
from limbeck.knowledge import Recording
from limbeck.model_stage import PLAIN, Combination, ModelStage, Rows
from limbeck.objectives import Objective
from limbeck.recipe import Recipe, Reference, Select, Student, Teacher, Transfer, TransferViews, ViewSpec
from limbeck.recipe_claim import class_problems
from limbeck.recipe_errors import shown
from limbeck.recipe_rows import OF_THE_TEACHER, baseline_variant, reference_variant, setting, student_variant
from limbeck.recipe_settings import FILE, FITTED_AT_ONCE, Confidence
from limbeck.recipe_teacher import ESTIMATORS
from limbeck.regression import RegressionStage, load_task
from limbeck.row_sets import RowSets
from limbeck.rows import row_label

MODEL_VERSION = 3
ESTIMATOR_VERSION = 1
MEAN_VERSION = 1
WEIGHTS_VERSION = 1
_BOOTSTRAP = 2**20  # beside the seed, of the rows that are drawn with replacement


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
    """

    recipe: Recipe
    split: Split
    seed: int
    beside: Path | None = None
    say: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        self.rows = RowSets(self.split, self.recipe.data.split_seed, self._read_part)
        self._teachers: dict[tuple[str, bool, int | None], ModelStage] = {}
        for transfer in self.recipe.transfer:
            self._check_parts(transfer)
            self._check_select(transfer)
            self._check_views(f"transfer.{transfer.name}", transfer.views)
        for teacher in self.recipe.teacher:
            if teacher.views is not None:
                self._check_views(f"teacher.{teacher.name}", teacher.views)
        for problem in class_problems(self.recipe.claim, self.recipe.rows(), self._class_names):
            raise UsageError(problem)

    def _class_names(self, classes: Sequence[int | str]) -> list[str]:
        train = self.split.train
        return [train.classes[number] for number in train.class_numbers(classes)]

    def _read_part(self, name: str) -> Part:
        """The rows of a part that lies in a file: none of them held out for choices or measurements."""
        reading = self.recipe.data.reading()
        part = unlabelled_part(
            name.removeprefix(FILE), self.split.train, reading, beside=self.beside, name=name, say=self.say
        )
        check_held_out(part, self.split)
        return part

    def _check_parts(self, transfer: Transfer) -> None:
        """Refuse parts that are not there."""
        try:
            self.rows.transfer_set(transfer.model_copy(update={"select": None}), False)
        except LimbeckError as error:
            raise type(error)(f"transfer.{transfer.name}.parts: {error}") from None

    def _check_select(self, transfer: Transfer) -> None:
        """Refuse classes that there are not, and rows that there are not enough of."""
        select = transfer.select
        if select is None:
            return
        try:
            rows = self.rows.transfer_set(transfer, False).rows
            for given in (select.without, select.only):
                if len(set(rows.train.class_numbers(given))) < len(given):
                    raise UsageError(f"found {shown(given)}, expected every class once")
            for part in (rows.train, rows.validation):
                if len(part):
                    part.selected(without=select.without, only=select.only)
        except UsageError as error:
            raise UsageError(f"transfer.{transfer.name}.select: {error}") from None

    def _check_views(self, where: str, views: ViewSpec) -> None:
        """Refuse synthetic rows of images, and images' views of tables."""
        shape = self.split.train.inputs.shape
        count, rows, instead = 1, None, "none"
        if isinstance(views, TransferViews):
            count, rows, instead = views.count, views.rows, 'synthetic rows, such as rows = "munge"'
        if rows is not None and len(shape) != 2:
            raise UsageError(
                f'{where}.views: rows = "{rows}" is for tables, found inputs of shape {shape[1:]}, expected views of '
                "images, such as rotate"
            )
        if count and len(shape) == 2 and _view_settings(views) is not None:
            raise UsageError(
                f"{where}.views: views are of images, found a table of {shape[1]} columns, expected {instead}"
            )

    def teachers(self) -> list[ModelStage]:
        """The teachers in the recipe's order: refitted where they or a student of theirs are to be."""
        return list(self._shown_teachers)

    @cached_property
    def _shown_teachers(self) -> list[ModelStage]:
        stages = []
        for teacher in self.recipe.teacher:
            for members in (None, *self.recipe.members_asked(teacher.name)):
                wanted = sorted(self.recipe.teacher_refits(teacher.name), reverse=True)
                for refit in wanted:
                    stage = self.teacher(teacher.name, refit, members)
                    # A refitted teacher comes first; beside it, one of the split's rows has to be told apart.
                    apart = {} if refit is wanted[0] else {"refit": False}
                    stages.append(replace(stage, variant={**stage.variant, **apart}) if apart else stage)
        return stages

    def members(self) -> list[ModelStage]:
        """The members of teachers that are several of one kind, which the results show among the references."""
        found: dict[str, ModelStage] = {}
        named = {teacher.name for teacher in self.recipe.teacher if teacher.members}
        for stage in self.teachers():
            apart = {"refit": False} if "refit" in stage.variant else {}
            for member in stage.members if stage.name in named else ():
                found.setdefault(member.identity.key, replace(member, variant={**member.variant, **apart}))
        return list(found.values())

    def teacher(self, name: str, refit: bool, members: int | None = None) -> ModelStage:
        """One teacher; of one that is several, the mean of the first so many."""
        if (name, refit, members) not in self._teachers:
            teacher = next(part for part in self.recipe.teacher if part.name == name)
            rows = self.rows.training(refit)
            if teacher.from_ is not None:
                stage = given_teacher(teacher, rows, self.beside)
            elif teacher.student is not None:
                (student,) = (part for part in self.recipe.student if part.name == teacher.student)
                stage = replace(self.student_stage(student, refit), role="teacher", name=name, variant={})
            elif teacher.count > 1:
                stage = self._mean(teacher, refit, members)
            else:
                stage = self._one(teacher, rows)
            self._teachers[name, refit, members] = stage
        return self._teachers[name, refit, members]

    def _one(self, teacher: Teacher, rows: Rows, number: int = 1) -> ModelStage:
        """A teacher that is trained here: of several, the one of this number."""
        seed = self.seed if number == 1 else member_seed(self.seed, number)
        drawn = None
        if teacher.bootstrap:
            drawn = np.sort(np.random.default_rng((seed, _BOOTSTRAP)).integers(len(rows.train), size=len(rows.train)))
        if teacher.kind in ESTIMATORS:
            stage = self._estimator(teacher, rows if drawn is None else replace(rows, train=rows.train.take(drawn)), seed)
        else:
            stage = self._trained(
                "teacher", teacher, rows, fresh_views=_view_settings(teacher.views), seed=seed, drawn=drawn
            )
        if teacher.members is None:
            return stage
        return replace(stage, role="reference", name=teacher.called, variant={"member": number})

    def _mean(self, teacher: Teacher, refit: bool, count: int | None) -> ModelStage:
        """The mean of several teachers, or of the first so many of them."""
        rows, several = self.rows.training(refit), range(1, (count or teacher.count) + 1)
        if teacher.of is not None:
            members = tuple(self.teacher(teacher.of[number - 1], refit) for number in several)
        else:
            members = tuple(self._one(teacher, rows, number) for number in several)
        weights = tuple(teacher.weights[: len(members)]) if isinstance(teacher.weights, list) else None
        fitted = teacher.weights == "fitted"
        judge = self.teacher(teacher.name, False, count) if fitted and refit else None
        if fitted and not refit and not len(rows.validation):
            raise UsageError(f"teacher.{teacher.name}.weights: there are no validation rows to fit them to")
        combination = Combination(teacher.mean or "probabilities", weights, fitted, judge)
        stage = mean_stage(teacher, rows, members, combination)
        return stage if count is None else replace(stage, variant={"members": count})

    def _estimator(self, teacher: Teacher, rows: Rows, seed: int) -> ModelStage:
        """An estimator to be fitted to the training rows."""
        assert teacher.model is not None
        model = teacher.model.model_dump()
        identity = Identity(
            kind="teacher",
            version=ESTIMATOR_VERSION,
            settings={"model": model, "folds": teacher.folds},
            inputs=rows.hashes,
            seed=seed,
        )
        return ModelStage("teacher", teacher.name, identity, rows, model, folds=teacher.folds, seed=seed)

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
            found.append(replace(stage, variant=reference_variant(reference, transfer)))
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
        stage = self._trained(
            "student", student, found.rows, recordings=recordings, select=transfer.select, targets=targets,
            objective=Objective(**student.distill.model_dump(exclude={"targets", "members"})), teacher=teacher,
            confidence=transfer.confidence,
        )  # fmt: skip
        return replace(stage, variant=student_variant(student, transfer))

    def _teaching(self, student: Student, refit: bool) -> ModelStage:
        """A student's teacher: of several, those that it learns from."""
        (teacher,) = (part for part in self.recipe.teacher if part.name == student.teacher)
        members = student.distill.members
        return self.teacher(teacher.name, refit, members if members is not None and members < teacher.count else None)

    def baseline_stage(self, student: Student, refit: bool) -> ModelStage:
        """The same network with the same training, on labels alone; views are fresh in every epoch."""
        transfer = self.transfer(student.transfer)
        smoothing = student.distill.label_smoothing
        stage = self._on_labels("baseline", student, transfer, refit, smoothing)
        return replace(stage, variant=baseline_variant(student, transfer), teacher=self._teaching(student, refit))

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
        for asked in teacher.asked:
            if transfer.views.count and isinstance(asked.given, PredictionsModel):
                raise UsageError(
                    f"transfer.{transfer.name}.views: teacher {asked.name} is a file of predictions, which has none "
                    "for views: leave views out, or give a teacher that can be asked"
                )
        return tuple(
            Recording(
                asked.identity.key, part, view, settings if view else ViewSettings(), self.seed if view else 0,
                transfer.dtype,
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
        return self._trained(
            role, part, rows, select=transfer.select,
            objective=Objective(loss="hard_labels", label_smoothing=smoothing),
            fresh_views=_view_settings(transfer.views) if transfer.views.count else None,
        )  # fmt: skip

    def _trained(
        self,
        role: str,
        part: Teacher | Student | Reference,
        rows: Rows,
        *,
        objective: Objective | None = None,
        targets: str = "teacher",
        fresh_views: ViewSettings | None = None,
        recordings: tuple[Recording, ...] = (),
        select: Select | None = None,
        teacher: ModelStage | None = None,
        confidence: Confidence | None = None,
        seed: int | None = None,
        drawn: npt.NDArray[np.int64] | None = None,
    ) -> ModelStage:
        seed = self.seed if seed is None else seed
        assert part.model is not None
        assert part.train is not None
        objective = objective or Objective(loss="hard_labels")
        model = part.model.model_dump()
        chosen = {} if select is None else {"without": select.without, "only": select.only}
        chosen = {name: classes for name, classes in chosen.items() if classes}
        selected = rows.train.selected(**chosen) if chosen else drawn
        if chosen and len(rows.validation):
            rows.validation.selected(**chosen)  # must leave rows to choose on
        stage = ModelStage(
            role, part.name, Identity("", 0, {}, {}), rows, model, part.train, objective, targets, fresh_views,
            seed, selected=selected, recordings=recordings, teacher=teacher, confidence=confidence,
        )  # fmt: skip
        views = None if fresh_views is None else {"version": VIEWS_VERSION, **asdict(fresh_views)}
        settings: dict[str, Any] = {
            "model": model, "train": {} if model["kind"] in FITTED_AT_ONCE else stage.settings.in_effect(),
            "objective": objective.in_effect(),
            "fresh_views": views, "select": {k: rows.train.class_numbers(v) for k, v in chosen.items()} or None,
        }  # fmt: skip
        if part.train.snapshot_every:
            settings["snapshot_every"] = part.train.snapshot_every
        if recordings and objective.uses_teacher and targets != "teacher":
            settings["targets"] = targets
        if drawn is not None:
            settings["bootstrap"] = True
        if confidence is not None:
            settings["confidence"] = confidence.model_dump()
        inputs: dict[str, Any] = {"knowledge": [recording.identity.key for recording in recordings]}
        if teacher is not None and not teacher.combination.is_plain:
            inputs["mean"] = teacher.identity.key
        identity = Identity(
            kind="teacher" if role == "teacher" else "student",
            version=MODEL_VERSION,
            settings=settings,
            inputs={**rows.hashes, **inputs},
            seed=seed,
        )
        return replace(stage, identity=identity)


def member_seed(seed: int, number: int) -> int:
    """The seed of a member, by its number: the first has the run's own, the others none that another run begins with."""
    if number == 1:
        return seed
    return int.from_bytes(hashlib.sha256(f"member {number} of {seed}".encode()).digest()[:4], "big") // 2


def mean_stage(
    teacher: Teacher, rows: Rows, members: tuple[ModelStage, ...], combination: Combination = PLAIN
) -> ModelStage:
    """The mean of several teachers.

    Raises:
        UsageError: one of them is a mean itself, or two are one and the same.
    """
    names: dict[str, str] = {}
    for member in members:
        if member.members:
            raise UsageError(
                f"teacher.{teacher.name}.of: {shown(member.name)} is a mean itself, expected those that it is of"
            )
        title = row_label({"name": member.name, "variant": member.variant})
        if (same := names.setdefault(member.identity.key, title)) != title:
            raise UsageError(
                f"teacher.{teacher.name}.of: {shown(same)} and {shown(title)} are the same model, with the same "
                "settings and seed: change one, or leave it out"
            )
    settings: dict[str, Any] = {"mean": combination.mean}
    inputs: dict[str, Any] = {"members": [member.identity.key for member in members]}
    if combination.weights is not None:
        settings["weights"] = list(combination.weights)
    if combination.fitted:
        settings["fitted"] = WEIGHTS_VERSION
        judged = rows if combination.judge is None else combination.judge.rows
        inputs |= {key: judged.hashes[key] for key in ("validation", "validation_labels")}
        inputs |= {"judge": combination.judge.identity.key} if combination.judge else {}
    identity = Identity(kind="teacher", version=MEAN_VERSION, settings=settings, inputs=inputs)
    return ModelStage("teacher", teacher.name, identity, rows, members=members, combination=combination)


def _tried(role: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a grid's values, those that make a difference: what is asked of the teacher makes none to a baseline."""
    if role != "baseline":
        return dict(values)
    return {path: value for path, value in values.items() if setting(path) not in OF_THE_TEACHER}


def _view_settings(views: ViewSpec | None) -> ViewSettings | None:
    if views is None:
        return None
    settings = ViewSettings(**views.model_dump(include=set(ViewSpec.model_fields)))
    return None if settings.is_plain else settings


def _seen_in(views: TransferViews) -> ViewSettings | SyntheticSettings:
    """How the views of a transfer set are made."""
    if views.rows is None:
        return _view_settings(views) or ViewSettings()
    given = views.model_dump(include={"swap", "spread", "noise"}, exclude_none=True)
    return SyntheticSettings(views.rows, **given)
