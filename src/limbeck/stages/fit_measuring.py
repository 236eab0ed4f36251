"""How long it takes to fit an estimator, measured on few rows with few trees."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limbeck.at_once.estimators import fit_estimator
from limbeck.models.estimator_file import save_estimator_model
from limbeck.models.opening import saved_files
from limbeck.plan.model_stage import ModelStage

MEASURED_ROWS = 2000
MEASURED_TREES = {"trees": 10, "iterations": 5}
_TIMED_FOLDS = 2  # fitted so often, each time to half of the rows: no row is without a tree that left it out


@dataclass(frozen=True)
class MeasuredFit:
    """What fitting an estimator to all rows is likely to take.

    Attributes:
        seconds: to fit it, as often as there are folds.
        bytes: of its files.
        asking_seconds: to ask it about a row.
    """

    seconds: float
    bytes: int
    asking_seconds: float


def measured_fit(stage: ModelStage) -> MeasuredFit:
    """Fit an estimator's stage to some of its rows, with few trees, and reckon what all take.

    Time grows with rows and their logarithm; a forest's size with its rows, boosting's with its trees alone. A sample
    that cannot be cut in two is not measured, and counts as nothing.
    """
    assert stage.model is not None
    settings, part = dict(stage.model), stage.rows.train
    kind, rows = settings.pop("kind"), len(part)
    (name,) = (name for name in MEASURED_TREES if name in settings)
    few = min(settings[name], MEASURED_TREES[name])
    some = part.take(np.unique(np.linspace(0, rows - 1, min(rows, MEASURED_ROWS)).round().astype(np.int64)))
    if len(np.unique(some.row_hashes[some.labels >= 0])) < 2 * _TIMED_FOLDS or len(np.unique(some.labels)) < 2:
        return MeasuredFit(0.0, 0, 0.0)
    began = time.perf_counter()
    model = fit_estimator(kind, {**settings, name: few}, some, stage.seed, _TIMED_FOLDS).model
    seconds = (time.perf_counter() - began) / _TIMED_FOLDS
    began = time.perf_counter()
    model.log_probs(some.inputs)
    asking = (time.perf_counter() - began) / len(some) / _TIMED_FOLDS
    with tempfile.TemporaryDirectory() as folder:
        save_estimator_model(folder, model, part.classes)
        size = sum(file.stat().st_size for file in saved_files(Path(folder))) / _TIMED_FOLDS
    fits, trees = stage.folds or 1, settings[name] / few
    fitted_to = rows * (fits - 1) / fits if fits > 1 else rows
    measured_on = len(some) / _TIMED_FOLDS
    more = fitted_to * np.log2(fitted_to + 1) / (measured_on * np.log2(measured_on + 1))
    grown = fitted_to / measured_on if kind == "random-forest" and settings["max_depth"] is None else 1.0
    return MeasuredFit(float(seconds * more * trees * fits), round(size * grown * trees * fits), asking * trees * fits)
