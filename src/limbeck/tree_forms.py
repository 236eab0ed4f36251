"""A soft decision tree that was trained, made to answer in another way, or pruned."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.data import Part
from limbeck.metrics import errors
from limbeck.models import SoftDecisionTree
from limbeck.training import predict_log_probs
from limbeck.trees import Predict

FORM = "form.json"  # beside such a tree


def tree_form(
    whole: SoftDecisionTree, predict: Predict, prune: float | None, inputs: npt.NDArray[Any]
) -> SoftDecisionTree:
    """The tree in that form, counted on the rows by the paths of its own answers.

    Args:
        whole: as it was trained; it stays as it is.
        predict: how to answer.
        prune: the share of the rows below which a subtree is taken out; None for the whole tree.
        inputs: raw, shape (n, *input_shape): the training rows.
    """
    tree = whole.answering(predict)
    if prune is not None:
        return tree.pruned(inputs, prune)
    tree.count(inputs)
    return tree


def form_facts(whole: SoftDecisionTree, tree: SoftDecisionTree, validation: Part) -> dict[str, int | None]:
    """What form.json says: leaves left; errors on validation rows, and rows of another class than before.

    Args:
        whole: before.
        tree: what became of it.
        validation: rows; without any, the last two are None.
    """
    found: dict[str, int | None] = {"leaves": tree.leaf_count, "validation_errors": None, "validation_changed": None}
    if len(validation):
        log_probs = predict_log_probs(tree, validation.inputs)
        before = predict_log_probs(whole, validation.inputs).argmax(axis=1)
        found["validation_errors"] = errors(log_probs, validation.labels)
        found["validation_changed"] = int(np.count_nonzero(log_probs.argmax(axis=1) != before))
    return found
