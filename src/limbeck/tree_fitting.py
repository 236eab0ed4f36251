"""scikit-learn's decision trees as students: fitted to what the objective asks for, and kept as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from limbeck.data import Part
from limbeck.errors import LimbeckError, UsageError
from limbeck.fitting import check_seed
from limbeck.metrics import accuracy, nll
from limbeck.models import encoded
from limbeck.models.threshold_tree import ThresholdTree
from limbeck.objectives import Objective, tempered
from limbeck.training import predict_log_probs

Array = npt.NDArray[Any]


def fit_threshold_tree(
    tree: ThresholdTree,
    inputs: Array,
    labels: Array | None,
    teacher_log_probs: Array | None,
    objective: Objective,
    seed: int,
) -> ThresholdTree:
    """A tree of the same settings, grown by scikit-learn on what the objective is about.

    - "hard_labels", over the labelled rows: a `DecisionTreeClassifier`. A leaf of n rows with the frequencies f answers
      (n·q + a) / (n + a·classes), where q = (1 − ε)·f + ε / classes is what minimises `hard_label_loss` there, for
      label smoothing ε, and a is `pseudo_count`. Smoothing the labels scales gini alike everywhere, so that it
      moves no split by gini.
    - "soft_targets": a `DecisionTreeRegressor` on softmax(v/T), one output for each class. A leaf's mean q̄ is what
      minimises both its squared error and `soft_target_loss` there, by a student whose softmax(z/T) is q̄: so its
      logits are z = T·log q̄, as a network's would be, and it answers softmax(z). Where a leaf's rows agree that is
      the teacher's own answer, whatever T; log q̄ itself would be as flat as the targets, and unsure for it.
    - "logit_matching": a `DecisionTreeRegressor` on the log-probabilities, each row's mean taken out; a leaf's mean
      is its logits. Splits and leaves minimise `logit_matching_loss`.

    The squared error of one-hot targets is gini: the three differ in their targets and not in how they split.

    Args:
        tree: gives settings, input_shape, classes and, of a table, what its encoding has learnt; it is not changed.
        inputs: raw, shape (n, *input_shape), finite; compared as float32, so 4 bytes for each number are taken.
        labels: shape (n,), integers, −1 for a row without a label; None if the objective uses none.
        teacher_log_probs: shape (n, classes), log-probabilities at temperature 1, or logits, finite; None if the
            objective uses none.
        objective: soft and hard targets cannot be weighted against each other.
        seed: settles which of equally good splits is taken.

    Raises:
        UsageError: the objective has both terms, or what it needs was not given.
        LimbeckError: shapes do not fit, there are no rows or none that is labelled, or a value is out of range.
    """
    check_seed(seed)
    if objective.uses_teacher and objective.uses_labels:
        raise UsageError(
            f"a decision tree is fitted to soft targets or to hard labels, not to a sum of both: set hard = 0 (it is "
            f'{objective.hard}), or loss = "hard_labels"'
        )
    if inputs.shape[1:] != tree.input_shape or not len(inputs):
        raise LimbeckError(
            f"the inputs have the shape {inputs.shape}: expected at least one row of shape {tree.input_shape}"
        )
    if objective.uses_labels:
        if labels is None:
            raise UsageError("a tree fitted to hard labels needs labels, and none were given")
        return _fit_labels(tree, encoded(tree, inputs), labels, objective.label_smoothing, seed)
    if teacher_log_probs is None:
        raise UsageError(
            f"a tree fitted by {objective.loss} needs the teacher's log-probabilities, and none were given"
        )
    return _fit_outputs(tree, encoded(tree, inputs), teacher_log_probs, objective, seed)


def history_of(tree: ThresholdTree, validation: Part) -> dict[str, Any]:
    """What history.json says of a tree, which has no epochs: one, by which a grid chooses as ever."""
    row: dict[str, Any] = {"epoch": 1, "loss": None, "learning_rate": None}
    log_probs = predict_log_probs(tree, validation.inputs) if len(validation) else None
    row["validation_accuracy"] = None if log_probs is None else accuracy(log_probs, validation.labels)
    row["validation_nll"] = None if log_probs is None else nll(log_probs, validation.labels)
    return {"epochs": [row], "kept_epoch": 1}


def _fit_labels(tree: ThresholdTree, inputs: Array, labels: Array, label_smoothing: float, seed: int) -> ThresholdTree:
    from sklearn.tree import DecisionTreeClassifier

    if labels.shape != inputs.shape[:1] or labels.dtype.kind not in "iu":
        raise LimbeckError(
            f"the labels are {labels.dtype} of shape {labels.shape}: expected a whole number for each of "
            f"{len(inputs)} rows"
        )
    if labels.min() < -1 or labels.max() >= tree.classes:
        wrong = labels[(labels < -1) | (labels >= tree.classes)][0]
        raise LimbeckError(f"a label is {wrong}: expected 0 to {tree.classes - 1}, or −1 for none")
    labelled = labels >= 0
    if not labelled.any():
        raise LimbeckError(f"none of the {len(labels)} rows has a label: a tree of hard labels needs some")
    if not labelled.all():
        inputs, labels = inputs[labelled], labels[labelled]
    fitted = DecisionTreeClassifier(criterion=tree.settings["criterion"], **_limits(tree), random_state=seed)
    fitted.fit(_flat(inputs), labels)
    rows = fitted.tree_.n_node_samples[:, np.newaxis]
    shares = np.zeros((len(rows), tree.classes))
    shares[:, fitted.classes_] = fitted.tree_.value[:, 0]
    # Some versions of scikit-learn keep counts and some shares; whole counts keep what is equally frequent equal.
    counts = np.rint(shares / shares.sum(axis=1, keepdims=True) * rows)
    added = tree.settings["pseudo_count"]
    smoothed = (1 - label_smoothing) * counts + label_smoothing * rows / tree.classes
    return _with_nodes(tree, fitted.tree_, np.log((smoothed + added) / (rows + added * tree.classes)))


def _fit_outputs(tree: ThresholdTree, inputs: Array, outputs: Array, objective: Objective, seed: int) -> ThresholdTree:
    from sklearn.tree import DecisionTreeRegressor

    if outputs.shape != (len(inputs), tree.classes):
        raise LimbeckError(
            f"the teacher's log-probabilities have the shape {outputs.shape}: expected {(len(inputs), tree.classes)}"
        )
    if not np.isfinite(outputs).all():
        raise LimbeckError("the teacher's log-probabilities are not all finite: put a floor under zero probabilities")
    wide = outputs.astype(np.float64)
    if objective.loss == "logit_matching":
        targets = wide - wide.mean(axis=1, keepdims=True)
    else:
        targets = tempered(torch.from_numpy(wide), objective.temperature).exp().numpy()
    fitted = DecisionTreeRegressor(criterion="squared_error", **_limits(tree), random_state=seed)
    fitted.fit(_flat(inputs), targets)
    logits = fitted.tree_.value[:, :, 0]
    if objective.loss != "logit_matching":
        logits = objective.temperature * np.log(np.maximum(logits, np.finfo(np.float32).tiny))
    return _with_nodes(tree, fitted.tree_, logits)


def _limits(tree: ThresholdTree) -> dict[str, Any]:
    return {name: tree.settings[name] for name in ("max_depth", "max_leaf_nodes", "min_samples_leaf")}


def _flat(inputs: Array) -> npt.NDArray[np.float32]:
    """Raw rows as float32, shape (n, features)."""
    flat = inputs.reshape(len(inputs), -1).astype(np.float32, copy=False)
    # NaN would have scikit-learn learn turns that a threshold does not say.
    if not np.isfinite(flat).all():
        raise LimbeckError("some inputs are NaN or infinite as float32: leave those rows out, or fill them in")
    return flat


def _with_nodes(tree: ThresholdTree, grown: Any, logits: Array) -> ThresholdTree:
    """scikit-learn's tree as ours.

    Args:
        tree: gives the settings.
        grown: an estimator's `tree_`, each node before those below it.
        logits: shape (nodes, classes).
    """
    asks = grown.children_left >= 0
    # A question's number among the questions; a leaf's among the leaves, inverted.
    number = np.where(asks, np.cumsum(asks) - 1, ~(np.cumsum(~asks) - 1)).astype(np.int32)
    exact = grown.threshold[asks]
    threshold = exact.astype(np.float32)
    # No float32 lies between a float64 and the next float32 below it, so both part float32 inputs alike.
    threshold = np.where(threshold > exact, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    settings = {**tree.settings, "nodes": len(number)}
    found = ThresholdTree(tree.input_shape, tree.classes, **settings, form=tree.form)
    found.load_state_dict(
        {
            "feature": torch.from_numpy(grown.feature[asks].astype(np.int32)),
            "threshold": torch.from_numpy(threshold),
            "left": torch.from_numpy(number[grown.children_left[asks]]),
            "right": torch.from_numpy(number[grown.children_right[asks]]),
            "log_probs": torch.from_numpy(logits[~asks]).log_softmax(dim=-1).float(),
            **{f"encoding.{name}": tensor for name, tensor in tree.encoding.state_dict().items()},
        }
    )
    return found.eval()
