"""A LightGBM classifier as its own text format has it, which is read without running anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.errors import LimbeckError
from limbeck.models.estimator_size import numbers_in
from limbeck.threads import available_cores

_FEW_ROWS = 64


class Booster:
    """A fitted booster with scikit-learn's interface.

    Args:
        text: as LightGBM's `model_to_string` gives it.
        classes: the class of each column of its probabilities.

    Raises:
        LimbeckError: LightGBM is missing, or the text is none of its models of so many classes.
    """

    def __init__(self, text: str, classes: Sequence[int]) -> None:
        lightgbm = load_lightgbm()
        # The one line in it that says how it was fitted and not what came of it.
        self.text = re.sub(r"\[num_threads: \d+\]", "[num_threads: 0]", text)
        self.classes_ = np.asarray(classes, dtype=np.int64)
        try:
            _check(self.text, len(self.classes_) if len(self.classes_) > 2 else 1)
            self._booster = lightgbm.Booster(model_str=self.text)
        except (KeyError, ValueError, IndexError, lightgbm.basic.LightGBMError) as error:
            what = " ".join(str(error).split())[:120]
            raise LimbeckError(f"the text is no LightGBM model of {len(self.classes_)} classes ({what})") from None

    @property
    def n_features_in_(self) -> int:
        """The features that it takes."""
        return int(self._booster.num_feature())

    @property
    def multiply_adds(self) -> int:
        """0: trees compare."""
        return 0

    @cached_property
    def parameter_count(self) -> int:
        """A feature and a threshold for each question, a number in each leaf."""
        return numbers_in(self.text)

    def predict_proba(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Rows of shape (n, features), NaN for what is missing, to probabilities (n, classes)."""
        threads = 1 if len(rows) < _FEW_ROWS else available_cores()
        found = np.asarray(self._booster.predict(rows, num_threads=threads), dtype=np.float64)
        return np.stack([1 - found, found], axis=1) if found.ndim == 1 else found


def _check(text: str, columns: int) -> None:
    """The text is whole and its trees are trees: LightGBM itself does not look, and takes the process down with it.

    Raises:
        ValueError, KeyError, IndexError: it is not.
    """
    start, end = text.index("\nTree=0\n") + 1, text.index("\nend of trees\n") + 1
    header = _fields(text[:start])
    sizes = _whole_numbers(header["tree_sizes"])
    if not text.startswith("tree\n") or int(header["num_class"]) != columns or len(sizes) % columns:
        raise ValueError("another number of classes")
    if sum(sizes) != end - start:
        raise ValueError("cut short")
    for size in sizes:
        _check_tree(_fields(text[start : start + size]), int(header["max_feature_idx"]))
        start += size


def _check_tree(tree: dict[str, str], last_feature: int) -> None:
    leaves = int(tree["num_leaves"])
    if int(tree["is_linear"]) or len(tree["leaf_value"].split()) != leaves:
        raise ValueError("leaves are missing")
    if leaves == 1:
        return
    feature, kind, left, right = (
        _whole_numbers(tree[name]) for name in ("split_feature", "decision_type", "left_child", "right_child")
    )
    thresholds = tree["threshold"].split()
    if {len(feature), len(kind), len(left), len(right), len(thresholds)} != {leaves - 1}:
        raise ValueError("questions are missing")
    if not all(0 <= one <= last_feature for one in feature):
        raise ValueError("a question about a feature that there is not")
    for at, below in enumerate(zip(left, right, strict=True)):
        if not all(at < one < leaves - 1 or (one < 0 and ~one < leaves) for one in below):
            raise ValueError("a question whose turns lead nowhere")
    bounds = _whole_numbers(tree.get("cat_boundaries", "0"))
    if bounds != sorted(bounds) or len(bounds) != int(tree["num_cat"]) + 1:
        raise ValueError("sets of categories are missing")
    if bounds[0] or bounds[-1] != len(tree.get("cat_threshold", "").split()):
        raise ValueError("sets of categories are missing")
    if not all(0 <= float(thresholds[at]) < len(bounds) - 1 for at, one in enumerate(kind) if one & 1):
        raise ValueError("a question about a set of categories that there is not")


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _whole_numbers(text: str) -> list[int]:
    return [int(number) for number in text.split()]


def load_lightgbm() -> Any:
    """The module.

    Raises:
        LimbeckError: it is not installed.
    """
    try:
        import lightgbm
    except ImportError:
        raise LimbeckError('a model of kind "lightgbm" needs lightgbm: pip install "limbeck[data]"') from None
    return lightgbm
