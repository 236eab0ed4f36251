"""The model card: a page in Markdown with what is known of an exported model, and nothing that is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
from torch import nn

from limbeck import __version__
from limbeck.data import Form, ImageForm, TableForm
from limbeck.evaluation import parameter_count
from limbeck.exporting.markdown import code, fenced, plain, quoted
from limbeck.exporting.origin import Origin
from limbeck.exporting.text_card import about_texts, onnx_code
from limbeck.models.encoder import Encoder
from limbeck.report.models import Family, Model, baseline_of, read_models
from limbeck.report.wording import describe, percent, significant, whole
from limbeck.rows import Row, row_id, row_label

MARK = "<!-- a model card by limbeck -->"
"""The first line of every card: a file without it is somebody's own, and is not replaced."""

_SHOWN = 20  # classes, and categories of a column


@dataclass(frozen=True)
class Source:
    """Where a model comes from.

    Attributes:
        origin: its run, if known.
        description: what its model.json says; empty of a model in memory.
        key: of the artifact that it is.
    """

    origin: Origin | None
    description: Mapping[str, Any]
    key: str | None


def card(
    file: str,
    model: nn.Module,
    classes: Sequence[str],
    inputs: npt.NDArray[Any],
    measured: Sequence[str],
    not_int8: str | None,
    source: Source,
) -> str:
    """The page.

    Args:
        file: the ONNX file's name.
        model: that is in it.
        classes: the classes' names.
        inputs: raw rows, shape (n, …).
        measured: what was found in checking the file, a sentence each.
        not_int8: why there is no file of 8 bits, where one was asked for.
        source: where the model comes from.
    """
    form = getattr(model, "form", None)
    running = (
        onnx_code(Path(file), model.tokens, model.form) if isinstance(model, Encoder) else _running(file, form, inputs)
    )
    lines = [*measured, *([not_int8] if not_int8 else [])]
    return page(file.removesuffix(".onnx"), model, classes, inputs, running, lines, source)


def page(
    name: str,
    model: nn.Module,
    classes: Sequence[str],
    inputs: npt.NDArray[Any] | None,
    running: Sequence[str],
    checked: Sequence[str],
    source: Source,
    heading: str = "The file, checked",
) -> str:
    """A card of a model in any form.

    Args:
        name: of the file or folder, which is the title where the run does not say one.
        model: that is in it.
        classes: the classes' names.
        inputs: raw rows, shape (n, …); of texts, which have no shape, None will do.
        running: how it is run, in Markdown.
        checked: what was found in checking it, a sentence each.
        source: where the model comes from.
        heading: over what was found.
    """
    origin, form = source.origin, getattr(model, "form", None)
    title = row_label(origin.row) if origin is not None and origin.row is not None else name
    sections = [
        ("", _about(model, classes, form, inputs)),
        ("Running it", running),
        ("Measured", _measured(origin)),
        (heading, [f"- {plain(line)}" for line in checked]),
        ("Data", _data(origin, source.description)),
        ("How it was made", _made(origin, source)),
        ("Limits", _limits(model, form, origin)),
    ]
    lines = [MARK, f"# {plain(title)}"]
    for head, body in sections:
        if body:
            lines += ["", *([f"## {head}", ""] if head else []), *body]
    return "\n".join(lines) + "\n"


def _about(model: nn.Module, classes: Sequence[str], form: Form | None, inputs: npt.NDArray[Any] | None) -> list[str]:
    kind = str(getattr(model, "kind", None) or type(model).__name__)
    lines = [
        f"- a classifier of kind {plain(kind)}, {whole(parameter_count(model))} parameters",
        f"- {len(classes)} classes: {_listed(classes)}",
    ]
    if isinstance(model, Encoder):
        return [*lines, *about_texts(model)]
    if isinstance(form, TableForm):
        lines += ["- takes the raw columns of a table:", "", "| column | type | values |", "| --- | --- | --- |"]
        for column in form.columns:
            gaps = ", may be missing" if column.missing else ""
            if column.categories is None:
                lines.append(f"| {plain(column.name)} | number | float32{gaps} |")
            else:
                lines.append(f"| {plain(column.name)} | category | {_listed(column.categories)}{gaps} |")
        return lines
    assert inputs is not None
    shape = "×".join(map(str, inputs.shape[1:]))
    if isinstance(form, ImageForm):
        resized = ", to which others were brought" if form.resized else ""
        return [*lines, f"- takes raw {form.mode} images of {form.height}×{form.width} pixels{resized}, {inputs.dtype}"]
    return [*lines, f"- takes raw inputs of shape {shape}, {inputs.dtype}"]


def _running(file: str, form: Form | None, inputs: npt.NDArray[Any]) -> list[str]:
    lines = ["import numpy as np", "import onnxruntime", "", f"session = onnxruntime.InferenceSession({quoted(file)})"]
    if isinstance(form, TableForm):
        lines.append("inputs = {  # a row; more rows are as many lists of one value")
        for column in form.columns:
            value = f"[[{quoted(column.categories[0])}]], dtype=object" if column.categories else "[['']], dtype=object"
            value = "[[0.0]], dtype=np.float32" if column.categories is None else value
            lines.append(f"    {quoted(column.name)}: np.array({value}),")
        lines.append('}  # where a number is missing np.nan, where a category is ""')
    else:
        shape = ", ".join(map(str, (1, *inputs.shape[1:])))
        lines.append(
            f'inputs = {{"inputs": np.zeros(({shape}), dtype=np.{inputs.dtype})}}  # a batch of rows as they are'
        )
    lines.append("probabilities, classes = session.run(None, inputs)")
    return fenced(lines)


def _measured(origin: Origin | None) -> list[str]:
    if origin is None or origin.row is None:
        return []
    test_rows = len(origin.split.test)
    models = read_models({"models": origin.rows}, {}, {}, test_rows, 0)
    own = next(model for model in models if row_id(model.row) == origin.name)
    teacher = next((m for m in models if m.role == "teacher" and m.name == own.row.get("teacher")), None)
    baseline = baseline_of(own, models) if own.role == "student" else None
    lines = [
        f"On {whole(test_rows)} test rows:",
        "",
        "| model | accuracy | errors | parameters | milliseconds for a row |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(_table_row(one) for one in (own, teacher, baseline) if one is not None),
    ]
    if own.role == "student":
        found = describe(Family(own, teacher, baseline, ()), test_rows)
        sentence = f"{found.finding}: {found.conclusion}. {found.cost}".strip().replace("\u00a0", " ")
        lines += ["", plain(sentence)]
    return [*lines, "", f"This is one run, of seed {origin.run['seed']}: another seed gives other numbers."]


def _table_row(model: Model) -> str:
    row: Row = model.row
    accuracy = model.number("accuracy")
    cells = [
        f"{model.role} {plain(row_label(row))}",
        "–" if accuracy is None else f"{percent(accuracy, 2)}%",
        whole(model.number("errors")),
        whole(model.number("parameters")),
        significant(model.number("latency_ms")),
    ]
    return f"| {' | '.join(cells)} |"


def _data(origin: Origin | None, description: Mapping[str, Any]) -> list[str]:
    lines = []
    if origin is not None:
        split = origin.split
        lines += [
            f"- source: {plain(origin.source)}",
            f"- rows: {whole(len(split.train))} to train on, {whole(len(split.validation))} to choose by, "
            f"{whole(len(split.test))} to test on",
        ]
        if origin.learnt_from:
            parts = ", ".join(f"{whole(rows)} rows of {plain(part)}" for part, rows in origin.learnt_from)
            lines.append(f"- what its teacher said was learnt of: {parts}")
    trained_on = _identity(description).get("inputs", {}).get("train")
    if isinstance(trained_on, str):
        lines.append(f"- training part: {code(trained_on)} (SHA-256)")
    return lines


def _made(origin: Origin | None, source: Source) -> list[str]:
    lines = []
    if origin is not None:
        lines += [f"- recipe: {plain(origin.run['recipe'])}", f"- command: {code(str(origin.run['command']))}"]
    identity = _identity(source.description)
    objective = (identity.get("settings") or {}).get("objective") or {}
    if isinstance(loss := objective.get("loss"), str):
        at = f", temperature {objective['temperature']:g}" if loss == "soft_targets" else ""
        lines.append(f"- learnt by: {plain(loss.replace('_', ' '))}{at}")
    if origin is not None and origin.begun_with is not None:
        layers = (identity.get("settings") or {}).get("model", {}).get("layers")
        which = f", its layers {', '.join(map(str, layers))}" if isinstance(layers, list) else ""
        lines.append(f"- began with: {plain(origin.begun_with)}{which}")
    if identity.get("seed") is not None:
        lines.append(f"- seed: {plain(identity['seed'])}")
    if source.key is not None:
        lines.append(f"- artifact: {code(source.key)}")
    return [*lines, f"- exported by limbeck {__version__}"]


def _limits(model: nn.Module, form: Form | None, origin: Origin | None) -> list[str]:
    lines = [
        "- Rows unlike those it was trained on get a class and a probability like any other: neither says that a row "
        "is of a kind that the model has not seen."
    ]
    if isinstance(form, TableForm):
        lines.append(
            "- A number that is missing counts as the median of the training rows, a category that is missing or not "
            "known as none of those that are; in columns whose values may be missing the model is told where one is."
        )
    if isinstance(model, Encoder):
        lines.append(f"- Of a text longer than {model.tokens.max_length} tokens, what comes after them has no say.")
    if origin is not None and origin.row is not None:
        lines.append("- Accuracy is of one seed, and of test rows from the same source as the training rows.")
    return [*lines, "- Times are of the machine and the threads that it was exported with."]


def _identity(description: Mapping[str, Any]) -> Mapping[str, Any]:
    found = description.get("identity")
    return found if isinstance(found, Mapping) else {}


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(plain(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
