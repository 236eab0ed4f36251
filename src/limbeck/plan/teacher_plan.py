"""A recipe's teachers as stages: one that is trained, or exists, or is a student; and the mean of several."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.artifacts import Identity
from limbeck.averaging import checked_weights
from limbeck.errors import LimbeckError, UsageError
from limbeck.plan.general_stage import GeneralPlanner
from limbeck.plan.given_teacher import given_teacher
from limbeck.plan.model_stage import PLAIN, Combination, ModelStage, Rows, Start
from limbeck.plan.row_sets import RowSets
from limbeck.plan.starting import check_no_texts, folder_start, with_texts
from limbeck.plan.trained_stage import trained_stage, view_settings
from limbeck.recipe import Recipe, Student, Teacher
from limbeck.recipe.errors import shown
from limbeck.recipe.general import GENERAL
from limbeck.recipe.settings import Encoder
from limbeck.recipe.teacher import ESTIMATORS
from limbeck.rows import row_label
from limbeck.teachers.out_of_fold import fold_rows

ESTIMATOR_VERSION = 1
MEAN_VERSION = 1
WEIGHTS_VERSION = 1
_BOOTSTRAP = 2**20  # beside the seed, of the rows that are drawn with replacement


@dataclass
class TeacherPlanner:
    """Turns a recipe's teachers into stages.

    Args:
        recipe: checked.
        rows: that stages work with.
        seed: of everything but the split.
        beside: the recipe's folder, where a teacher's path is looked for first.
        student_stage: gives the stage of a student that teaches, refitted or not.
        say: told, in a line, what is being fetched.
        generals: the encoders that are distilled without a task.
        apart: what tells all rows apart from those of another task.
    """

    recipe: Recipe
    rows: RowSets
    seed: int
    beside: Path | None
    student_stage: Callable[[Student, bool], ModelStage]
    say: Callable[[str], None] | None = None
    generals: GeneralPlanner | None = None
    apart: Mapping[str, str] = field(default_factory=dict)
    _starts: dict[str, Start] = field(default_factory=dict)
    _teachers: dict[tuple[str, bool, int | None], ModelStage] = field(default_factory=dict)

    def shown(self) -> list[ModelStage]:
        """The teachers in the recipe's order: refitted where they or a student of theirs are to be."""
        return list(self._shown)

    @cached_property
    def _shown(self) -> list[ModelStage]:
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

    def named_start(self, given: str, where: str) -> Start:
        """A start from a general part, or from a Hugging Face model, looked for once.

        Raises:
            LimbeckError: there is none.
        """
        if given.startswith(GENERAL) and self.generals is not None:
            return self.generals.start(given.removeprefix(GENERAL))
        if given not in self._starts:
            try:
                self._starts[given] = folder_start(given, self.beside, self.say)
            except LimbeckError as error:
                raise type(error)(f"{where}: {error}") from None
        return self._starts[given]

    def members(self) -> list[ModelStage]:
        """The members of teachers that are several of one kind, which the results show among the references."""
        found: dict[str, ModelStage] = {}
        named = {teacher.name for teacher in self.recipe.teacher if teacher.members}
        for stage in self.shown():
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
            elif teacher.several:
                stage = self._mean(teacher, refit, members)
            else:
                stage = self._one(teacher, rows)
            self._teachers[name, refit, members] = replace(stage, variant={**stage.variant, **self.apart})
        return self._teachers[name, refit, members]

    def _one(self, teacher: Teacher, rows: Rows, number: int = 1) -> ModelStage:
        """A teacher that is trained here: of several, the one of this number."""
        seed = self.seed if number == 1 else member_seed(self.seed, number)
        drawn = None
        if teacher.bootstrap:
            drawn = np.sort(np.random.default_rng((seed, _BOOTSTRAP)).integers(len(rows.train), size=len(rows.train)))
        if teacher.kind in ESTIMATORS:
            stage = self._estimator(
                teacher, rows if drawn is None else replace(rows, train=rows.train.take(drawn)), seed
            )
        else:
            start = None
            if isinstance(teacher.model, Encoder):
                assert teacher.model.from_ is not None
                start = self.named_start(teacher.model.from_, f"teacher.{teacher.name}.model.from")
                start = with_texts(start, teacher.model, rows.train)
            views = view_settings(teacher.views)
            apart = tuple(self._apart(teacher, rows, number, seed, start)) if teacher.folds else ()
            stage = trained_stage(
                "teacher", teacher, rows, seed, fresh_views=views, drawn=drawn, start=start, apart=apart
            )
        if teacher.members is None:
            return stage
        return replace(stage, role="reference", name=teacher.called, variant={"member": number, **self.apart})

    def _apart(self, teacher: Teacher, rows: Rows, number: int, seed: int, start: Start | None) -> Iterator[ModelStage]:
        """The same as a network that is trained on all rows, each without those of one fold."""
        assert teacher.folds is not None
        of = {"member": number} if teacher.members else {}
        of |= {"refit": True} if rows.refit else {}
        try:
            parts = fold_rows(rows.train, teacher.folds, seed)
        except LimbeckError as error:
            raise type(error)(f"teacher.{teacher.name}.{error}") from None
        for fold, held in enumerate(parts, 1):
            others = rows.train.take(np.setdiff1d(np.arange(len(rows.train)), held))
            stage = trained_stage(
                "teacher",
                teacher,
                replace(rows, train=others),
                seed,
                fresh_views=view_settings(teacher.views),
                start=start,
            )
            yield replace(stage, variant={**of, "fold": fold, **self.apart})

    def _mean(self, teacher: Teacher, refit: bool, count: int | None) -> ModelStage:
        """The mean of several teachers, or of the first so many of them."""
        rows = self.rows.training(refit)
        members = tuple(self._members(teacher, refit))[:count]
        if len(members) == 1:
            return replace(members[0], role="teacher", name=teacher.name, variant={"members": 1})
        weights = None
        if isinstance(teacher.weights, list):
            given = checked_weights(teacher.weights[: len(members)], len(members))
            weights = None if len(set(given)) == 1 else given
        fitted = teacher.weights == "fitted"
        judge = self.teacher(teacher.name, False, count) if fitted and refit else None
        if fitted and not refit and not len(rows.validation):
            raise UsageError(f"teacher.{teacher.name}.weights: there are no validation rows to fit them to")
        combination = Combination(teacher.mean or "probabilities", weights, fitted, judge)
        stage = mean_stage(teacher, rows, members, combination)
        return stage if count is None else replace(stage, variant={"members": count})

    def _members(self, teacher: Teacher, refit: bool) -> Iterator[ModelStage]:
        """What a teacher is the mean of; a teacher that has members of its own is those."""
        for number in range(1, (teacher.members or 0) + 1):
            yield self._one(teacher, self.rows.training(refit), number)
        for name in teacher.of or ():
            (part,) = (part for part in self.recipe.teacher if part.name == name)
            if part.members:
                yield from self._members(part, refit)
            else:
                yield self.teacher(name, refit)

    def _estimator(self, teacher: Teacher, rows: Rows, seed: int) -> ModelStage:
        """An estimator to be fitted to the training rows."""
        assert teacher.model is not None
        check_no_texts(rows.train, teacher.kind, f"teacher.{teacher.name}.model")
        model = teacher.model.model_dump()
        identity = Identity(
            kind="teacher",
            version=ESTIMATOR_VERSION,
            settings={"model": model, "folds": teacher.folds},
            inputs=rows.hashes,
            seed=seed,
        )
        return ModelStage("teacher", teacher.name, identity, rows, model, folds=teacher.folds, seed=seed)


def member_seed(seed: int, number: int) -> int:
    """The seed of a member, by its number: the first has the run's own, the others none that another run has."""
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
