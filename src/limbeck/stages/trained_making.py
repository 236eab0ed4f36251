"""A stage whose model is trained: its training, and what is written of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from limbeck.artifacts import TIMES
from limbeck.batches import BatchSource
from limbeck.devices import CPU, on_device
from limbeck.files import read_json, write_json
from limbeck.knowledge import TargetSource
from limbeck.models import SoftDecisionTree, save_model
from limbeck.models.encoder import Encoder, truncation
from limbeck.models.saving import KnownModel
from limbeck.plan.model_stage import ModelStage
from limbeck.progress import Progress
from limbeck.stages.shelf import HISTORY, validation_of
from limbeck.teachers import TorchTeacher, log_probabilities
from limbeck.teachers.out_of_fold import OWN_ROWS, OwnRows
from limbeck.threads import using_threads
from limbeck.training import train


def make_trained(
    stage: ModelStage,
    part: Path,
    model: KnownModel | Encoder,
    lesson: tuple[TargetSource, BatchSource],
    plan: Mapping[str, Any],
    progress: Progress,
    apart: Sequence[tuple[Callable[[], nn.Module], Path]] = (),
) -> None:
    """Train a model and write it; of a teacher by folds also what is said about its rows out of fold.

    Args:
        stage: of the model.
        part: the folder, which may hold a checkpoint from which to go on.
        model: before training, changed here.
        lesson: the targets and the batches.
        plan: the device, the precision and the threads that it is trained with.
        progress: told by step.
        apart: what opens the models of `stage.apart`, and their folders.
    """
    targets, batches = lesson
    if isinstance(model, Encoder):
        _prepare(model, stage, progress)
    with using_threads(plan["threads"]):
        history = train(
            model.to(plan["device"]),
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
    model.to(CPU)
    if isinstance(model, SoftDecisionTree):
        model.count(inputs_of(stage))
    write_json(part / HISTORY, history.as_json())
    of_folds = sum(read_json(folder / TIMES)["seconds"] for _, folder in apart)
    write_json(part / TIMES, {"seconds": round(history.seconds + of_folds, 3)})
    if apart:
        with using_threads(plan["threads"]):
            _out_of_fold(stage, [opened for opened, _ in apart]).save(part / OWN_ROWS)
    if isinstance(model, Encoder):
        model.show_states(False)
    save_model(part, model, stage.rows.train.classes, {"identity": stage.identity.as_json()})


def _out_of_fold(stage: ModelStage, models: Sequence[Callable[[], nn.Module]]) -> OwnRows:
    """What each model says about the training rows that it was trained without; they are opened one at a time."""
    train = stage.rows.train
    rows, said = [], []
    for fold, opened in zip(stage.apart, models, strict=True):
        rows.append(np.flatnonzero(~np.isin(train.ids, fold.rows.train.ids)))
        said.append(log_probabilities(TorchTeacher(on_device(opened())), train.inputs[rows[-1]]))
    order = np.argsort(np.concatenate(rows))
    held = np.concatenate(rows)[order]
    return OwnRows(train.ids[held], train.row_hashes[held], np.concatenate(said)[order])


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
