"""From a saved model to an ONNX file that was checked, one of 8 bits beside it, and a model card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from limbeck.devices import on_processor
from limbeck.errors import LimbeckError, UsageError
from limbeck.exporting.card import MARK, Source, card
from limbeck.exporting.checking import Session, check
from limbeck.exporting.encoders import tokenizer_file, tokenizer_name
from limbeck.exporting.graph import finished, need_onnx, numeric_graph
from limbeck.exporting.origin import Rows, checking_rows, key_of_artifact, origin_of
from limbeck.exporting.placing import is_own_int8, place
from limbeck.exporting.quantising import how_to_quantise, quantised
from limbeck.exporting.results import Exported, Int8
from limbeck.models import read_description
from limbeck.models.encoder import Encoder, truncation
from limbeck.models.opening import open_model
from limbeck.models.saving import DESCRIPTION, KINDS, KnownModel
from limbeck.raw_rows import rows_for
from limbeck.report.wording import whole
from limbeck.threads import use_available_cores

Array = npt.NDArray[Any]


def export(
    model: Path | str,
    out: Path | str | None = None,
    *,
    int8: bool = False,
    rows: str | Path | None = None,
    label: str | None = None,
) -> Exported:
    """Write a saved model as an ONNX file, checked on real rows, and a model card beside it.

    A file that is there is replaced once the new one is whole and checked.

    Args:
        model: a folder with a saved model: an artifact, or a run's models/ROLE/ROW.
        out: the file, which ends in .onnx; by default the folder's name with .onnx, where one is.
        int8: also write NAME.int8.onnx, with weights of 8 bits.
        rows: what to check on, as `limbeck predict` takes it; by default the test rows of the run that the model lies
            in.
        label: of rows in a table, the column of labels.

    Raises:
        UsageError: `out` does not end in .onnx, or there is a label without rows.
        LimbeckError: the model, its run or the rows cannot be read, ONNX cannot hold the model, or the file does not
            answer as the model does; nothing is written then.
    """
    need_onnx()
    folder = Path(model)
    path = _out(Path(f"{folder.resolve().name if folder.name in ('', '..') else folder.name}.onnx"), out)
    if label is not None and rows is None:
        raise UsageError(f'label = "{label}": the rows of a run have their labels; give --rows FILE with it')
    loaded, classes = open_model(folder)
    if not isinstance(loaded, KnownModel | Encoder):
        kinds = ", ".join((*KINDS, Encoder.kind))
        raise LimbeckError(
            f'{folder} is a model of kind "{loaded.kind}", which is not exported: expected one of {kinds}'
        )
    use_available_cores()
    origin = origin_of(folder)
    given = None if rows is None else read_given(str(rows), label, loaded, classes, folder)
    found = checking_rows(origin, given, folder)
    description = read_description(folder) if (folder / DESCRIPTION).is_file() else {}
    source = Source(origin, description, key_of_artifact(description))
    return _written(loaded, classes, path, found, int8, source)


def export_module(
    model: nn.Module,
    out: Path | str,
    classes: Sequence[str],
    inputs: Array,
    labels: npt.NDArray[np.int64] | None = None,
    *,
    int8: bool = False,
    calibration: Array | None = None,
) -> Exported:
    """As `export`, for a module in memory, of a known kind or of one's own.

    Args:
        model: from raw inputs (batch, …) to logits (batch, classes).
        out: the file, which ends in .onnx.
        classes: the classes' names in the order of the logits.
        inputs: raw rows to check on, shape (n, …), at least one.
        labels: of the rows, shape (n,), −1 for none, where they are known.
        int8: also write NAME.int8.onnx.
        calibration: raw rows (m, …) to quantise convolutions by, such as training rows; by default `inputs`.

    Raises:
        UsageError: `out` does not end in .onnx, or there are no rows.
        LimbeckError: as `export`.
    """
    need_onnx()
    path = _out(Path(), out)
    if not len(inputs):
        raise UsageError("there are no rows to check the file on: give at least one")
    rows = Rows(inputs, labels, "rows", inputs if calibration is None else calibration)
    was_training = model.training
    try:
        return _written(on_processor(model.eval()), tuple(classes), path, rows, int8, Source(None, {}, None))
    finally:
        model.train(was_training)


def _written(
    model: nn.Module, classes: tuple[str, ...], path: Path, rows: Rows, with_int8: bool, source: Source
) -> Exported:
    page = path.with_suffix(".md")
    if page.exists() and not page.read_bytes().startswith(MARK.encode()):
        raise LimbeckError(f"{page} is there and is no model card: give --out another name, or move it away")
    form = getattr(model, "form", None)
    tokens = model.tokens if isinstance(model, Encoder) else None
    beside = None if tokens is None else path.with_name(tokenizer_name(path))
    numeric = numeric_graph(model, rows.inputs)
    about: dict[str, Any] = {"key": source.key, "tokenizer": None if beside is None else beside.name}
    data = _bytes(finished(numeric, model, classes, rows.inputs, **about))
    session = Session(data, form, tokens)
    checked = check(session, model, classes, rows.inputs)
    names = session.answers(rows.inputs)[1]
    kind = str(getattr(model, "kind", None) or type(model).__name__)
    accuracy = _accuracy(names, classes, rows)
    small, small_data, reason = None, b"", None
    if with_int8:
        how = how_to_quantise(numeric)
        if how is None:
            reason = f"a model of kind {kind} holds no matrices to quantise: no file of 8 bits was written"
        else:
            eight = quantised(numeric, how, rows.calibration, texts=tokens is not None)
            small_data = _bytes(finished(eight, model, classes, rows.inputs, int8=how, **about))
            small_session = Session(small_data, form, tokens)
            answers = small_session.answers(rows.inputs)[1]
            small = Int8(
                path=path.with_suffix(".int8.onnx"),
                how=how,
                bytes=len(small_data),
                changed=int((answers != names).sum()),
                accuracy=_accuracy(answers, classes, rows),
                milliseconds=small_session.milliseconds(rows.inputs),
            )
    eight_bits = path.with_suffix(".int8.onnx")
    stale = eight_bits if small is None and is_own_int8(eight_bits) else None
    exported = Exported(
        path,
        page,
        kind,
        len(data),
        checked,
        rows.what,
        accuracy,
        small,
        reason,
        stale,
        beside,
        session.tokens_in_first(rows.inputs),
    )
    measured = [*exported.measured(), *cut_short(model, rows)]
    text = card(exported.path.name, model, classes, rows.inputs, measured, reason, source)
    files = {path: data} | ({} if small is None else {small.path: small_data})
    if tokens is not None and beside is not None:
        files[beside] = tokenizer_file(tokens)
    place(files, page, text.encode(), stale)
    return exported


def cut_short(model: nn.Module, rows: Rows) -> list[str]:
    """A line about texts that the model does not take whole; of other models none."""
    if not isinstance(model, Encoder):
        return []
    line = truncation(model, [(rows.what, rows.inputs)])
    return [line or f"none of {whole(len(rows.inputs))} {rows.what} is longer than {model.tokens.max_length} tokens"]


def _out(default: Path, out: Path | str | None) -> Path:
    path = default if out is None else Path(out)
    if path.suffix != ".onnx":
        raise UsageError(f'out = "{path}": expected a file that ends in .onnx')
    if path.is_dir():
        raise UsageError(f'out = "{path}": that is a folder, expected a file')
    return path


def read_given(
    rows: str, label: str | None, model: KnownModel | Encoder, classes: tuple[str, ...], folder: Path
) -> tuple[str, Array, Array | None]:
    """Rows that were asked for by `--rows`: their name, raw inputs (n, …), and labels (n,) or None."""
    found = rows_for(model, classes, rows, folder, label=label)
    labels = found.labels
    if labels is not None and not (labels < len(classes)).all():
        labels = None  # of another data set than the model's
    return rows, found.inputs, labels


def _accuracy(names: Array, classes: Sequence[str], rows: Rows) -> float | None:
    """The share of the labelled rows whose class is right; None where none is labelled."""
    if rows.labels is None or not (labelled := rows.labels >= 0).any():
        return None
    right = names[labelled] == np.array(list(classes), dtype=object)[rows.labels[labelled]]
    return float(right.mean())


def _bytes(proto: Any) -> bytes:
    return bytes(proto.SerializeToString(deterministic=True))
