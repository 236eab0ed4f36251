"""A saved tree's answer for a row of a file explained, and the tree written as a page, a drawing, text or numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.errors import LimbeckError, UsageError
from limbeck.files import write_bytes
from limbeck.models import SoftDecisionTree, encoded
from limbeck.models.opening import open_model
from limbeck.raw_rows import rows_for
from limbeck.row_files import read_features
from limbeck.trees import TreeArrays, explain, to_text

FORMS = {".html": "a page", ".svg": "a drawing", ".txt": "text", ".json": "numbers"}


def explained(model: Path, inputs: str, row: int = 0, out: Path | None = None) -> str:
    """Explain the answer of a saved soft decision tree for one row, and write the tree to a file.

    Args:
        model: a folder with a saved soft decision tree.
        inputs: an idx, .npy or .npz file of raw inputs, or a data set's name for its test rows (all rows of one that
            has no test rows of its own). An .npz file may hold the names of a table's features as "features".
        row: the row to explain, from 0.
        out: a file that is written, or replaced when the new one is whole: .html a page to explore the tree with the
            inputs, .svg a drawing with the row's path, .txt its questions as text, .json its numbers.

    Returns:
        The explanation as text, several lines without a last line break.

    Raises:
        UsageError: the row is out of range, or the file is of another kind.
        LimbeckError: if the model or the inputs cannot be read or do not fit each other, or the model is no tree.
    """
    if out is not None and out.suffix.lower() not in FORMS:
        known = ", ".join(f"{suffix} ({what})" for suffix, what in FORMS.items())
        raise UsageError(f'out = "{out}": expected a file that ends in {known}')
    loaded, classes = open_model(model)
    if not isinstance(loaded, SoftDecisionTree):
        raise LimbeckError(
            f'{model} is a model of kind "{loaded.kind}": only a soft decision tree, a student of kind '
            f'"{SoftDecisionTree.kind}", can be explained'
        )
    found = rows_for(loaded, classes, inputs, model)
    raw, labels = found.inputs, found.labels
    if not 0 <= row < len(raw):
        raise UsageError(f"row = {row}: {inputs} has the rows 0 to {len(raw) - 1}")
    tree, raw = loaded.to_numpy(classes), encoded(loaded, raw)
    features = loaded.features or (read_features(inputs) if len(tree.input_shape) == 1 else None)
    explanation = explain(tree, raw[row], features=features)
    if out is not None:
        if labels is not None and not ((labels >= 0) & (labels < len(classes))).all():
            labels = None  # of another data set than the model's, or not known for every row
        write_bytes(out, _written(tree, raw, row, labels, model.name, features, out.suffix.lower()).encode())
    return explanation.text()


def _written(
    tree: TreeArrays,
    raw: npt.NDArray[Any],
    row: int,
    labels: npt.NDArray[np.int64] | None,
    name: str,
    features: tuple[str, ...] | None,
    suffix: str,
) -> str:
    if suffix == ".html":
        from limbeck.trees.page import render_page  # takes a moment to import

        return render_page(tree, raw, row, labels=labels, name=name, features=features)
    if suffix == ".svg":
        from limbeck.trees.drawing import draw

        return draw(tree, path_of=raw[row], features=features)
    return f"{to_text(tree, features=features)}\n" if suffix == ".txt" else f"{tree.to_json()}\n"
