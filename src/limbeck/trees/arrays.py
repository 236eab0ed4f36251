"""A soft decision tree as plain arrays: it answers without PyTorch, and goes through JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from limbeck.errors import UsageError
from limbeck.trees.wholeness import check_shapes, check_structure

Predict = Literal["path", "greedy", "average"]
Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class TreeArrays:
    """A binary tree whose inner nodes ask x·w + b > 0 of the raw input, and whose leaves are distributions.

    Nodes are numbered from the root, 0, each before its children; a leaf is a node, too. A node's question sends an
    input to the right with the probability sigmoid(x·w + b) (Frosst and Hinton 2017, arXiv:1711.09784, eq. 1; the
    inverse temperature and the preprocessing are in w and b).

    Attributes:
        left: shape (nodes,), int64, the child on the left; −1 for a leaf.
        right: likewise.
        weights: shape (inner nodes, features), float32, for raw inputs, flattened.
        bias: shape (inner nodes,), float32.
        question: shape (nodes,), int64, a node's row in `weights`; −1 for a leaf.
        leaf: shape (nodes,), int64, a leaf's row in `log_probs`; −1 for an inner node.
        log_probs: shape (leaves, classes), float32, each leaf's distribution.
        reached: shape (nodes,), float64, the share of the rows that reach the node; nan where none were counted.
        centre: shape (features,), float32, a raw value of each feature that stands for none: 0 in images, in tables
            the mean.
        spread: shape (features,), float32, how far each feature strays from it: the unit of a change in it.
        input_shape: of one raw input.
        classes: their names.
        predict: how it answers: by the leaf of the most probable `path`, by the leaf at the end of the `greedy` path
            that takes the likelier turn at every node, or by the `average` of all leaves, weighted by path probability.
        sharpness: the power to which path probabilities are raised, and normalised, before leaves are averaged.
    """

    left: Array
    right: Array
    weights: Array
    bias: Array
    question: Array
    leaf: Array
    log_probs: Array
    reached: Array
    centre: Array
    spread: Array
    input_shape: tuple[int, ...]
    classes: tuple[str, ...]
    predict: Predict = "path"
    sharpness: float = 1.0

    def __post_init__(self) -> None:
        check_shapes(self)
        if self.predict not in get_args(Predict):
            raise UsageError(f'predict = "{self.predict}": expected one of {", ".join(get_args(Predict))}')
        if not 0 < self.sharpness < np.inf:
            raise UsageError(f"sharpness = {self.sharpness}: expected a number above 0")
        check_structure(self)

    @classmethod
    def complete(
        cls,
        weights: Array,
        bias: Array,
        log_probs: Array,
        input_shape: Sequence[int],
        classes: Sequence[str],
        *,
        predict: Predict = "path",
        sharpness: float = 1.0,
        reached: Array | None = None,
        centre: Array | None = None,
        spread: Array | None = None,
    ) -> TreeArrays:
        """A tree all of whose leaves have the same depth: questions and leaves are given level by level.

        Args:
            weights: shape (2^depth − 1, features), for raw inputs, flattened.
            bias: shape (2^depth − 1,).
            log_probs: shape (2^depth, classes).
            input_shape: of one raw input.
            classes: their names.
            predict: how it answers.
            sharpness: of its average.
            reached: shape (2^(depth + 1) − 1,), the share of rows that reach each node; not known if None.
            centre: shape (features,); 0 if None.
            spread: shape (features,); 1 if None.
        """
        inner, nodes = len(weights), 2 * len(weights) + 1
        number = np.arange(nodes)
        is_inner = number < inner
        features = int(np.prod(input_shape))
        return cls(
            left=np.where(is_inner, 2 * number + 1, -1),
            right=np.where(is_inner, 2 * number + 2, -1),
            weights=np.ascontiguousarray(weights, dtype=np.float32),
            bias=np.asarray(bias, dtype=np.float32),
            question=np.where(is_inner, number, -1),
            leaf=np.where(is_inner, -1, number - inner),
            log_probs=np.asarray(log_probs, dtype=np.float32),
            reached=np.full(nodes, np.nan) if reached is None else np.asarray(reached, dtype=np.float64),
            centre=np.zeros(features, np.float32) if centre is None else np.asarray(centre, dtype=np.float32),
            spread=np.ones(features, np.float32) if spread is None else np.asarray(spread, dtype=np.float32),
            input_shape=tuple(input_shape),
            classes=tuple(classes),
            predict=predict,
            sharpness=sharpness,
        )

    @property
    def leaves(self) -> int:
        """How many leaves there are."""
        return len(self.log_probs)

    @cached_property
    def levels(self) -> list[Array]:
        """The inner nodes of each level, the root's first."""
        return self.levels_below(0)

    def levels_below(self, node: int) -> list[Array]:
        """The inner nodes of each level from this node down, its own first."""
        found, level = [], np.array([node])
        while len(level := level[self.question[level] >= 0]):
            found.append(level)
            level = np.concatenate([self.left[level], self.right[level]])
        return found

    @property
    def depth(self) -> int:
        """The most questions on a path."""
        return len(self.levels)

    @cached_property
    def parent(self) -> Array:
        """Shape (nodes,): the node above; −1 for the root."""
        above = np.full(len(self.left), -1)
        inner = np.flatnonzero(self.question >= 0)
        above[self.left[inner]] = above[self.right[inner]] = inner
        return above

    def predict_log_probs(self, inputs: Array, predict: Predict | None = None) -> npt.NDArray[np.float32]:
        """Log-probabilities of the classes.

        Args:
            inputs: raw, shape (n, *input_shape).
            predict: how to answer; by default as the tree does.

        Returns:
            Shape (n, classes), float32.
        """
        predict = predict or self.predict
        if predict != "average":
            return np.asarray(self.log_probs[self.leaf[self.leaf_of(inputs, predict)]])
        ends = np.flatnonzero(self.leaf >= 0)
        mean = self.leaf_weights(inputs)[:, ends] @ np.exp(self.log_probs[self.leaf[ends]].astype(np.float64))
        return np.asarray(np.log(np.maximum(mean, np.finfo(np.float32).tiny)), dtype=np.float32)

    def leaf_of(self, inputs: Array, predict: Predict | None = None) -> npt.NDArray[np.int64]:
        """The node, a leaf, whose distribution is the answer; for an average, the leaf of the most probable path.

        Args:
            inputs: raw, shape (n, *input_shape).
            predict: how to answer; by default as the tree does.
        """
        if (predict or self.predict) == "greedy":
            return self._greedy(self._flat(inputs))
        ends = np.flatnonzero(self.leaf >= 0)
        return np.asarray(ends[self.node_log_probs(inputs)[:, ends].argmax(axis=1)])

    def greedy_leaf(self, one: Array) -> int:
        """The leaf at the end of one input's greedy path: as many dot products as the path has questions.

        Args:
            one: a raw input, shape input_shape.
        """
        left, right, question, weights, bias = self._walk
        flat = np.asarray(one, dtype=np.float32).ravel()
        if flat.size != self.weights.shape[1]:
            self.check_inputs(np.asarray(one)[np.newaxis])
        node = 0
        while (asked := question[node]) >= 0:
            node = right[node] if weights[asked].dot(flat) + bias[asked] > 0 else left[node]
        return node

    def path_to(self, node: int) -> list[int]:
        """The nodes from the root to this one, both included."""
        path = [node]
        while (above := int(self.parent[path[-1]])) >= 0:
            path.append(above)
        return path[::-1]

    def scores(self, inputs: Array) -> npt.NDArray[np.float32]:
        """Every question's x·w + b, shape (n, inner nodes)."""
        found: npt.NDArray[np.float32] = self._flat(inputs) @ self.weights.T + self.bias
        return found

    def node_log_probs(self, inputs: Array) -> npt.NDArray[np.float64]:
        """The log-probability of reaching each node, shape (n, nodes)."""
        scores = self.scores(inputs).astype(np.float64)
        to_right = -np.logaddexp(0.0, -scores)
        reach = np.zeros((len(scores), len(self.left)))
        for level in self.levels:
            asked = self.question[level]
            reach[:, self.right[level]] = reach[:, level] + to_right[:, asked]
            reach[:, self.left[level]] = reach[:, level] + to_right[:, asked] - scores[:, asked]
        return reach

    def leaf_weights(self, inputs: Array) -> npt.NDArray[np.float64]:
        """What each leaf has of an average: its path probability, raised to the power and normalised.

        Args:
            inputs: raw, shape (n, *input_shape).

        Returns:
            Shape (n, nodes), 0 for inner nodes.
        """
        ends = self.leaf >= 0
        powers = self.node_log_probs(inputs)[:, ends] * self.sharpness
        powers = np.exp(powers - powers.max(axis=1, keepdims=True))
        weights = np.zeros((len(powers), len(ends)))
        weights[:, ends] = powers / powers.sum(axis=1, keepdims=True)
        return weights

    def hard(self) -> dict[str, Array]:
        """The tree by its greedy path as plain arrays: go right where x·weights + bias > 0; a leaf has children −1.

        Returns:
            children_left, children_right: shape (nodes,), −1 for a leaf. weights: (nodes, features), 0 for a leaf.
            bias: (nodes,). value: (nodes, classes), a leaf's probabilities, 0 elsewhere. label: (nodes,), a leaf's
            most likely class, −1 elsewhere.
        """
        nodes, inner, ends = len(self.left), self.question >= 0, self.leaf >= 0
        weights = np.zeros((nodes, self.weights.shape[1]), dtype=np.float32)
        bias = np.zeros(nodes, dtype=np.float32)
        value = np.zeros((nodes, len(self.classes)), dtype=np.float32)
        weights[inner], bias[inner] = self.weights[self.question[inner]], self.bias[self.question[inner]]
        value[ends] = np.exp(self.log_probs[self.leaf[ends]])
        label = np.where(ends, value.argmax(axis=1), -1)
        return {
            "children_left": self.left, "children_right": self.right, "weights": weights, "bias": bias,
            "value": value, "label": label,
        }  # fmt: skip

    def check_inputs(self, inputs: Array) -> None:
        """Refuse rows of another shape than (n, *input_shape).

        Raises:
            UsageError: with both shapes.
        """
        if inputs.shape[1:] != self.input_shape:
            raise UsageError(
                f"the inputs have the shape {inputs.shape[1:]}, but the tree takes {self.input_shape}: give it rows "
                "like those it was trained on"
            )

    def _flat(self, inputs: Array) -> npt.NDArray[np.float32]:
        inputs = np.asarray(inputs)
        self.check_inputs(inputs)
        return inputs.reshape(len(inputs), -1).astype(np.float32, copy=False)

    def _greedy(self, flat: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """The greedy leaf of each row: rows at one node are asked its question together, and no other is asked."""
        found = np.zeros(len(flat), dtype=np.int64)
        waiting = [(0, np.arange(len(flat)))]
        while waiting:
            node, rows = waiting.pop()
            asked = self.question[node]
            if asked < 0:
                found[rows] = node
                continue
            to_right = flat[rows] @ self.weights[asked] + self.bias[asked] > 0
            waiting += [
                (int(child), some)
                for child, some in ((self.left[node], rows[~to_right]), (self.right[node], rows[to_right]))
                if len(some)
            ]
        return found

    @cached_property
    def _walk(self) -> tuple[list[int], list[int], list[int], list[Array], list[float]]:
        """What a walk down looks up, as lists: an element of an array costs as much as a dot product."""
        return self.left.tolist(), self.right.tolist(), self.question.tolist(), list(self.weights), self.bias.tolist()

    def to_json(self) -> str:
        """The tree as JSON: `from_json` gives one that answers with the same numbers."""
        from limbeck.trees.json_form import to_json  # it imports this module

        return to_json(self)

    @staticmethod
    def from_json(text: str) -> TreeArrays:
        """The tree of `to_json`.

        Raises:
            LimbeckError: if it is no such tree, or of a newer format.
        """
        from limbeck.trees.json_form import from_json

        return from_json(text)


def turn_probability(score: float, *, to_right: bool) -> float:
    """The probability of a turn at a question with this score: sigmoid(score) to the right, the rest to the left."""
    return float(np.exp(-np.logaddexp(0.0, -score if to_right else score)))
