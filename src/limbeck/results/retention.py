"""How much of their teacher models keep over several tasks: the mean of their accuracies, and its share of his."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from limbeck.recipe.task import TASK
from limbeck.rows import row_id, row_label

Row = Mapping[str, Any]

MEANING = "macro: the mean of the accuracies on all tasks; kept: its share of the teacher's macro"


def retention(rows: Sequence[Row], test_rows: Mapping[str, int]) -> dict[str, Any]:
    """What results.json says of a recipe's tasks together.

    Args:
        rows: of results.json.
        test_rows: how many each task has, by name.

    Returns:
        `test_rows`, and `models`: one for each that was measured on every task, with role, name, variant (without the
        task, and without what was chosen for each), `by_task` (accuracies), `macro` (their mean: every task counts
        alike), and `share`: of the macro of its teacher; of what learns from labels alone, of the first teacher.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["data"] not in test_rows or row["accuracy"] is None:
            continue
        chosen = {path.rpartition(".")[2] for path in row["chosen"] or {}}
        variant = {key: value for key, value in row["variant"].items() if key != TASK and key not in chosen}
        named = {"role": row["role"], "name": row["name"], "variant": variant}
        model = found.setdefault(repr(named), {**named, "teacher": row["teacher"], "by_task": {}})
        model["by_task"][row["data"]] = row["accuracy"]
    models = [model for model in found.values() if len(model["by_task"]) == len(test_rows)]
    for model in models:
        model["macro"] = fmean(model["by_task"][task] for task in test_rows)
    for model in models:
        teacher = _teacher_of(model, models)
        model["share"] = None if teacher is None or not teacher["macro"] else model["macro"] / teacher["macro"]
    keys = ("role", "name", "variant", "by_task", "macro", "share")
    return {"test_rows": dict(test_rows), "models": [{key: model[key] for key in keys} for model in models]}


def _teacher_of(model: Row, models: Sequence[Row]) -> Row | None:
    teachers = [other for other in models if other["role"] == "teacher"]
    named = [teacher for teacher in teachers if teacher["name"] == model["teacher"]]
    return next(iter(named or teachers), None)


def task_rows(results: Mapping[str, Any]) -> dict[str, int]:
    """How many test rows each task has, in the order of the recipe, which results.json shows by its models alone."""
    known = results["tasks"]["test_rows"]
    return {task: known[task] for task in dict.fromkeys(row["data"] for row in results["models"]) if task in known}


def retention_lines(results: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """A head and a line for each model; of several runs the median, the lowest and the highest.

    Args:
        results: contents of results.json, of runs over several tasks that differ in seed alone.
    """
    runs = [found["tasks"] for found in results]
    first, tasks = runs[0], list(task_rows(results[0]))
    lines = []
    for number, model in enumerate(first["models"]):
        same = [run["models"][number] for run in runs if len(run["models"]) == len(first["models"])]
        values = [[one["macro"] for one in same], [one["share"] for one in same]]
        values += [[one["by_task"].get(task) for one in same] for task in tasks]
        lines.append([model["role"], row_label(model), *map(_spread, values)])
    return ["role", "model", "macro", "kept", *tasks], lines


def of_one_task(results: Mapping[str, Any], task: str) -> dict[str, Any]:
    """The results of one task alone, for a page of its own; claims, which may be about several, are left out."""
    rows = [row for row in results["models"] if row["variant"].get(TASK) == task]
    ids = {row_id(row) for row in rows}
    by_row = {
        key: {name: value for name, value in results[key].items() if name in ids} for key in ("curves", "ensembles")
    }
    return {
        **{key: value for key, value in results.items() if key not in ("tasks", "general")},
        "models": rows,
        "claims": [],
        **by_row,
        "parts": [facts for facts in results["parts"] if facts["teacher"] in ids],
    }


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    if len(known) == 1:
        return f"{known[0]:.2%}"
    return f"{median(known):.2%} ({min(known):.2%} to {max(known):.2%})"
