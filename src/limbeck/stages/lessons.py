"""What a model learns from: rows in their views, and what is to be matched there."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.batches import BatchSource, FreshBatches, StoredBatches
from limbeck.data import Part, TextForm
from limbeck.data.texts import byte_lengths
from limbeck.errors import LimbeckError
from limbeck.familiarity import percent
from limbeck.knowledge import (
    CombinedTargets,
    LabelTargets,
    LiveTargets,
    RowWeights,
    StoredTargets,
    TargetSource,
    permuted,
    smoothed_labels,
)
from limbeck.models.encoder import Encoder
from limbeck.plan.model_stage import ModelStage
from limbeck.progress import Progress
from limbeck.stages.recordings import Recordings, teacher_of


def lesson_of(stage: ModelStage, recordings: Recordings, progress: Progress) -> tuple[TargetSource, BatchSource]:
    """The targets and the batches of a model that is trained.

    Args:
        stage: a teacher, a baseline or a reference, which learn from labels, or a student.
        recordings: the run's knowledge.
        progress: told how many rows a student learns from, where not from all.
    """
    part, size, passes = stage.rows.train, stage.settings.batch_size, stage.settings.passes
    labels = LabelTargets(part.labels, stage.synthetic)
    if not stage.recordings:
        if stage.fresh_views is None:
            inputs = part.inputs[np.newaxis]
            return labels, StoredBatches(inputs, size, stage.selected, passes, _lengths(part, inputs))
        return labels, FreshBatches(part, stage.fresh_views, size, stage.seed, stage.selected, passes)
    inputs, log_probs = recordings.read(stage)
    if stage.targets == "permuted":
        log_probs = permuted(log_probs, stage.seed)
    elif stage.targets == "smoothed_labels":
        log_probs = smoothed_labels(log_probs, part.labels, stage.objective.temperature, stage.selected)
    sources: list[TargetSource] = [StoredTargets(log_probs), labels]
    if stage.confidence is not None and stage.confidence.weight:
        sure = recordings.confidence(stage)
        sources.append(RowWeights(np.where(part.labels >= 0, np.float32(1), sure)))
    if stage.objective.uses_states:
        sources.append(_live(stage, recordings, inputs))
    rows = learnt_from(stage, recordings, progress)
    return CombinedTargets(*sources), StoredBatches(inputs, size, rows, passes, _lengths(part, inputs))


def _lengths(part: Part, views: npt.NDArray[Any]) -> npt.NDArray[np.int64] | None:
    """Of texts, in each of their views: shape (views, rows)."""
    return np.stack([byte_lengths(view) for view in views]) if isinstance(part.form, TextForm) else None


def _live(stage: ModelStage, recordings: Recordings, inputs: npt.NDArray[Any]) -> TargetSource:
    """A student's teacher, asked in every step for its last layer's states."""
    asked = recordings.answering(teacher_of(stage))
    teacher = copy.deepcopy(asked.model)
    assert isinstance(teacher, Encoder)
    teacher.show_states()
    return LiveTargets(teacher, inputs, asked.precision)


def learnt_from(stage: ModelStage, recordings: Recordings, progress: Progress) -> npt.NDArray[np.int64] | None:
    """The numbers of the rows that a student learns from: not those of which its teacher is too little sure."""
    kept = kept_rows(stage, recordings)
    if kept is None or stage.confidence is None or stage.confidence.least is None:
        return stage.selected
    rows = np.flatnonzero(kept) if stage.selected is None else stage.selected[kept[stage.selected]]
    without = stage.rows.train.labels < 0
    progress.line(
        f"{stage.title}: teacher {teacher_of(stage).name} is at least {percent(stage.confidence.least)} sure of "
        f"{int(kept[without].sum()):,} of {int(without.sum()):,} rows without labels"
    )
    if not len(rows):
        raise LimbeckError(
            f"{stage.title}: teacher {teacher_of(stage).name} is less sure than {stage.confidence.least} of every "
            "row: lower confidence.least of its transfer set"
        )
    return rows


def kept_rows(stage: ModelStage, recordings: Recordings) -> npt.NDArray[np.bool_] | None:
    """Which rows a filter by confidence leaves: those with labels, and those of which the teacher is sure enough.

    Returns:
        Shape (rows,); None without a filter.
    """
    if stage.confidence is None or stage.confidence.least is None:
        return None
    return np.asarray((stage.rows.train.labels >= 0) | (recordings.confidence(stage) >= stage.confidence.least))


def stacked(views: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Some rows in all views, one view after the other: shape (views · rows, …)."""
    return views[:, rows].reshape(-1, *views.shape[2:])
