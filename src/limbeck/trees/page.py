"""A tree to explore: one HTML file that needs nothing else, and walks its inputs down the tree by itself."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from limbeck.errors import UsageError
from limbeck.report.page import embedded_json
from limbeck.report.wording import whole
from limbeck.trees.arrays import Predict, TreeArrays
from limbeck.trees.pictures import picture_shape
from limbeck.trees.text import feature_names

INPUTS = 60
ANSWERS: dict[Predict, str] = {
    "path": "by the leaf of its most probable path",
    "greedy": "by the leaf at the end of the likelier turns",
    "average": "by the average of its leaves",
}


def render_page(
    tree: TreeArrays,
    inputs: npt.NDArray[Any],
    row: int,
    labels: npt.NDArray[np.int64] | None = None,
    name: str = "tree",
    features: Sequence[str] | None = None,
) -> str:
    """One self-contained HTML page: the same arguments give the same bytes.

    Args:
        tree: of images (h, w) or (h, w, channels), whose questions are shown as pictures, or of tables (features,).
        inputs: raw, shape (n, *tree.input_shape). Up to 60 of them are in the page: `row` and those that follow it,
            after the last row from the first one on.
        row: the input that is shown first.
        labels: shape (n,), their true classes, −1 where there is none.
        name: of the tree.
        features: the features' names, for tables; "feature 12" by default.

    Raises:
        UsageError: inputs of another shape than the tree's, a row that is not there, labels of another length or
            beyond the tree's classes, or another number of names than features.
    """
    inputs = np.asarray(inputs)
    tree.check_inputs(inputs)
    if not 0 <= row < len(inputs):
        raise UsageError(f"row = {row}: expected one of the {len(inputs)} rows, from 0")
    if labels is not None and len(labels) != len(inputs):
        raise UsageError(f"{len(labels)} labels for {len(inputs)} inputs: give one for each")
    if labels is not None and (np.asarray(labels) >= len(tree.classes)).any():
        raise UsageError(f"a label is {int(np.max(labels))}, but the tree has {len(tree.classes)} classes, from 0")
    names = feature_names(tree, features)
    rows = (row + np.arange(min(INPUTS, len(inputs)))) % len(inputs)
    here = files("limbeck.trees")
    script = Markup(here.joinpath("tree.js").read_text(encoding="utf-8"))
    # jinja escapes whatever is not Markup: only our own files are
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(whole=whole)
    template = environment.from_string(here.joinpath("tree.html").read_text(encoding="utf-8"))
    picture = picture_shape(tree.input_shape)
    return template.render(
        style=Markup(here.joinpath("tree.css").read_text(encoding="utf-8")),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        data=embedded_json(
            {
                "tree": _of_tree(tree),
                "inputs": {
                    "rows": rows.tolist(),
                    "labels": None if labels is None else np.asarray(labels)[rows].tolist(),
                    **_exact(inputs[rows]),
                },
                "picture": picture,
                "features": list(names) or None,
            }
        ),
        name=name,
        picture=picture,
        drawable=picture is not None and picture[2] == 1,
        answers=ANSWERS[tree.predict],
        average=tree.predict == "average",
        questions=len(tree.weights),
        leaves=tree.leaves,
        depth=tree.depth,
    )


def _of_tree(tree: TreeArrays) -> dict[str, Any]:
    return {
        "left": tree.left.tolist(),
        "right": tree.right.tolist(),
        "question": tree.question.tolist(),
        "leaf": tree.leaf.tolist(),
        "reached": [float(f"{share:.6g}") for share in tree.reached.tolist()],
        "weights": _base64(tree.weights, "<f4"),
        "bias": _base64(tree.bias, "<f4"),
        "logProbs": _base64(tree.log_probs, "<f4"),
        "centre": _base64(tree.centre, "<f4"),
        "spread": _base64(tree.spread, "<f4"),
        "classes": list(tree.classes),
        "predict": tree.predict,
        "sharpness": tree.sharpness,
    }


def _exact(inputs: npt.NDArray[Any]) -> dict[str, Any]:
    """The values that the tree is given, one byte each where that loses nothing."""
    values = inputs.reshape(len(inputs), -1).astype(np.float32)
    small = np.clip(np.nan_to_num(values), 0, 255).astype(np.uint8)
    if np.array_equal(small, values):
        return {"bytes": _base64(small, "u1"), "floats": None}
    return {"bytes": None, "floats": _base64(values, "<f4")}


def _base64(array: npt.NDArray[Any], dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype=dtype).tobytes()).decode("ascii")
