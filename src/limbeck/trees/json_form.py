"""A tree as JSON, number for number, and back: what is no tree, or a damaged one, is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.trees.arrays import Array, TreeArrays

FORMAT = 1

_ARRAYS: dict[str, Any] = {
    "left": np.int64, "right": np.int64, "question": np.int64, "leaf": np.int64, "reached": np.float64,
    "weights": np.float32, "bias": np.float32, "log_probs": np.float32, "centre": np.float32, "spread": np.float32,
}  # fmt: skip


def to_json(tree: TreeArrays) -> str:
    """The tree as JSON: `from_json` gives one that answers with the same numbers."""
    arrays = {name: _listed(getattr(tree, name)) for name in _ARRAYS}
    about = {"format": FORMAT, "input_shape": list(tree.input_shape), "classes": list(tree.classes)}
    return json.dumps(
        {"limbeck": "soft decision tree", **about, "predict": tree.predict, "sharpness": tree.sharpness, **arrays}
    )


def from_json(text: str) -> TreeArrays:
    """The tree of `to_json`.

    Raises:
        LimbeckError: if it is no such tree, or of a newer format.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LimbeckError(f"this is no tree, for it is no JSON: {error}") from None
    if not isinstance(found, Mapping) or found.get("limbeck") != "soft decision tree":
        raise LimbeckError('this is no tree: expected JSON with "limbeck": "soft decision tree"')
    if found.get("format") != FORMAT:
        raise LimbeckError(f"the tree has format {found.get('format')}, this one reads {FORMAT}: update limbeck")
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as that
            arrays = {
                name: np.array(
                    [np.nan if x is None else x for x in found[name]] if name == "reached" else found[name],
                    dtype=dtype,
                )
                for name, dtype in _ARRAYS.items()
            }
        if not isinstance(found["classes"], list):
            raise TypeError("classes are no list")
        shape, classes = tuple(map(int, found["input_shape"])), tuple(map(str, found["classes"]))
        # An array without rows has lost its second dimension.
        arrays["weights"] = arrays["weights"].reshape(-1, int(np.prod(shape)))
        tree = TreeArrays(
            **arrays,
            input_shape=shape,
            classes=classes,
            predict=found["predict"],
            sharpness=float(found["sharpness"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise LimbeckError(f"the tree is not whole: {what}") from None
    if not np.allclose(np.exp(np.minimum(tree.log_probs, 1)).sum(axis=1), 1, atol=1e-3):
        raise LimbeckError("the tree is not whole: the probabilities of a leaf do not add up to 1")
    if not ((tree.reached >= 0) & (tree.reached <= 1) | np.isnan(tree.reached)).all():
        raise LimbeckError("the tree is not whole: a node is reached by a share of the rows outside 0 to 1")
    return tree


def _listed(array: Array) -> list[Any]:
    """An array as JSON has it: floats by their shortest spelling that reads back as the same, nan as null."""
    if array.dtype == np.float32:
        # A float32's own shortest spelling is half as long as that of the float64 it becomes in a list.
        return [_listed(row) for row in array] if array.ndim > 1 else [float(str(value)) for value in array]
    return [None if value != value else value for value in array.tolist()]
