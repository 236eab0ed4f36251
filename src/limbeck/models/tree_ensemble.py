"""Boosted trees as arrays: many trees of thresholds, each adding to the logit of one class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from limbeck.data import Form
from limbeck.errors import UsageError
from limbeck.models.encoding import encoding_for, feature_count
from limbeck.models.outputs import Outputs

MOST_CLASSES = 50
"""Boosting grows trees for each class by itself."""

_WALKS = 1 << 20  # of a row down a tree, taken together, so that a large batch needs little memory


class TreeEnsemble(nn.Module):
    """Gradient boosting as scikit-learn grows it: a logit is a start and the sum of its class's trees.

    No gradient of ours trains it: `limbeck.at_once.boosting.fit_tree_ensemble` gives an ensemble that is fitted, of as
    many trees and nodes as that took. Until then it has none, and all classes alike.

    Questions are numbered tree by tree, each before those below it, and so are leaves. Where a turn leads to a leaf,
    `left` or `right` holds ~leaf, which is negative; so does `root`, where a tree is one leaf.

    Args:
        input_shape: shape of one raw input, the batch left out.
        classes: number of classes.
        iterations: trees for each class.
        learning_rate: by which each tree's values are shrunk (Friedman 2001), in (0, 1].
        leaves: most leaves of a tree, the best splits first.
        min_samples_leaf: least rows in a leaf.
        max_depth: most questions on a path; None for no limit.
        l2: penalty on a leaf's value, 0 or more.
        trees: set by the fit.
        nodes: questions and leaves of all trees; set by the fit.
        form: of a table, whose raw rows it then takes; its questions are about the encoded features.

    Raises:
        UsageError: a value is out of range, or there are more classes than `MOST_CLASSES`.
    """

    kind: ClassVar[str] = "boosted-trees"
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    root: Tensor
    tree_class: Tensor
    start: Tensor

    def __init__(
        self,
        input_shape: Sequence[int],
        classes: int,
        iterations: int = 100,
        learning_rate: float = 0.1,
        leaves: int = 31,
        min_samples_leaf: int = 20,
        max_depth: int | None = None,
        l2: float = 0.0,
        trees: int = 0,
        nodes: int = 0,
        form: Form | None = None,
    ) -> None:
        super().__init__()
        self.input_shape = tuple(input_shape)
        self.classes = classes
        self.form = form
        self.settings: dict[str, Any] = {
            "iterations": iterations, "learning_rate": learning_rate, "leaves": leaves,
            "min_samples_leaf": min_samples_leaf, "max_depth": max_depth, "l2": l2, "trees": trees, "nodes": nodes,
        }  # fmt: skip
        _check_settings(self.settings)
        if classes > MOST_CLASSES:
            raise UsageError(
                f"there are {classes} classes, and boosted-trees fits a regressor for each of them: expected at most "
                f"{MOST_CLASSES}; take another kind of model"
            )
        self.encoding = encoding_for(form)
        questions = (nodes - trees) // 2
        # Before anything is loaded, the questions are one path of the first tree, the other trees single leaves.
        number = torch.arange(questions, dtype=torch.int32)
        single = ~torch.arange(questions, questions + trees, dtype=torch.int32)
        self.register_buffer("feature", torch.zeros_like(number))
        # In float32, rounded down: for the float32 that inputs are, that is the float64 threshold.
        self.register_buffer("threshold", torch.zeros(questions))
        self.register_buffer("left", ~number)
        self.register_buffer("right", torch.cat([number[1:], single[:1]])[:questions])
        self.register_buffer("value", torch.zeros(questions + trees))
        self.register_buffer("root", torch.cat([number[:1], single[1:]]) if questions else single)
        self.register_buffer("tree_class", torch.zeros(trees, dtype=torch.int32))
        self.register_buffer("start", torch.zeros(classes))
        self.register_load_state_dict_post_hook(_check_whole)  # type: ignore[no-untyped-call]

    def forward(self, inputs: Tensor) -> Outputs:
        """Raw inputs (batch, *input_shape), without NaN but for a table's, to logits (batch, classes).

        Sums are taken in float64, tree by tree, so that a row's answer does not depend on the batch.
        """
        value, of = self.value.double(), self.tree_class.long()
        sums = [
            self.start.double().repeat(len(some), 1).index_add_(1, of, value[self._walk(some)])
            for some in self._chunks(inputs)
        ]
        return Outputs(torch.cat(sums).float())

    def leaf_of(self, inputs: Tensor) -> Tensor:
        """The leaf that each raw input ends in in each tree, shape (batch, trees), int32: places in `value`.

        Raises:
            UsageError: if the inputs have another shape than those it was made for.
        """
        return torch.cat([self._walk(some) for some in self._chunks(inputs)])

    def _chunks(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Encoded rows, so many together that the walks of all trees take little memory."""
        if tuple(inputs.shape[1:]) != self.input_shape:
            raise UsageError(
                f"the inputs have the shape {tuple(inputs.shape[1:])}, but the trees take {self.input_shape}: give "
                "them rows like those they were fitted to"
            )
        rows: Tensor = self.encoding(inputs.detach()).flatten(1).float()
        return torch.split(rows, max(1, _WALKS // max(1, len(self.root))))

    def _walk(self, rows: Tensor) -> Tensor:
        # All rows go down all trees at once, a level at a time; those that have arrived are left out.
        trees = len(self.root)
        at = self.root.repeat(len(rows))
        beginning = torch.arange(len(rows), device=rows.device).repeat_interleave(trees) * rows.shape[1]
        values = rows.flatten()
        walking = (at >= 0).nonzero().squeeze(1)
        while len(walking):
            asked = at[walking]
            to_right = values[beginning[walking] + self.feature[asked]] > self.threshold[asked]
            below = torch.where(to_right, self.right[asked], self.left[asked])
            at[walking] = below
            walking = walking[below >= 0]
        return (~at).view(len(rows), trees)

    @property
    def trees(self) -> int:
        """How many trees there are."""
        return len(self.root)

    @property
    def leaves(self) -> int:
        """How many leaves all trees have together."""
        return len(self.value)

    @property
    def depth(self) -> int:
        """The most questions on a path."""
        levels, level = 0, self.root[self.root >= 0]
        while len(level):
            below = torch.cat([self.left[level], self.right[level]])
            levels, level = levels + 1, below[below >= 0]
        return levels

    @property
    def parameter_count(self) -> int:
        """Features and thresholds of its questions, the number in each leaf, and where each class starts."""
        return 2 * len(self.feature) + self.leaves + self.classes

    @property
    def multiply_adds(self) -> int:
        """None: it compares, and adds up."""
        return 0


def _check_whole(ensemble: TreeEnsemble, _: object) -> None:
    """What was loaded are trees, so that every walk ends, in a leaf, and its value is added to a class.

    Raises:
        RuntimeError: as `load_state_dict` does where tensors do not fit.
    """
    left, right, root, feature, tree_class = (
        getattr(ensemble, name).cpu().long() for name in ("left", "right", "root", "feature", "tree_class")
    )
    number = torch.arange(len(feature))
    reached = torch.cat([left, right, root]).sort().values
    each_once = torch.equal(reached, torch.arange(-ensemble.leaves, len(feature)))
    comes_before = all(((child < 0) | (child > number)).all() for child in (left, right))
    if not (each_once and comes_before):
        raise RuntimeError("the questions and leaves are not each a root or below one question that comes before")
    if not ((feature >= 0) & (feature < feature_count(ensemble.encoding, ensemble.input_shape))).all():
        raise RuntimeError(f"a question is about a feature that inputs of shape {ensemble.input_shape} do not have")
    if not ((tree_class >= 0) & (tree_class < ensemble.classes)).all():
        raise RuntimeError(f"a tree adds to a class other than 0 to {ensemble.classes - 1}")
    if not (ensemble.value.isfinite().all() and ensemble.start.isfinite().all()):
        raise RuntimeError("a leaf's value, or where a class starts, is not finite")


def _check_settings(settings: dict[str, Any]) -> None:
    whole = {"iterations": 1, "leaves": 2, "min_samples_leaf": 1, "max_depth": 1, "trees": 0, "nodes": 0}
    for name, least in whole.items():
        value = settings[name]
        if value is None and name == "max_depth":
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UsageError(f"{name} = {value!r}: expected a whole number, {least} or more")
    if not 0 < settings["learning_rate"] <= 1:
        raise UsageError(f"learning_rate = {settings['learning_rate']!r}: expected a number above 0, at most 1")
    if not 0 <= settings["l2"] < math.inf:
        raise UsageError(f"l2 = {settings['l2']!r}: expected a number, 0 or more")
    trees, nodes = settings["trees"], settings["nodes"]
    # A tree of q questions has q + 1 leaves.
    if nodes < trees or (nodes - trees) % 2 or (nodes and not trees):
        raise UsageError(f"nodes = {nodes}: {trees} binary trees do not have so many; leave it to the fit")
