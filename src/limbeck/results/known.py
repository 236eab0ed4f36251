"""What the results say of ensembles and of transfer sets: how members differ, and what their teachers know of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from limbeck.ensembles import ensemble_facts
from limbeck.familiarity import part_facts
from limbeck.models.mean import MeanModel
from limbeck.plan.model_stage import ModelStage
from limbeck.stages.lessons import kept_rows
from limbeck.stages.recordings import by_view, teacher_of
from limbeck.stages.workshop import Workshop

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


def known_parts(
    students: Sequence[tuple[ModelStage, str]], stages: Sequence[ModelStage], workshop: Workshop
) -> list[dict[str, Any]]:
    """`part_facts` of every part of the transfer sets, as each of their teachers knows it.

    Args:
        students: each one's stage and the name of its transfer set.
        stages: of the rows: a teacher is called what its row is.
        workshop: has what the teachers said.
    """
    row_of = {stage.identity.key: stage.id for stage in stages if stage.role == "teacher"}
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for stage, transfer in students:
        if not stage.recordings:
            continue
        teacher, start = teacher_of(stage), 0
        parts = [recording.part for recording in by_view(stage.recorded()[0][1])[0]]
        names = [(transfer, part.name, teacher.identity.key) for part in parts]
        if names[0] in found:
            continue
        said = workshop.recordings.on_rows(stage)
        judged = [workshop.on_validation(member) for member in teacher.asked]
        yardstick = [one for one in judged if one is not None]
        combined = workshop.recordings.together(stage, said, 1.0)
        validation = workshop.recordings.together(stage, yardstick, 1.0) if len(yardstick) == len(judged) else None
        mean = workshop.answering(teacher).model if len(said) > 1 else None
        kept = kept_rows(stage, workshop.recordings)
        several: dict[str, Any] = {}
        if isinstance(mean, MeanModel):
            several = {"weights": mean.weights, "mean": mean.mean}
        for name, part in zip(names, parts, strict=True):
            rows = slice(start, start := start + len(part))
            found[name] = {
                "transfer": transfer,
                "part": part.name,
                "teacher": row_of.get(teacher.identity.key, teacher.id),
                **part_facts(
                    combined[rows],
                    part.labels,
                    validation=validation,
                    validation_labels=teacher.rows.validation.labels if validation is not None else None,
                    members=[one[rows] for one in said] if several else None,
                    validation_members=yardstick if several and validation is not None else None,
                    kept=None if kept is None else int(kept[rows].sum()),
                    **several,
                ),
            }
    return list(found.values())
