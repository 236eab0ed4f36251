"""The least change of an input, found by trying, with which a soft decision tree gives another class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from limbeck.trees.arrays import Array, TreeArrays

# The amounts that a search tries: of a feature's spread; and of the range of an image's pixels.
_SPREADS = 2.0 ** (np.arange(-15, 13) / 3)
_RANGES = 2.0 ** (np.arange(-36, 13) / 4)
_HALVINGS = 12
_BEYOND = 1.001  # just past a border, where rounding no longer decides
_BATCH = 1024


@dataclass(frozen=True, eq=False)
class FeatureChange:
    """The smallest change of one feature, of a table, that was found to lead to another class.

    Attributes:
        feature: its name.
        column: its number.
        before: its raw value.
        after: its raw value in `changed`.
        size: |after − before| in units of the tree's spread of this feature.
        label: the class that the tree then predicts.
        name: of that class.
        probability: of that class.
        changed: the input as a whole, shape input_shape; the tree was asked again with it.
    """

    feature: str
    column: int
    before: float
    after: float
    size: float
    label: int
    name: str
    probability: float
    changed: Array


@dataclass(frozen=True, eq=False)
class PixelChange:
    """The smallest move of an image's pixels along one question's filter that was found to lead to another class.

    Attributes:
        node: of the question, one on the path.
        pixels: how many changed.
        norm: Euclidean, of the change, in the units of raw pixels.
        label: the class that the tree then predicts.
        name: of that class.
        probability: of that class.
        changed: the input as a whole, shape input_shape, of its own type; the tree was asked again with it.
    """

    node: int
    pixels: int
    norm: float
    label: int
    name: str
    probability: float
    changed: Array


def smallest_change(
    tree: TreeArrays, one: Array, label: int, leaf: int, names: tuple[str, ...]
) -> FeatureChange | PixelChange | None:
    """The smallest change found that leads to another class: of one feature of a table, or of an image's pixels.

    What is tried, `limbeck.trees.explain` describes.

    Args:
        tree: asked, and asked again with what is found.
        one: a raw input, shape input_shape, uint8 or float32, finite.
        label: the class that the tree predicts for it.
        leaf: the node, a leaf, that its path leads to.
        names: of a table's features; none for an image.
    """
    return _one_feature(tree, one, label, names) if names else _along_filters(tree, one, label, leaf)


def _leads_elsewhere(tree: TreeArrays, changed: Array, label: int) -> npt.NDArray[np.bool_]:
    return np.asarray(tree.predict_log_probs(changed).argmax(axis=1) != label)


def _one_feature(tree: TreeArrays, one: Array, label: int, names: tuple[str, ...]) -> FeatureChange | None:
    # A feature without a spread is one that never changed: no answer to what could have been otherwise.
    used = np.flatnonzero((tree.weights != 0).any(axis=0) & (tree.spread > 0))
    if one.dtype == np.uint8:
        columns, after = np.repeat(used, 256), np.tile(np.arange(256, dtype=np.uint8), len(used))
    elif tree.predict == "greedy":
        columns, after = _past_borders(tree, one, used)
    else:
        columns, after = _past_borders_by_halving(tree, one, label, used)
    size = np.abs(after.astype(np.float64) - one[columns]) / tree.spread[columns]
    order = np.argsort(size, kind="stable")
    order = order[(size[order] > 0) & (size[order] <= _SPREADS[-1] * _BEYOND)]
    for start in range(0, len(order), _BATCH):
        some = order[start : start + _BATCH]
        changed = _with_values(one, columns[some], after[some])
        for place in np.flatnonzero(_leads_elsewhere(tree, changed, label)):
            # Once more by itself: a batch's sums may be rounded otherwise.
            log_probs = tree.predict_log_probs(changed[place : place + 1])[0]
            now, column = int(log_probs.argmax()), int(columns[some[place]])
            if now != label:
                return FeatureChange(
                    feature=names[column],
                    column=column,
                    before=float(one[column]),
                    after=float(changed[place, column]),
                    size=float(size[some[place]]),
                    label=now,
                    name=tree.classes[now],
                    probability=float(np.exp(log_probs[now])),
                    changed=changed[place].copy(),
                )
    return None


def _with_values(one: Array, columns: Array, values: Array) -> Array:
    changed = np.repeat(one[np.newaxis], len(columns), axis=0)
    changed[np.arange(len(columns)), columns] = values
    return changed


def _past_borders(tree: TreeArrays, one: Array, used: Array) -> tuple[Array, Array]:
    """For each feature and question, the feature's value just past the one at which the question turns.

    A question's score is linear in the feature, so that the greedy answer changes nowhere else.
    """
    scores = tree.scores(one[np.newaxis])[0].astype(np.float64)
    asked, place = np.nonzero(tree.weights[:, used])
    columns = used[place]
    sums = np.abs(tree.weights).astype(np.float64) @ np.abs(one).astype(np.float64) + np.abs(tree.bias)
    beyond = 1e-5 * (sums + np.abs(scores))[asked]  # a hundred times what rounding does to a sum of float32
    goal = np.where(scores[asked] > 0, -beyond, beyond)
    after = one[columns] + (goal - scores[asked]) / tree.weights[asked, columns].astype(np.float64)
    return columns, after.astype(np.float32)


def _past_borders_by_halving(tree: TreeArrays, one: Array, label: int, used: Array) -> tuple[Array, Array]:
    columns, signs = np.repeat(used, 2), np.tile([1.0, -1.0], len(used))

    def move(which: Array, amounts: Array) -> Array:
        values = one[columns[which]] + amounts * (signs * tree.spread[columns])[which]
        return _with_values(one, columns[which], values.astype(np.float32))

    which, amounts = _least_amounts(tree, label, len(columns), _SPREADS, move, first=True)
    # The border itself, too, where there is no room beyond it.
    which, amounts = np.tile(which, 2), np.concatenate([amounts * _BEYOND, amounts])
    return columns[which], move(which, amounts)[np.arange(len(which)), columns[which]]


def _along_filters(tree: TreeArrays, one: Array, label: int, leaf: int) -> PixelChange | None:
    whole = one.dtype == np.uint8
    # No further than the image itself goes, be its white 16 or 255; a black one may become white.
    least, most = min(float(one.min()), 0.0), float(one.max()) or (255.0 if whole else 0.0)
    nodes = np.array(tree.path_to(leaf)[:-1], dtype=np.int64)
    filters = tree.weights[tree.question[nodes]].astype(np.float64)
    sizes = np.abs(filters).max(axis=1, initial=0.0)
    nodes, filters = nodes[sizes > 0], filters[sizes > 0] / sizes[sizes > 0, np.newaxis]
    if not len(nodes) or most <= least:
        return None
    directions = np.concatenate([filters, -filters]).reshape(-1, *one.shape)
    original = one.astype(np.float64)

    def move(which: Array, amounts: Array) -> Array:
        moved = original + directions[which] * amounts.reshape(-1, *[1] * one.ndim)
        clipped: Array = np.clip(np.rint(moved) if whole else moved, least, most).astype(one.dtype)
        return clipped

    which, amounts = _least_amounts(tree, label, len(directions), (most - least) * _RANGES, move, first=False)
    which, amounts = np.tile(which, 2), np.concatenate([amounts * _BEYOND, amounts])
    changed = move(which, amounts)
    differences = (changed.astype(np.float64) - original).reshape(len(changed), one.size)
    norms = np.linalg.norm(differences, axis=1)
    for place in np.argsort(norms, kind="stable"):
        log_probs = tree.predict_log_probs(changed[place : place + 1])[0]
        now = int(log_probs.argmax())
        if now != label:
            return PixelChange(
                node=int(nodes[which[place] % len(nodes)]),
                pixels=int(np.count_nonzero(differences[place])),
                norm=float(norms[place]),
                label=now,
                name=tree.classes[now],
                probability=float(np.exp(log_probs[now])),
                changed=changed[place].copy(),
            )
    return None


def _least_amounts(
    tree: TreeArrays, label: int, directions: int, steps: Array, move: Callable[[Array, Array], Array], *, first: bool
) -> tuple[Array, Array]:
    """How far to move in each direction until the class is another: by steps, and then by halving the last one.

    Args:
        tree: asked.
        label: the class without a move.
        directions: how many there are.
        steps: the amounts to try, in rising order.
        move: gives the changed inputs of some directions and an amount for each.
        first: stop at the first step at which the class is another in any direction.

    Returns:
        The directions in which that happens, and the amounts; it does at these amounts.
    """

    def elsewhere(which: Array, amounts: Array) -> npt.NDArray[np.bool_]:
        found = [
            _leads_elsewhere(tree, move(which[start : start + _BATCH], amounts[start : start + _BATCH]), label)
            for start in range(0, len(which), _BATCH)
        ]
        return np.concatenate([np.zeros(0, dtype=bool), *found])

    waiting = np.arange(directions)
    beneath = 0.0
    which: list[Array] = []
    lows: list[Array] = []
    highs: list[Array] = []
    for amount in steps:
        now = elsewhere(waiting, np.full(len(waiting), amount))
        which.append(waiting[now])
        lows.append(np.full(int(now.sum()), beneath))
        highs.append(np.full(int(now.sum()), amount))
        waiting, beneath = waiting[~now], amount
        if not len(waiting) or (first and now.any()):
            break
    found, low, high = (np.concatenate(parts) for parts in (which, lows, highs))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        now = elsewhere(found, middle)
        low, high = np.where(now, low, middle), np.where(now, middle, high)
    return found, high
