"""Models that are fitted at once, without epochs: scikit-learn's tree, and its boosted trees."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from limbeck.at_once.boosting import fit_tree_ensemble
from limbeck.at_once.trees import fit_threshold_tree
from limbeck.data import Part
from limbeck.metrics import accuracy, nll
from limbeck.models import ThresholdTree, TreeEnsemble
from limbeck.objectives import Objective
from limbeck.training import predict_log_probs


def fit_at_once(
    model: ThresholdTree | TreeEnsemble,
    inputs: npt.NDArray[Any],
    labels: npt.NDArray[Any] | None,
    teacher_log_probs: npt.NDArray[Any] | None,
    objective: Objective,
    seed: int,
) -> ThresholdTree | TreeEnsemble:
    """As `fit_threshold_tree` or `fit_tree_ensemble`, whichever the model takes."""
    if isinstance(model, TreeEnsemble):
        return fit_tree_ensemble(model, inputs, labels, teacher_log_probs, objective, seed)
    return fit_threshold_tree(model, inputs, labels, teacher_log_probs, objective, seed)


def history_of(model: ThresholdTree | TreeEnsemble, validation: Part) -> dict[str, Any]:
    """What history.json says of a model that has no epochs: one, by which a grid chooses as ever."""
    row: dict[str, Any] = {"epoch": 1, "loss": None, "learning_rate": None}
    log_probs = predict_log_probs(model, validation.inputs) if len(validation) else None
    row["validation_accuracy"] = None if log_probs is None else accuracy(log_probs, validation.labels)
    row["validation_nll"] = None if log_probs is None else nll(log_probs, validation.labels)
    return {"epochs": [row], "kept_epoch": 1}
