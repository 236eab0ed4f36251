"""A stage whose model is trained: what it works with, and the key that all of it decides."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.artifacts import Identity
from limbeck.data import Part, TextForm, ViewSettings
from limbeck.data.views import VIEWS_VERSION
from limbeck.knowledge import Recording
from limbeck.objectives import Objective
from limbeck.plan.model_stage import ModelStage, Rows, Start
from limbeck.plan.starting import START_VERSION, check_no_texts, check_texts, resolved
from limbeck.plan.state_checks import check_states
from limbeck.recipe import Reference, Select, Student, Teacher, ViewSpec
from limbeck.recipe.settings import FITTED_AT_ONCE, Encoder
from limbeck.recipe.transfer import Confidence

MODEL_VERSION = 5


def trained_stage(
    role: str,
    part: Teacher | Student | Reference,
    rows: Rows,
    seed: int,
    *,
    objective: Objective | None = None,
    targets: str = "teacher",
    fresh_views: ViewSettings | None = None,
    recordings: tuple[Recording, ...] = (),
    select: Select | None = None,
    teacher: ModelStage | None = None,
    confidence: Confidence | None = None,
    drawn: npt.NDArray[np.int64] | None = None,
    start: Start | None = None,
    apart: tuple[ModelStage, ...] = (),
) -> ModelStage:
    """A stage whose model is trained, with all that decides it in its key.

    Args:
        role: teacher, student, baseline or reference.
        part: of the recipe, with model and train.
        rows: to train and choose on.
        seed: of initialisation, order and dropout.
        objective: what it minimises; hard labels by default.
        targets: what is made of the teacher's soft targets.
        fresh_views: new views in every epoch.
        recordings: the knowledge that a student learns from.
        select: classes that it learns without, or alone.
        teacher: a student's.
        confidence: what is made of how sure the teacher is.
        drawn: the row numbers of a bootstrap sample.
        start: what an encoder begins with.
        apart: of a teacher, the same trained without some rows each, which they label.
    """
    assert part.model is not None
    assert part.train is not None
    objective = objective or Objective(loss="hard_labels")
    if isinstance(part.model, Encoder):
        assert start is not None
        check_texts(rows.train, f"{role}.{part.name}.model")
        model = resolved(part.model, start, f"{role}.{part.name}.model", smaller=part.model.from_ is None)
    else:
        check_no_texts(rows.train, part.model.kind, f"{role}.{part.name}.model")
        model = part.model.model_dump()
    chosen = {} if select is None else {"without": select.without, "only": select.only}
    chosen = {name: classes for name, classes in chosen.items() if classes}
    selected = rows.train.selected(**chosen) if chosen else drawn
    if chosen and len(rows.validation):
        rows.validation.selected(**chosen)  # must leave rows to choose on
    stage = ModelStage(
        role, part.name, Identity("", 0, {}, {}), rows, model, part.train, objective, targets, fresh_views,
        seed, selected=selected, recordings=recordings, teacher=teacher, confidence=confidence, start=start,
        folds=len(apart) or None, apart=apart,
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
    if apart:
        inputs["folds"] = [one.identity.key for one in apart]
    if start is not None:
        inputs |= start.in_key
        settings |= {"start": START_VERSION, "texts": _columns(rows.train)}
    if objective.uses_states and teacher is not None:
        check_states(stage)
        inputs["states"] = teacher.identity.key
    identity = Identity(
        kind="teacher" if role == "teacher" else "student",
        version=MODEL_VERSION,
        settings=settings,
        inputs={**rows.hashes, **inputs},
        seed=seed,
    )
    return replace(stage, identity=identity)


def _columns(part: Part) -> list[str]:
    """What a part's texts are called in a file, by which a saved model finds them."""
    assert isinstance(part.form, TextForm)
    return list(part.form.columns)


def view_settings(views: ViewSpec | None) -> ViewSettings | None:
    """How views of images are drawn; None for images as they are."""
    if views is None:
        return None
    settings = ViewSettings(**views.model_dump(include=set(ViewSpec.model_fields)))
    return None if settings.is_plain else settings
