"""How many numbers a fitted estimator holds, and how many it multiplies, as far as that can be seen from outside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np


def parameters_of(estimator: Any) -> int:
    """Features and thresholds of its trees' questions and the numbers in their leaves, or its coefficients; else 0.

    What wraps others (a pipeline, a search, a calibration, a vote) counts as what it holds.
    """
    count = getattr(estimator, "parameter_count", None)
    if isinstance(count, int):
        return count
    if hasattr(estimator, "tree_"):
        return _of_tree(estimator)
    if hasattr(estimator, "_predictors"):  # histogram gradient boosting: a tree for each iteration and class
        leaves = [int(tree.nodes["is_leaf"].sum()) for trees in estimator._predictors for tree in trees]
        return sum(3 * number - 2 for number in leaves)
    if hasattr(estimator, "booster_"):  # LightGBM's
        return numbers_in(estimator.booster_.model_to_string())
    if hasattr(estimator, "coef_"):
        return int(np.size(estimator.coef_) + np.size(getattr(estimator, "intercept_", ())))
    if hasattr(estimator, "coefs_"):
        return sum(int(np.size(one)) for one in (*estimator.coefs_, *estimator.intercepts_))
    return sum(parameters_of(one) for one in _parts(estimator))


def multiply_adds_of(estimator: Any) -> int | None:
    """Multiplications for one row: 0 of trees, which compare, else one for each coefficient; None where not known."""
    if isinstance(known := getattr(estimator, "multiply_adds", None), int):
        return known
    if any(hasattr(estimator, name) for name in ("tree_", "_predictors", "booster_")):
        return 0
    if hasattr(estimator, "coef_"):
        return int(np.size(estimator.coef_))
    if hasattr(estimator, "coefs_"):
        return sum(int(np.size(one)) for one in estimator.coefs_)
    parts = [multiply_adds_of(one) for one in _parts(estimator)]
    return summed(parts) if parts else None


def summed(counts: Sequence[int | None]) -> int | None:
    """The sum; None where one is not known."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def numbers_in(text: str) -> int:
    """Of LightGBM's text: a feature and a threshold for each question, a number in each leaf."""
    return sum(3 * int(leaves) - 2 for leaves in re.findall(r"^num_leaves=(\d+)$", text, re.MULTILINE))


def _of_tree(estimator: Any) -> int:
    tree = estimator.tree_
    leaves = int(tree.n_leaves)
    return 2 * (int(tree.node_count) - leaves) + leaves * int(np.prod(tree.value.shape[1:]))


def _parts(estimator: Any) -> list[Any]:
    if hasattr(estimator, "best_estimator_"):
        return [estimator.best_estimator_]
    if hasattr(estimator, "steps"):
        return [step for _, step in estimator.steps]
    if hasattr(estimator, "calibrated_classifiers_"):
        return [one.estimator for one in estimator.calibrated_classifiers_]
    if hasattr(estimator, "estimators_"):
        # A vote keeps a list, gradient boosting an array of trees for each iteration and class; a stack has one more.
        last = [estimator.final_estimator_] if hasattr(estimator, "final_estimator_") else []
        return [*np.asarray(estimator.estimators_, dtype=object).ravel(), *last]
    return []
