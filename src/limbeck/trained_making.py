"""A stage whose model is trained: its training, and what is written of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from limbeck.artifacts import TIMES
from limbeck.batches import BatchSource
from limbeck.files import write_json
from limbeck.knowledge import TargetSource
from limbeck.model_stage import ModelStage
from limbeck.models import SoftDecisionTree, save_model
from limbeck.models.encoder import Encoder, truncation
from limbeck.models.saving import KnownModel
from limbeck.progress import Progress
from limbeck.shelf import HISTORY, validation_of
from limbeck.threads import using_threads
from limbeck.training import train


def make_trained(
    stage: ModelStage,
    part: Path,
    model: KnownModel | Encoder,
    lesson: tuple[TargetSource, BatchSource],
    plan: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Train a model and write it.

    Args:
        stage: of the model.
        part: the folder, which may hold a checkpoint from which to go on.
        model: before training, changed here.
        lesson: the targets and the batches.
        plan: the precision and the threads that it is trained with.
        progress: told by step.
    """
    targets, batches = lesson
    if isinstance(model, Encoder):
        _prepare(model, stage, progress)
    with using_threads(plan["threads"]):
        history = train(
            model,
            batches,
            targets,
            stage.objective,
            stage.settings,
            seed=stage.seed,
            validation=validation_of(stage),
            precision=plan["precision"],
            checkpoint=part,
            snapshot_every=stage.train.snapshot_every if stage.train else None,
            progress=progress,
            title=stage.title,
        )
    if isinstance(model, SoftDecisionTree):
        model.count(inputs_of(stage))
    write_json(part / HISTORY, history.as_json())
    write_json(part / TIMES, {"seconds": round(history.seconds, 3)})
    if isinstance(model, Encoder):
        model.show_states(False)
    save_model(part, model, stage.rows.train.classes, {"identity": stage.identity.as_json()})


def inputs_of(stage: ModelStage) -> npt.NDArray[Any]:
    """The inputs that it trains on, as they are."""
    inputs = stage.rows.train.inputs
    return inputs if stage.selected is None else inputs[stage.selected]


def _prepare(model: Encoder, stage: ModelStage, progress: Progress) -> None:
    """Before an encoder is trained: whether it has to show its states, and which texts are too long for it."""
    model.show_states(stage.objective.uses_states)
    rows = [("training texts", inputs_of(stage)), ("validation texts", stage.rows.validation.inputs)]
    if (said := truncation(model, rows)) is not None:
        progress.line(f"{stage.title}: {said}")
