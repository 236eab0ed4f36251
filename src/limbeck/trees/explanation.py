"""One answer of a soft decision tree explained: the turns that led to it, and the least change that leads elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from limbeck.errors import LimbeckError, UsageError
from limbeck.trees.arrays import Array, Predict, TreeArrays, turn_probability
from limbeck.trees.below import classes_below
from limbeck.trees.counterfactual import FeatureChange, PixelChange, smallest_change
from limbeck.trees.text import feature_names, many, number, percent, weightiest

Turn = Literal["left", "right"]

CLASSES_SHOWN = 12  # in a line of text; more are counted


@dataclass(frozen=True)
class Weighed:
    """What a feature adds to a question's score: weight · (value − centre); above 0 it draws to the right."""

    feature: str
    value: float
    contribution: float


@dataclass(frozen=True)
class Step:
    """A question on the path.

    Attributes:
        node: of the question.
        depth: questions before it.
        score: x·w + b; the likelier turn is to the right where it is above 0.
        turn: the side on which the path goes on.
        probability: of that turn. On the most probable path it can be below one half: the other side was likelier, but
            spreads its probability over its leaves.
        classes: names of those that are the most likely one of at least one leaf on that side.
        other_classes: likewise, on the other side.
        weighed: for tables, the up to three features that weigh most, the largest first.
    """

    node: int
    depth: int
    score: float
    turn: Turn
    probability: float
    classes: tuple[str, ...]
    other_classes: tuple[str, ...]
    weighed: tuple[Weighed, ...]


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a tree gives its answer.

    Attributes:
        label: the class predicted.
        name: of that class.
        probability: of that class, as predicted.
        predict: how the tree answers.
        leaves: how many leaves it has.
        leaf: the node, a leaf, that the path leads to. Its distribution is the answer, but for an average.
        leaf_reach: the probability of reaching that leaf; for an average, its weight in it.
        leaf_name: the leaf's own most likely class.
        leaf_probability: the leaf's probability of that class.
        steps: the path, the root's question first.
        counterfactual: the smallest change found that leads to another class; None where none was.
        sought: whether such a change was looked for.
    """

    label: int
    name: str
    probability: float
    predict: Predict
    leaves: int
    leaf: int
    leaf_reach: float
    leaf_name: str
    leaf_probability: float
    steps: tuple[Step, ...]
    counterfactual: FeatureChange | PixelChange | None
    sought: bool

    def text(self) -> str:
        """Lines for a terminal: the class first, then how it is reached, a line for each turn, and the counterfactual.

        Returns:
            Lines without a last line break.
        """
        lines = [f"class {self.name}, {percent(self.probability)}", self._how()]
        width = len(str(max((step.node for step in self.steps), default=0)))
        lines += [_step_line(step, width) for step in self.steps]
        if self.sought:
            lines.append(self._otherwise())
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """The same as a dict of what JSON has, floats to six digits."""
        found = asdict(self)
        if self.counterfactual is not None:
            found["counterfactual"]["changed"] = self.counterfactual.changed.tolist()
        rounded: dict[str, Any] = _rounded(found)
        return rounded

    def _how(self) -> str:
        reach, paths = percent(self.leaf_reach), many(self.leaves, "leaf", "leaves")
        if self.predict == "greedy":
            return f"by the likelier turn at every question, to leaf {self.leaf} (path probability {reach})"
        if self.predict == "path":
            return f"by the most probable path, of {paths}, to leaf {self.leaf} (path probability {reach})"
        says = f"{self.leaf_name} ({percent(self.leaf_probability)})"
        says = f"says {says}, too" if self.leaf_name == self.name else f"says another class, {says}"
        below = f"the most probable path, below, carries {reach} of it"
        return f"by the average of {paths}; {below}: leaf {self.leaf} {says}"

    def _otherwise(self) -> str:
        change = self.counterfactual
        if change is None:
            return "no small change was found that leads to another class"
        then = f"class {change.name}, {percent(change.probability)} (the tree was asked again)"
        if isinstance(change, FeatureChange):
            by = f"by {change.size:.2g} of its spread"
            return f"with {change.feature} {number(change.after)} instead of {number(change.before)}, {by}: {then}"
        pixels = "1 pixel" if change.pixels == 1 else f"{change.pixels} pixels"
        return f"with {pixels} moved along question {change.node}'s filter, by a norm of {change.norm:.3g}: {then}"


def explain(
    tree: TreeArrays, one: npt.ArrayLike, *, features: Sequence[str] | None = None, counterfactual: bool = True
) -> Explanation:
    """Explain the tree's answer for one input, and look for the smallest change that leads to another.

    In a table one feature is changed, by up to 16 times its spread; a feature that has none stays. Where the tree
    answers by the greedy path, all borders are tried at which a question turns; else amounts a quarter apart, and then
    the halves between two, so that a class through which a feature passes quickly can be missed. Of whole numbers
    (uint8) all 256 are tried. In an image the pixels are moved along the filter of a question on the path, either way,
    by such amounts; they stay between the image's least value, or 0 if that is lower, and its greatest, and uint8
    pixels stay whole. Each change given was verified by asking the tree again, in the way it answers.

    Args:
        tree: the tree.
        one: a raw input, shape input_shape.
        features: the features' names, for tables; "feature 12" by default.
        counterfactual: whether to look for a change.

    Raises:
        UsageError: the input has another shape or is no array of numbers, or there are too many names or too few.
        LimbeckError: the input is not finite.
    """
    one = _checked(tree, one)
    row = one[np.newaxis]
    log_probs = tree.predict_log_probs(row)[0]
    label, leaf = int(log_probs.argmax()), int(tree.leaf_of(row)[0])
    of_leaf = tree.log_probs[tree.leaf[leaf]]
    reach = tree.leaf_weights(row)[0] if tree.predict == "average" else np.exp(tree.node_log_probs(row)[0])
    names = feature_names(tree, features)
    return Explanation(
        label=label,
        name=tree.classes[label],
        probability=float(np.exp(log_probs[label])),
        predict=tree.predict,
        leaves=tree.leaves,
        leaf=leaf,
        leaf_reach=float(reach[leaf]),
        leaf_name=tree.classes[int(of_leaf.argmax())],
        leaf_probability=float(np.exp(of_leaf.max())),
        steps=tuple(_steps(tree, one, leaf, names)),
        counterfactual=smallest_change(tree, one, label, leaf, names) if counterfactual else None,
        sought=counterfactual,
    )


def _checked(tree: TreeArrays, one: npt.ArrayLike) -> Array:
    found = np.asarray(one)
    if found.shape != tree.input_shape:
        raise UsageError(f"the input has the shape {found.shape}, but the tree takes {tree.input_shape}: give one row")
    if found.dtype.kind not in "uif":
        raise UsageError(f"the input is of type {found.dtype}: expected numbers")
    if found.dtype != np.uint8:
        found = found.astype(np.float32)
    if not np.isfinite(found).all():
        raise LimbeckError("the input is not finite: mend its missing values first")
    return found


def _steps(tree: TreeArrays, one: Array, leaf: int, names: tuple[str, ...]) -> Iterator[Step]:
    scores = tree.scores(one[np.newaxis])[0].astype(np.float64)
    below = classes_below(tree, leaf)

    def named(node: int) -> tuple[str, ...]:
        return tuple(tree.classes[c] for c in np.flatnonzero(below[node]))

    path = tree.path_to(leaf)
    for depth, (node, after) in enumerate(pairwise(path)):
        asked = int(tree.question[node])
        to_right = after == tree.right[node]
        score = float(scores[asked])
        yield Step(
            node=node,
            depth=depth,
            score=score,
            turn="right" if to_right else "left",
            probability=turn_probability(score, to_right=to_right),
            classes=named(after),
            other_classes=named(int(tree.left[node] if to_right else tree.right[node])),
            weighed=_weighed(tree, one, asked, names) if names else (),
        )


def _weighed(tree: TreeArrays, one: Array, asked: int, names: tuple[str, ...]) -> tuple[Weighed, ...]:
    added = tree.weights[asked].astype(np.float64) * (one.astype(np.float64) - tree.centre)
    return tuple(Weighed(names[j], float(one[j]), float(added[j])) for j in weightiest(added) if added[j])


# ---------------------------------------------------------------- words


def _step_line(step: Step, width: int) -> str:
    same = step.classes == step.other_classes
    notes = [f"to {_listed(step.classes)} {'either way' if same else f'(else {_listed(step.other_classes)})'}"]
    if step.weighed:
        features = (f"{w.feature} {number(w.value, 4)} ({_signed(w.contribution)})" for w in step.weighed)
        notes.append(f"by {', '.join(features)}")
    if step.probability < 0.5:
        notes.append(
            f"the less likely turn: the other side spreads its {percent(1 - step.probability)} over its leaves"
        )
    return f"question {step.node:{width}}: {step.turn.ljust(5)} {percent(step.probability):>6}  {'; '.join(notes)}"


def _listed(names: tuple[str, ...]) -> str:
    if len(names) <= CLASSES_SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:CLASSES_SHOWN])} … ({len(names)} classes)"


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(value, 2)}"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
