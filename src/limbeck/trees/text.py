"""A soft decision tree as lines of text, in the manner of scikit-learn's export_text; and how its words are chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from limbeck.errors import UsageError
from limbeck.trees.arrays import Array, TreeArrays

TERMS = 3  # of a question, those that are named


def to_text(tree: TreeArrays, *, levels: int | None = None, features: Sequence[str] | None = None) -> str:
    """The tree as text: a line for each side of a question, and one for each leaf.

    Args:
        tree: for images a question is only named, for no words would show its filter. For tables it is an inequality
            of the up to three features that weigh most in it (|weight| times spread), with the weights of raw inputs;
            "…" stands for the others, which are taken at the tree's `centre`.
        levels: questions of this many levels, the root's first, and below them how deep the tree goes on; all if None.
        features: the features' names, for tables; "feature 12" by default.

    Returns:
        Lines without a last line break. A leaf has its most likely class, that one's probability and, where it was
        counted, the share of the rows that reach the leaf.

    Raises:
        UsageError: levels below 0, or another number of names than features.
    """
    if levels is not None and levels < 0:
        raise UsageError(f"levels = {levels}: expected 0 or more")
    names = feature_names(tree, features)
    lines: list[str] = []
    # A stack, for a tree may be deeper than Python's calls.
    waiting: list[tuple[int, int, str]] = [(0, 0, "")]
    while waiting:
        node, level, above = waiting.pop()
        if above:
            lines.append(_line(level - 1, above))
        if tree.leaf[node] >= 0:
            lines.append(_line(level, _leaf(tree, node)))
        elif levels is not None and level >= levels:
            lines.append(_line(level, f"truncated branch of depth {len(tree.levels_below(node))}"))
        else:
            to_left, to_right = _sides(tree, node, names)
            waiting.append((int(tree.right[node]), level + 1, to_right))
            waiting.append((int(tree.left[node]), level + 1, to_left))
    return "\n".join(lines)


def feature_names(tree: TreeArrays, features: Sequence[str] | None) -> tuple[str, ...]:
    """A name for each feature of a table; none for images, whose pixels have no names.

    Raises:
        UsageError: another number of names than features.
    """
    if len(tree.input_shape) != 1:
        return ()
    count = tree.input_shape[0]
    if features is None:
        return numbered_features(count)
    if len(features) != count:
        raise UsageError(f"{len(features)} names for {count} features: give one for each, in the order of the inputs")
    return tuple(features)


def numbered_features(count: int) -> tuple[str, ...]:
    """What features are called that have no names."""
    return tuple(f"feature {number}" for number in range(count))


def weightiest(amounts: Array) -> npt.NDArray[np.int64]:
    """The up to three features that are named: those of the largest amounts, of either sign, the largest first.

    Args:
        amounts: what each feature weighs, shape (features,); a feature that weighs nothing may be among the three.
    """
    return np.argsort(-np.abs(amounts), kind="stable")[:TERMS]


def leaf_answer(tree: TreeArrays, leaf: int) -> tuple[str, float]:
    """The name of a leaf's most likely class, and its probability."""
    log_probs = tree.log_probs[tree.leaf[leaf]].astype(np.float64)
    likely = int(log_probs.argmax())
    return tree.classes[likely], float(np.exp(log_probs[likely]))


def many(count: int, one: str, several: str) -> str:
    """A count of things: `1 leaf`, `4,096 leaves`."""
    return f"{count:,} {one if count == 1 else several}"


def percent(share: float) -> str:
    """A probability in words: whole percent, near 0 and 1 with a decimal, and never 0% or 100% for what is not."""
    if share in (0.0, 1.0) or 0.0095 <= share < 0.9905:
        return f"{share:.0%}"
    if share < 0.0005:
        return "<0.1%"
    return ">99.9%" if share >= 0.9995 else f"{share:.1%}"


def number(value: float, digits: int = 6) -> str:
    """A number in words, to so many digits."""
    return f"{value + 0.0:.{digits}g}".replace("-", "−")


def _line(level: int, text: str) -> str:
    return "|   " * level + "|--- " + text


def _leaf(tree: TreeArrays, node: int) -> str:
    name, probability = leaf_answer(tree, node)
    share = float(tree.reached[node])
    counted = "" if np.isnan(share) else f", {percent(share)} of the rows"
    return f"class: {name} ({percent(probability)}){counted}"


def _sides(tree: TreeArrays, node: int, names: tuple[str, ...]) -> tuple[str, str]:
    if not names:
        return f"question {node}: left", f"question {node}: right"
    weights = tree.weights[tree.question[node]].astype(np.float64)
    shown = weightiest(weights * tree.spread)
    shown = shown[weights[shown] != 0]
    left_out = np.ones(len(weights), dtype=bool)
    left_out[shown] = False
    threshold = -float(tree.bias[tree.question[node]]) - float(weights[left_out] @ tree.centre[left_out])
    terms = [f"{_sign(weights[j], first=place == 0)}{abs(weights[j]):.3g}·{names[j]}" for place, j in enumerate(shown)]
    question = " ".join(terms) or "0"
    if weights[left_out].any():
        question += " …"
    return f"{question} <= {number(threshold, 3)}", f"{question} >  {number(threshold, 3)}"


def _sign(value: float, *, first: bool) -> str:
    if first:
        return "−" if value < 0 else ""
    return "− " if value < 0 else "+ "
