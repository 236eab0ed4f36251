"""A saved model asked about rows from a file: its classes, and how many are right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.devices import on_device
from limbeck.errors import LimbeckError
from limbeck.evaluation import measure_cost, result_row
from limbeck.models.encoder import Encoder, truncation
from limbeck.models.opening import SavedModel, open_model, saved_files
from limbeck.raw_rows import rows_for
from limbeck.training import predict_log_probs


def predictions(
    model: Path,
    inputs: str,
    *,
    text: Sequence[str] = (),
    top: int = 3,
    rows: int | None = None,
    skip_damaged: bool = False,
    say: Callable[[str], None] | None = None,
) -> Iterator[str]:
    """A line for each row: its number or file, the class and its probability, then the next likely ones.

    Args:
        model: a folder with a saved model, or an ONNX file.
        inputs: as for `limbeck.raw_rows.rows_for`.
        text: likewise.
        top: classes in a line.
        rows: only the first so many.
        skip_damaged: leave out damaged images, in place of an error.
        say: told what was met that the model has never seen, and what was left out.

    Raises:
        LimbeckError: if the model or the inputs cannot be read or do not fit each other.
    """
    loaded, classes = open_model(model)
    found = rows_for(loaded, classes, inputs, model, text=text, rows=rows, skip_damaged=skip_damaged)
    _tell([*found.notes, *_cut(loaded, found.inputs)], say)
    return _lines(found.names, np.exp(predict_log_probs(loaded, found.inputs)), classes, top)


def _cut(model: SavedModel, inputs: npt.NDArray[Any]) -> list[str]:
    """A line where texts are longer than an encoder takes."""
    said = truncation(model, [("texts", inputs)]) if isinstance(model, Encoder) else None
    return [] if said is None else [said]


def _tell(notes: list[str], say: Callable[[str], None] | None) -> None:
    if say is not None:
        for note in notes:
            say(note)


def _lines(
    names: list[str], probabilities: npt.NDArray[np.float32], classes: tuple[str, ...], top: int
) -> Iterator[str]:
    for name, values in zip(names, probabilities, strict=True):
        likely = np.argsort(-values, kind="stable")[:top]
        yield f"{name}\t" + "\t".join(f"{classes[c]} {values[c]:.4f}" for c in likely)


def measured(
    model: Path,
    inputs: str,
    *,
    label: str | None = None,
    text: Sequence[str] = (),
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """A saved model measured on labelled rows: a row as in results.json.

    Args:
        model: a folder with a saved model, or an ONNX file.
        inputs: as for `limbeck.raw_rows.rows_for`; rows without a label are left out.
        label: of a table or JSON lines, the column of labels.
        text: as for `rows_for`.
        say: told what was met that the model has never seen.

    Raises:
        LimbeckError: if the model or the inputs cannot be read or do not fit each other, or there are no labels.
    """
    loaded, classes = open_model(model)
    found = rows_for(loaded, classes, inputs, model, label=label, text=text)
    _tell([*found.notes, *_cut(loaded, found.inputs)], say)
    if found.labels is None or not (found.labels >= 0).any():
        raise LimbeckError(
            f"{inputs} has no labels of the classes {', '.join(classes[:12])}: name a table's column with --label, or "
            "give a data set or a run's folder"
        )
    known = found.labels >= 0
    raw, labels = found.inputs[known], found.labels[known]
    size = sum(file.stat().st_size for file in saved_files(model))
    name = model.name.removesuffix(".onnx")
    log_probs = predict_log_probs(on_device(loaded), raw)
    return result_row("reference", name, log_probs, labels, cost=measure_cost(loaded, size, raw))
