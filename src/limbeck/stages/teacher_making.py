"""Teachers that no loop trains: estimators fitted to the training rows, and the mean of several teachers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from torch import nn

from limbeck.artifacts import TIMES
from limbeck.at_once.estimators import fit_estimator
from limbeck.data import Part
from limbeck.files import write_json
from limbeck.knowledge.weights import FittedWeights, fit_weights
from limbeck.models.estimator_file import save_estimator_model
from limbeck.models.mean import MeanModel
from limbeck.models.opening import save_mean
from limbeck.plan.model_stage import ModelStage
from limbeck.progress import Progress
from limbeck.teachers import TorchTeacher, answers_about, own_answers
from limbeck.teachers.out_of_fold import OWN_ROWS

FITTED = "weights.json"


def make_estimator(stage: ModelStage, folder: Path, progress: Progress) -> None:
    """Fit a stage's estimator and write it into a folder, with its answers for rows that it was not fitted to."""
    assert stage.model is not None
    settings, part = dict(stage.model), stage.rows.train
    kind, began = settings.pop("kind"), time.monotonic()
    fitted = fit_estimator(kind, settings, part, stage.seed, stage.folds, progress, title=stage.title)
    save_estimator_model(folder, fitted.model, part.classes, {"identity": stage.identity.as_json()})
    if fitted.own is not None:
        fitted.own.save(folder / OWN_ROWS)
        if stage.folds is None and (twins := _repeated(part)):
            progress.line(
                f"{stage.title}: {twins} of its rows are repeated, and trees that have not seen a row have seen its "
                "twin: folds = 3 keep equal rows together"
            )
    write_json(folder / TIMES, {"seconds": round(time.monotonic() - began, 3)})


def _repeated(part: Part) -> int:
    """How many labelled rows are there more than once."""
    _, counts = np.unique(part.row_hashes[part.labels >= 0], return_counts=True)
    return int(counts[counts > 1].sum())


def mean_of(stage: ModelStage, members: Sequence[nn.Module], weights: Sequence[float] | None = None) -> MeanModel:
    """A stage's mean, of its members' models, with weights as they were given or fitted."""
    part, keys = stage.rows.train, [member.identity.key for member in stage.members]
    shape, classes = part.inputs.shape[1:], len(part.classes)
    mean = stage.combination.mean
    return MeanModel(
        members, keys, weights=weights, mean=mean, input_shape=shape, classes=classes, form=part.form
    ).eval()


def make_mean(
    stage: ModelStage, folder: Path, members: Sequence[nn.Module], weights: Sequence[float] | None = None
) -> None:
    """Write the mean of teachers into a folder: their keys, for they lie beside it, or how they were given."""
    given = {
        member.identity.key: member.path.suffix.lower() or "folder"
        for member in stage.members
        if member.path is not None
    }
    mean = mean_of(stage, members, weights)
    save_mean(folder, mean, stage.rows.train.classes, stage.identity.as_json(), given)


def fitted_weights(stage: ModelStage, members: Sequence[TorchTeacher], folder: Path) -> FittedWeights:
    """Weights of a stage's members, fitted to its validation rows; what came of it is written into the folder.

    Raises:
        LimbeckError: a member has no answers for these rows.
    """
    validation = stage.rows.validation
    said = [answers_about(member, validation.inputs, own_answers(member, validation)) for member in members]
    found = fit_weights(said, validation.labels, stage.combination.mean)
    write_json(folder / FITTED, {**asdict(found), "rows": len(validation)})
    return found
