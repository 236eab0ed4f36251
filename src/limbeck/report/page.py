"""The page itself: everything that was found, in one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from limbeck.data import Form, TextForm
from limbeck.familiarity import DIFFERENT_CONFIDENCE, FAR_AUC
from limbeck.report.claims import claim_lines
from limbeck.report.descents import Descent, descent_figures
from limbeck.report.disagreements import Disagreements, find_disagreements, is_image
from limbeck.report.ensemble_figure import ensemble_figure
from limbeck.report.ensembles import COLUMNS as ENSEMBLE_COLUMNS
from limbeck.report.ensembles import find_ensembles, numbered_members, together
from limbeck.report.figures import cost_figure, curve_figure, curve_range, reliability_figure
from limbeck.report.likeness import alike_to_each, likeness, who_and_at_what
from limbeck.report.models import Family, Model, families, read_models
from limbeck.report.richest import Richest, find_richest
from limbeck.report.split_votes import find_split_votes
from limbeck.report.sweeps import sweep_figures
from limbeck.report.table import ROLES, columns, groups, lines
from limbeck.report.texts import TextOf, text_of
from limbeck.report.transfer_parts import COLUMNS as PART_COLUMNS
from limbeck.report.transfer_parts import folded, known_parts, part_figures
from limbeck.report.wording import describe, percent, whole

CURVES = 6  # how many panels of a kind; the table and the JSON hold everything
RELIABILITIES = 12
STUDENTS_IN_PICTURES = 4
CASES_FIRST, CASES_FURTHER = 24, 12
PICTURE_BYTES_FIRST, PICTURE_BYTES_FURTHER = 160_000, 70_000


def render_report(
    results: dict[str, Any],
    run: dict[str, Any],
    predictions: dict[str, np.ndarray],
    histories: dict[str, dict[str, Any]],
    test_inputs: np.ndarray,
    test_labels: np.ndarray,
    classes: Sequence[str],
    descents: Sequence[Descent] = (),
    form: Form | None = None,
) -> str:
    """One self-contained HTML page: the same inputs give the same bytes.

    Args:
        results: the content of results.json.
        run: the content of run.json.
        predictions: model id -> (n, classes) float32 log-probabilities on the test set; rows may be missing.
        histories: model id -> the content of history.json; rows may be missing.
        test_inputs: (n, …) raw; uint8 images (n, h, w) or (n, h, w, channels) are shown, and texts.
        test_labels: (n,) int64, −1 where there is none.
        classes: their names, in order.
        descents: of linear nets, each its name, variant and what it came to.
        form: what the inputs mean, as a part has it.

    Raises:
        LimbeckError: predictions whose shape is not that of the test set and the classes.
    """
    names = [str(name) for name in classes]
    labels, inputs = np.asarray(test_labels), np.asarray(test_inputs)
    shown_text = text_of(inputs, form)
    rows = len(labels)
    models = read_models(results, predictions, histories, rows, len(names))
    found = families(models)
    ensembles = find_ensembles(results, models)
    of_same_members = together(ensembles)
    members = numbered_members(ensembles)
    parts = known_parts(results)
    sweeps = sweep_figures(models, results.get("curves") or {}, rows, ensembles, results.get("parts") or ())
    table_columns = columns(models, rows)
    here = files("limbeck.report")
    script = Markup(here.joinpath("page.js").read_text(encoding="utf-8"))
    # jinja escapes whatever is not Markup: only our own files and drawings are
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(whole=whole)
    template = environment.from_string(here.joinpath("page.html").read_text(encoding="utf-8"))
    return template.render(
        style=Markup(here.joinpath("page.css").read_text(encoding="utf-8")),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        data=embedded_json({"results": results, "run": run}),
        results=results,
        run=run,
        test_rows=rows,
        present=[role for role in ROLES if any(m.role == role for m in models)],
        variants=any(family.variants for family in found),
        verdicts=[(family, describe(family, rows)) for family in found],
        claims=claim_lines([results.get("claims") or []]),
        columns=table_columns,
        descents=[(title, Markup(figure)) for title, figure in descent_figures(descents)],
        sweeps=[(sweep, Markup(figure)) for sweep, figure in sweeps],
        sweep_roles={role for sweep, _ in sweeps for role in sweep.roles},
        ensembles=ensembles,
        ensemble_columns=ENSEMBLE_COLUMNS,
        ensemble_figures=[
            (several, Markup(ensemble_figure(several, rows, f"ensemble{i}")))
            for i, several in enumerate(of_same_members)
        ],
        split_votes=[
            found_votes
            for several in of_same_members
            if (found_votes := find_split_votes(several.first, labels, names, inputs, several.means[1:], shown_text))
            is not None
        ],
        parts=folded(parts),
        part_columns=PART_COLUMNS,
        far_auc=f"{FAR_AUC:.2f}",
        lower_confidence=f"{100 * DIFFERENT_CONFIDENCE:.0f}",
        part_figures=[(part, Markup(figure)) for part, figure in part_figures(parts)],
        groups=groups(table_columns),
        lines=lines(models, table_columns, members),
        member_lines=lines([model for group in members for model in group], table_columns),
        cost_figures=_cost_figures(models, found, rows),
        curves=_curves(found),
        curves_left_out=max(0, len(found) - CURVES),
        reliabilities=_reliabilities(models, found, labels),
        disagreements=_disagreements(found, labels, names, inputs, shown_text),
        pictures=is_image(inputs),
        texts=isinstance(form, TextForm),
        likeness=likeness(found, models, names),
        alike_to_each=alike_to_each(models, of_same_members, names, who_and_at_what(found, models)[1]),
        richest=_richest(found, models, labels, names, inputs, shown_text),
        classes=names,
    )


def embedded_json(value: Any) -> Markup:
    """JSON that no content can break out of: markup as Unicode escapes, NaN and infinities as null."""
    text = json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cost_figures(models: Sequence[Model], found: Sequence[Family], rows: int) -> list[Markup]:
    """Only rows of one task belong in one picture: that of the first student, where there are several."""
    task = found[0].student.row.get("data") if found else None
    shown = [m for m in models if m.row.get("data") == task]
    drawn = [cost_figure(shown, field, rows, f"cost{i}") for i, field in enumerate(("bytes", "latency_ms"))]
    return [Markup(figure) for figure in drawn if figure is not None]


def _curves(found: Sequence[Family]) -> list[tuple[Family, Markup]]:
    shown = found[:CURVES]
    top, bottom = curve_range([m for family in shown for m in (*family.members, *family.variants)])
    drawn = [(family, curve_figure(family, top, bottom, f"curve{i}")) for i, family in enumerate(shown)]
    return [(family, Markup(figure)) for family, figure in drawn if figure is not None]


@dataclass(frozen=True)
class Panel:
    """A model's reliability: the drawing, ECE in per cent, and how much surer than right it is on average."""

    model: Model
    figure: Markup
    ece: str
    leaning: str


def _reliabilities(models: Sequence[Model], found: Sequence[Family], labels: np.ndarray) -> list[Panel]:
    shown: list[Model] = [m for m in models if m.role == "teacher" and m.main]
    for family in found:
        shown += [m for m in (family.student, family.baseline) if m is not None]
    labelled = labels >= 0
    panels: list[Panel] = []
    for model in [m for m in shown if m.log_probs is not None][:RELIABILITIES]:
        if not labelled.any() or model.log_probs is None:
            continue
        log_probs = model.log_probs[labelled]
        only_labelled = Model(model.row, model.main, log_probs, None)
        figure = Markup(reliability_figure(only_labelled, labels[labelled], f"sure{len(panels)}"))
        confidence = float(np.exp(log_probs.astype(np.float64).max(axis=1)).mean())
        over = 100 * (confidence - float((log_probs.argmax(axis=1) == labels[labelled]).mean()))
        leaning = (
            "as sure as right"
            if abs(over) < 0.05
            else f"{abs(over):.1f}\u00a0points too\u00a0{'sure' if over > 0 else 'unsure'}"
        )
        panels.append(Panel(model, figure, percent(model.number("ece"), 1), leaning))
    return panels


def _richest(
    found: Sequence[Family],
    models: Sequence[Model],
    labels: np.ndarray,
    classes: Sequence[str],
    inputs: np.ndarray,
    shown_text: TextOf,
) -> Richest | None:
    teacher, temperature = who_and_at_what(found, models)
    if teacher is None or teacher.log_probs is None or len(classes) < 3:
        return None
    return find_richest(teacher.name, teacher.log_probs, labels, classes, inputs, temperature, shown_text)


def _disagreements(
    found: Sequence[Family], labels: np.ndarray, classes: Sequence[str], inputs: np.ndarray, shown_text: TextOf
) -> list[tuple[Family, Disagreements]]:
    made: list[tuple[Family, Disagreements]] = []
    for family in found:
        teacher = family.teacher
        if teacher is None or teacher.log_probs is None or family.student.log_probs is None:
            continue
        if len(made) == STUDENTS_IN_PICTURES:
            break
        cases = find_disagreements(
            teacher.log_probs,
            family.student.log_probs,
            labels,
            classes,
            inputs,
            limit=CASES_FURTHER if made else CASES_FIRST,
            budget=PICTURE_BYTES_FURTHER if made else PICTURE_BYTES_FIRST,
            text_of=shown_text,
        )
        made.append((family, cases))
    return made
