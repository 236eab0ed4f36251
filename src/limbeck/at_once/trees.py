"""scikit-learn's decision trees as students: fitted to what the objective asks for, and kept as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from limbeck.errors import LimbeckError, UsageError
from limbeck.fitting import check_seed
from limbeck.models import encoded
from limbeck.models.threshold_tree import ThresholdTree
from limbeck.models.tree_ensemble import TreeEnsemble
from limbeck.objectives import Objective, tempered

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
    rows, wanted = lesson(tree, inputs, labels, teacher_log_probs, objective, seed)
    fit = _fit_labels if objective.uses_labels else _fit_outputs
    return fit(tree, rows, wanted, objective, seed)


def lesson(
    model: ThresholdTree | TreeEnsemble,
    inputs: Array,
    labels: Array | None,
    teacher_log_probs: Array | None,
    objective: Objective,
    seed: int,
) -> tuple[npt.NDArray[np.float32], Array]:
    """The rows that trees are fitted to, encoded, shape (n, features); and what is wanted of them.

    That is the labels of those rows that have one, shape (n,), or the teacher's log-probabilities as float64, shape
    (n, classes). Arguments and errors are those of `fit_threshold_tree`.
    """
    check_seed(seed)
    if objective.uses_teacher and objective.uses_labels:
        raise UsageError(
            f"a decision tree is fitted to soft targets or to hard labels, not to a sum of both: set hard = 0 (it is "
            f'{objective.hard}), or loss = "hard_labels"'
        )
    if inputs.shape[1:] != model.input_shape or not len(inputs):
        raise LimbeckError(
            f"the inputs have the shape {inputs.shape}: expected at least one row of shape {model.input_shape}"
        )
    if objective.uses_labels:
        if labels is None:
            raise UsageError("a tree fitted to hard labels needs labels, and none were given")
        labelled = _labelled(labels, len(inputs), model.classes)
        if not labelled.all():
            inputs, labels = inputs[labelled], labels[labelled]
        return _flat(encoded(model, inputs)), labels
    if teacher_log_probs is None:
        raise UsageError(
            f"a tree fitted by {objective.loss} needs the teacher's log-probabilities, and none were given"
        )
    if teacher_log_probs.shape != (len(inputs), model.classes):
        raise LimbeckError(
            f"the teacher's log-probabilities have the shape {teacher_log_probs.shape}: expected "
            f"{(len(inputs), model.classes)}"
        )
    if not np.isfinite(teacher_log_probs).all():
        raise LimbeckError("the teacher's log-probabilities are not all finite: put a floor under zero probabilities")
    return _flat(encoded(model, inputs)), teacher_log_probs.astype(np.float64)


def float32_thresholds(exact: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Thresholds that part float32 inputs as the float64 ones do: no float32 lies between one and the next below it."""
    threshold = exact.astype(np.float32)
    return np.where(threshold > exact, np.nextafter(threshold, np.float32(-np.inf)), threshold)


def _labelled(labels: Array, rows: int, classes: int) -> npt.NDArray[np.bool_]:
    if labels.shape != (rows,) or labels.dtype.kind not in "iu":
        raise LimbeckError(
            f"the labels are {labels.dtype} of shape {labels.shape}: expected a whole number for each of {rows} rows"
        )
    if labels.min() < -1 or labels.max() >= classes:
        wrong = labels[(labels < -1) | (labels >= classes)][0]
        raise LimbeckError(f"a label is {wrong}: expected 0 to {classes - 1}, or −1 for none")
    labelled: npt.NDArray[np.bool_] = labels >= 0
    if not labelled.any():
        raise LimbeckError(f"none of the {rows} rows has a label: a tree of hard labels needs some")
    return labelled


def _fit_labels(tree: ThresholdTree, rows: Array, labels: Array, objective: Objective, seed: int) -> ThresholdTree:
    from sklearn.tree import DecisionTreeClassifier

    fitted = DecisionTreeClassifier(criterion=tree.settings["criterion"], **_limits(tree), random_state=seed)
    fitted.fit(rows, labels)
    sizes = fitted.tree_.n_node_samples[:, np.newaxis]
    shares = np.zeros((len(sizes), tree.classes))
    shares[:, fitted.classes_] = fitted.tree_.value[:, 0]
    # Some versions of scikit-learn keep counts and some shares; whole counts keep what is equally frequent equal.
    counts = np.rint(shares / shares.sum(axis=1, keepdims=True) * sizes)
    added, smoothing = tree.settings["pseudo_count"], objective.label_smoothing
    smoothed = (1 - smoothing) * counts + smoothing * sizes / tree.classes
    return _with_nodes(tree, fitted.tree_, np.log((smoothed + added) / (sizes + added * tree.classes)))


def _fit_outputs(tree: ThresholdTree, rows: Array, wide: Array, objective: Objective, seed: int) -> ThresholdTree:
    from sklearn.tree import DecisionTreeRegressor

    if objective.loss == "logit_matching":
        targets = wide - wide.mean(axis=1, keepdims=True)
    else:
        targets = tempered(torch.from_numpy(wide), objective.temperature).exp().numpy()
    fitted = DecisionTreeRegressor(criterion="squared_error", **_limits(tree), random_state=seed)
    fitted.fit(rows, targets)
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
    settings = {**tree.settings, "nodes": len(number)}
    found = ThresholdTree(tree.input_shape, tree.classes, **settings, form=tree.form)
    found.load_state_dict(
        {
            "feature": torch.from_numpy(grown.feature[asks].astype(np.int32)),
            "threshold": torch.from_numpy(float32_thresholds(grown.threshold[asks])),
            "left": torch.from_numpy(number[grown.children_left[asks]]),
            "right": torch.from_numpy(number[grown.children_right[asks]]),
            "log_probs": torch.from_numpy(logits[~asks]).log_softmax(dim=-1).float(),
            **{f"encoding.{name}": tensor for name, tensor in tree.encoding.state_dict().items()},
        }
    )
    return found.eval()
