"""What the results say of ensembles and of transfer sets: how members differ, and what their teachers know of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.ensembles import ensemble_facts
from limbeck.familiarity import part_facts
from limbeck.model_stage import ModelStage
from limbeck.models.mean import MeanModel
from limbeck.recordings import by_view, teacher_of
from limbeck.stages import Workshop

Array = npt.NDArray[Any]


def known_ensembles(
    stages: Sequence[ModelStage], predictions: Mapping[str, Array], labels: Array, workshop: Workshop
) -> dict[str, dict[str, Any]]:
    """`ensemble_facts` of every teacher that is several, by its row, with its members' rows, mean and weights.

    Args:
        stages: of the rows, in their order.
        predictions: for the test rows, by row: log-probabilities (n, classes).
        labels: of the test rows, shape (n,).
        workshop: has the models.
    """
    row_of = {stage.identity.key: stage.id for stage in reversed(stages) if stage.id in predictions}
    found = {}
    for stage in stages:
        members = [row_of.get(member.identity.key) for member in stage.members]
        rows = [row for row in members if row is not None]
        if not rows or len(rows) < len(members) or stage.id not in predictions:
            continue
        mean = workshop.model(stage)
        assert isinstance(mean, MeanModel)
        said = [predictions[row] for row in rows]
        found[stage.id] = {
            **ensemble_facts(said, predictions[stage.id], labels, mean.weights, mean.mean),
            "rows": rows,
            "mean": mean.mean,
            "weights": None if mean.weights is None else list(mean.weights),
            "fitted": workshop.fitted(stage),
        }
    return found


def known_parts(students: Sequence[tuple[ModelStage, str]], workshop: Workshop) -> list[dict[str, Any]]:
    """`part_facts` of every part of the transfer sets, as each of their teachers knows it.

    Args:
        students: each one's stage and the name of its transfer set.
        workshop: has what the teachers said.
    """
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for stage, transfer in students:
        if not stage.recordings:
            continue
        teacher, start = teacher_of(stage), 0
        parts = [recording.part for recording in by_view(stage.recorded()[0][1])[0]]
        names = [(transfer, part.name, teacher.id) for part in parts]
        if names[0] in found:
            continue
        said = workshop.recordings.on_rows(stage)
        judged = [workshop.on_validation(member) for member in teacher.asked]
        yardstick = [one for one in judged if one is not None]
        combined = workshop.recordings.together(stage, said, 1.0)
        validation = workshop.recordings.together(stage, yardstick, 1.0) if len(yardstick) == len(judged) else None
        mean = workshop.answering(teacher).model if len(said) > 1 else None
        several: dict[str, Any] = {}
        if isinstance(mean, MeanModel):
            several = {"weights": mean.weights, "mean": mean.mean}
        for name, part in zip(names, parts, strict=True):
            rows = slice(start, start := start + len(part))
            found[name] = {
                "transfer": transfer,
                "part": part.name,
                "teacher": teacher.id,
                **part_facts(
                    combined[rows],
                    part.labels,
                    validation=validation,
                    validation_labels=teacher.rows.validation.labels if validation is not None else None,
                    members=[one[rows] for one in said] if several else None,
                    validation_members=yardstick if several and validation is not None else None,
                    kept=_kept(stage, combined[rows], part.labels),
                    **several,
                ),
            }
    return list(found.values())


def _kept(stage: ModelStage, log_probs: Array, labels: Array) -> int | None:
    """How many rows of a part its student learns from; None where that is all of them."""
    if stage.confidence is None or stage.confidence.least is None:
        return None
    values = log_probs.astype(np.float32)
    values -= values.max(axis=1, keepdims=True)
    sure = 1 / np.exp(values).sum(axis=1)
    return int(np.count_nonzero((labels >= 0) | (sure >= stage.confidence.least)))
