"""The usual decision tree, whose questions each look at one feature: to hold a soft decision tree against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limbeck.data import Form
from limbeck.errors import UsageError
from limbeck.models.encoding import encoding_for, feature_count
from limbeck.models.outputs import Outputs

Criterion = Literal["gini", "entropy"]


class ThresholdTree(nn.Module):
    """A binary tree whose inner nodes ask whether one raw feature is above a threshold, as scikit-learn grows them.

    No gradient trains it and it needs no preprocessing: `limbeck.at_once.trees.fit_threshold_tree` gives a tree that is
    fitted, of as many nodes as that took. Until then it is one leaf, which has all classes alike.

    Questions are numbered from the root, 0, each before those below it. Where a turn leads to a leaf, `left` or `right`
    holds ~leaf, which is negative.

    Args:
        input_shape: shape of one raw input, the batch left out.
        classes: number of classes.
        criterion: what makes a split of hard labels good. On soft targets and logits it is the squared error, which is
            what `gini` is on labels; `entropy` is for labels only.
        max_depth: most questions on a path; None for no limit.
        max_leaf_nodes: most leaves, the best splits first; None for no limit.
        min_samples_leaf: least rows in a leaf.
        pseudo_count: above 0: rows of each class that a leaf's frequencies of hard labels are counted with, so that no
            probability is 0; 1 is Laplace's correction (Provost and Domingos 2003).
        nodes: questions and leaves; set by the fit.
        form: of a table, whose raw rows it then takes; its questions are about the encoded features.

    Raises:
        UsageError: a value is out of range.
    """

    kind: ClassVar[str] = "sklearn-tree"
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    log_probs: Tensor

    def __init__(
        self,
        input_shape: Sequence[int],
        classes: int,
        criterion: Criterion = "gini",
        max_depth: int | None = None,
        max_leaf_nodes: int | None = None,
        min_samples_leaf: int = 1,
        pseudo_count: float = 1.0,
        nodes: int = 1,
        form: Form | None = None,
    ) -> None:
        super().__init__()
        self.input_shape = tuple(input_shape)
        self.classes = classes
        self.form = form
        self.settings: dict[str, Any] = {
            "criterion": criterion, "max_depth": max_depth, "max_leaf_nodes": max_leaf_nodes,
            "min_samples_leaf": min_samples_leaf, "pseudo_count": pseudo_count, "nodes": nodes,
        }  # fmt: skip
        _check_settings(self.settings)
        self.encoding = encoding_for(form)
        questions = nodes // 2
        number = torch.arange(questions, dtype=torch.int32)
        self.register_buffer("feature", torch.zeros_like(number))
        # In float32, rounded down: for the float32 that inputs are, that is the float64 threshold.
        self.register_buffer("threshold", torch.zeros(questions))
        self.register_buffer("left", ~number)
        self.register_buffer("right", torch.cat([number[1:], ~number.new_full((1,), questions)])[:questions])
        self.register_buffer("log_probs", torch.full((questions + 1, classes), -math.log(classes)))
        self.register_load_state_dict_post_hook(_check_whole)  # type: ignore[no-untyped-call]

    def forward(self, inputs: Tensor) -> Outputs:
        """Raw inputs (batch, *input_shape), without NaN, to log-probabilities (batch, classes)."""
        return Outputs(self.log_probs[self.leaf_of(inputs)])

    def leaf_of(self, inputs: Tensor) -> Tensor:
        """The leaf that each raw input ends in, shape (batch,), int64: a row of `log_probs`.

        Raises:
            UsageError: if the inputs have another shape than those it was made for.
        """
        if tuple(inputs.shape[1:]) != self.input_shape:
            raise UsageError(
                f"the inputs have the shape {tuple(inputs.shape[1:])}, but the tree takes {self.input_shape}: give it "
                "rows like those it was fitted to"
            )
        rows: Tensor = self.encoding(inputs.detach()).flatten(1).float()
        if len(rows) == 1 and rows.device.type == "cpu":
            return torch.tensor([self._leaf_of_one(rows[0].numpy())])
        at = torch.full((len(rows),), 0 if len(self.feature) else ~0, device=rows.device)
        # All rows go down a level at a time, those that have arrived left out.
        while len(walking := (at >= 0).nonzero().squeeze(1)):
            asked = at[walking]
            to_right = rows[walking, self.feature[asked].long()] > self.threshold[asked]
            at[walking] = torch.where(to_right, self.right[asked], self.left[asked]).long()
        return ~at

    def _leaf_of_one(self, row: npt.NDArray[np.float32]) -> int:
        # An element of an array is looked up far faster than one of a tensor.
        feature, threshold, left, right = (
            buffer.numpy() for buffer in (self.feature, self.threshold, self.left, self.right)
        )
        at = 0 if len(feature) else ~0
        while at >= 0:
            at = (right if row[feature[at]] > threshold[at] else left)[at]
        return int(~at)

    @property
    def leaves(self) -> int:
        """How many leaves there are."""
        return len(self.log_probs)

    @property
    def depth(self) -> int:
        """The most questions on a path."""
        levels, level = 0, torch.arange(min(len(self.feature), 1), device=self.feature.device)
        while len(level):
            below = torch.cat([self.left[level], self.right[level]]).long()
            levels, level = levels + 1, below[below >= 0]
        return levels

    @property
    def parameter_count(self) -> int:
        """Features and thresholds of its questions, and the numbers in its leaves."""
        return 2 * len(self.feature) + self.log_probs.numel()

    @property
    def multiply_adds(self) -> int:
        """None: it only compares."""
        return 0


def _check_whole(tree: ThresholdTree, _: object) -> None:
    """What was loaded is a tree, so that every walk ends, and in a leaf.

    Raises:
        RuntimeError: as `load_state_dict` does where tensors do not fit.
    """
    left, right, feature = (buffer.cpu().long() for buffer in (tree.left, tree.right, tree.feature))
    questions = len(feature)
    number = torch.arange(questions)
    below = torch.cat([left, right]).sort().values
    each_once = torch.cat([torch.arange(-questions - 1, 0), number[1:]])
    comes_before = all(((child < 0) | (child > number)).all() for child in (left, right))
    if questions and not (torch.equal(below, each_once) and comes_before):
        raise RuntimeError("the tree's questions and leaves are not each below one question that comes before")
    if not ((feature >= 0) & (feature < feature_count(tree.encoding, tree.input_shape))).all():
        raise RuntimeError(f"a question is about a feature that inputs of shape {tree.input_shape} do not have")


def _check_settings(settings: dict[str, Any]) -> None:
    if settings["criterion"] not in get_args(Criterion):
        raise UsageError(f"criterion = {settings['criterion']!r}: expected one of {', '.join(get_args(Criterion))}")
    for name, least in (("max_depth", 1), ("max_leaf_nodes", 2), ("min_samples_leaf", 1), ("nodes", 1)):
        value = settings[name]
        if value is None and name.startswith("max"):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UsageError(f"{name} = {value!r}: expected a whole number, {least} or more")
    if not 0 < settings["pseudo_count"] < math.inf:
        raise UsageError(f"pseudo_count = {settings['pseudo_count']!r}: expected a number above 0")
    if settings["nodes"] % 2 == 0:
        raise UsageError(f"nodes = {settings['nodes']}: a binary tree has an odd number; leave it to the fit")
