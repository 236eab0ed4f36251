"""The table of all rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.report.models import Model, finite
from limbeck.report.wording import (
    NOTHING,
    mean_text,
    p_value,
    percent,
    scaled,
    significant,
    time_taken,
    whole,
)
from limbeck.rows import ERRORS_ON, settings_text

ROLES = ("teacher", "student", "baseline", "reference")
METRIC_COLUMNS = 8


@dataclass(frozen=True)
class Column:
    """A column's key, heading, group, what a pointer on its heading is told, and how a value is written."""

    key: str
    title: str
    group: str
    note: str
    write: Callable[[Any], str]


@dataclass(frozen=True)
class Cell:
    """What is shown, the number to sort by (None: last), and what is said beneath."""

    text: str
    value: float | None
    beneath: str = ""


@dataclass(frozen=True)
class Line:
    """A line of the table: one model, or the first of several of which it shows the mean."""

    model: Model
    settings: str
    source: str
    cells: tuple[Cell, ...]


def columns(models: Sequence[Model], test_rows: int) -> list[Column]:
    """The columns of design's row, then `metrics` by name; a rare one only where some row fills it."""
    decimals = 2 if test_rows >= 1000 else 1

    def share(value: float) -> str:
        return percent(value, decimals)

    quality, calibration, distilling, cost = "Right or wrong", "How sure", "Distilling", "Cost"
    found = [
        Column("accuracy", "Accuracy, %", quality, "share of test rows that are right", share),
        Column("errors", "Errors", quality, f"wrong test rows, of {whole(test_rows)}", whole),
        Column("nll", "NLL", calibration, "mean negative log-probability of the true class", significant),
        Column("ece", "ECE, %", calibration, "how far confidence is from being right", share),
        Column("agreement", "Agrees, %", distilling, "share of rows with the teacher's class", share),
        Column("gap_recovered", "Gap recovered, %", distilling, "0: as labels alone; 100: as the teacher", _gap),
        Column("p_value", "p", distilling, "McNemar's exact test against the baseline", p_value),
        Column("verdict", "Verdict", distilling, "helps or hurts where p < 0.05", str),
        Column("parameters", "Param\u00adeters", cost, "numbers that are learnt", scaled),
        Column("bytes", "Size", cost, "bytes of the saved model", _size),
        Column("multiply_adds", "Multiply-adds", cost, "for one example", scaled),
        Column("latency_ms", "Latency, ms", cost, "median for one example alone", significant),
        Column("examples_per_second", "Examples a second", cost, "in large batches", scaled),
        Column("train_seconds", "Training", cost, "time to train", time_taken),
    ]
    if any((m.number("trials") or 1) > 1 for m in models):
        found.append(Column("trials", "Trials", cost, "settings tried on the validation split", whole))
    names = [name for m in models for name, value in (m.row.get("metrics") or {}).items() if finite(value) is not None]
    few_first = sorted(dict.fromkeys(names), key=lambda name: name.startswith(ERRORS_ON))
    for name in few_first[:METRIC_COLUMNS]:
        form = _area if name == "auc" else significant_or_whole
        found.append(Column(f"metrics.{name}", name.replace("_", " "), "Further", name, form))
    return found


def groups(found: Sequence[Column]) -> list[tuple[str, int]]:
    """The heading over the headings: each group with how many columns it spans."""
    spans: dict[str, int] = {}
    for column in found:
        spans[column.group] = spans.get(column.group, 0) + 1
    return list(spans.items())


def lines(models: Sequence[Model], found: Sequence[Column], alike: Sequence[Sequence[Model]] = ()) -> list[Line]:
    """One line for each row of the results, in their order; one for each group of rows that are `alike`: their mean."""
    group_of = {model: group for group in alike for model in group}
    made = []
    for model in models:
        group = group_of.get(model)
        if group is None:
            cells = tuple(_cell(model, column) for column in found)
            made.append(Line(model, settings_text(model.row), _source(model), cells))
        elif model is group[0]:
            cells = tuple(_mean_cell(group, column) for column in found)
            made.append(Line(model, f"{len(group)} members, on the average", _source(model), cells))
    return made


def _source(model: Model) -> str:
    said = (("teacher", "from"), ("transfer", "over"), ("data", "on"))
    return " ".join(f"{word} {model.row[field]}" for field, word in said if model.row.get(field))


def _mean_cell(group: Sequence[Model], column: Column) -> Cell:
    """The mean of what the group's lines have; of errors with the fewest and the most."""
    values = [value for model in group if (value := _cell(model, column).value) is not None]
    if len(values) < len(group) or column.key == "verdict":
        return Cell(NOTHING, None)
    mean = sum(values) / len(values)
    if column.key == "errors":
        return Cell(mean_text(mean), mean, f"({whole(min(values))} to {whole(max(values))})")
    return Cell(mean_text(mean) if column.key == "metrics.validation_errors" else column.write(mean), mean)


def _cell(model: Model, column: Column) -> Cell:
    if column.key.startswith("metrics."):
        value = finite((model.row.get("metrics") or {}).get(column.key.removeprefix("metrics.")))
        return Cell(NOTHING, None) if value is None else Cell(column.write(value), float(value))
    if column.key == "verdict":
        verdict = model.row.get("verdict")
        order = {"helps": 0.0, "no difference": 1.0, "hurts": 2.0}
        return Cell(NOTHING, None) if verdict is None else Cell(str(verdict), order.get(str(verdict), 3.0))
    number = model.number(column.key)
    return Cell(NOTHING, None) if number is None else Cell(column.write(number), float(number))


def significant_or_whole(value: float) -> str:
    """A count as a count, anything else with three digits."""
    return whole(value) if isinstance(value, int) else significant(value)


def _area(value: float) -> str:
    return f"{value:.5f}"


def _gap(value: float) -> str:
    return percent(value, 0)


def _size(value: float) -> str:
    return scaled(value, "B")
