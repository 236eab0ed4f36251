"""A stage whose model is fitted at once: trees, to labels or to what a teacher said."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from limbeck.artifacts import TIMES
from limbeck.at_once.fit import fit_at_once, history_of
from limbeck.data import Part
from limbeck.files import write_json
from limbeck.models import ThresholdTree, TreeEnsemble, save_model
from limbeck.models.saving import KnownModel
from limbeck.plan.model_stage import ModelStage
from limbeck.progress import Progress
from limbeck.stages.lessons import learnt_from, stacked
from limbeck.stages.recordings import Recordings
from limbeck.stages.shelf import HISTORY


def make_fitted(
    stage: ModelStage, part: Path, unfitted: KnownModel, validation: Part, recordings: Recordings, progress: Progress
) -> KnownModel:
    """Fit a model and write it; its history is one epoch, by which a grid chooses as ever.

    Args:
        stage: of the model.
        part: the folder.
        unfitted: the model before.
        validation: the rows that a grid chooses on.
        recordings: the run's knowledge.
        progress: told what is fitted.
    """
    train, chosen = stage.rows.train, stage.selected
    rows = np.arange(len(train)) if chosen is None else chosen
    inputs, labels, log_probs = train.inputs[rows], train.labels[rows], None
    if stage.recordings:
        learnt = learnt_from(stage, recordings, progress)
        rows = rows if learnt is None else learnt
        seen, said = recordings.read(stage)
        inputs, log_probs = stacked(seen, rows), stacked(said, rows).astype(np.float32)
        labels = train.labels[rows]
        labels = np.pad(labels, (0, len(inputs) - len(rows)), constant_values=-1)  # synthetic rows have none
    began = time.monotonic()
    assert isinstance(unfitted, ThresholdTree | TreeEnsemble)
    progress.start(stage.title, 1)
    tree = fit_at_once(unfitted, inputs, labels, log_probs, stage.objective, stage.seed)
    progress.end(f"{tree.leaves} leaves")
    write_json(part / HISTORY, history_of(tree, validation))
    write_json(part / TIMES, {"seconds": round(time.monotonic() - began, 3)})
    save_model(part, tree, train.classes, {"identity": stage.identity.as_json()})
    return tree
