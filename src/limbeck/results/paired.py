"""Students against their baselines over several seeds, test row by test row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.data import Part
from limbeck.errors import LimbeckError
from limbeck.files import read_tensors
from limbeck.metrics import mcnemar_exact
from limbeck.recipe import load_recipe
from limbeck.report.models import baseline_of, read_models
from limbeck.results.comparison import read_results
from limbeck.rows import row_id, row_label
from limbeck.run_data import rows_digest, run_split
from limbeck.run_folder import RECIPE, RunFolder
from limbeck.terminal import plain_table

Row = dict[str, Any]


def paired_table(runs: Sequence[Path], *, markdown: bool = False) -> str:
    """For each student, the test rows on which more of its seeds are right than of its baseline's, and fewer.

    A row counts once however many seeds there are, because the seeds' errors are on the same rows: the p-value is that
    of an exact sign test over rows (as McNemar's, where there is one seed).

    Args:
        runs: folders of finished runs, of one recipe and of different seeds.
        markdown: as a Markdown table.

    Returns:
        The table.

    Raises:
        LimbeckError: a folder has no predictions, or of other rows; or no student stands beside a baseline.
    """
    results = [read_results(path) for path in runs]
    if files := [path for path in runs if not path.is_dir()]:
        raise LimbeckError(f"{files[0]} is a file, without predictions: a paired test needs the runs' folders")
    of_tasks = load_recipe(runs[0] / RECIPE).task is not None
    tests: dict[str | None, Part] = {}
    body = []
    for index, row in enumerate(results[0]["models"]):
        if row["role"] != "student" or row["verdict"] is None:
            continue
        task = row["data"] if of_tasks else None
        if task not in tests:
            tests[task] = _same_rows(runs[0], results[0], task)
        test = tests[task]
        ahead = np.zeros(len(test), dtype=np.int64)
        for path, found in zip(runs, results, strict=True):
            models = read_models(found, {}, {}, len(test), 0)
            baseline = baseline_of(models[index], models)
            assert baseline is not None
            for one, sign in ((models[index].row, 1), (baseline.row, -1)):
                ahead += sign * (_log_probs(path, one, test.inputs_hash).argmax(axis=1) == test.labels)
        more, fewer = ahead > 0, ahead < 0
        label = row_label({**row, "chosen": None})
        body.append(
            [label, *(str(np.count_nonzero(rows)) for rows in (more, fewer)), f"{mcnemar_exact(more, fewer):.2g}"]
        )
    if not body:
        raise LimbeckError(
            f"{runs[0]}: no student stands beside a baseline, so that there is nothing to pair: leave it out"
        )
    return plain_table(["student", "ahead on rows", "behind on rows", "p"], body, markdown=markdown)


def _same_rows(run: Path, results: Mapping[str, Any], task: str | None) -> Part:
    """The test rows of a run, as they were when it was made."""
    split = run_split(run, task)
    known = (results.get("rows") or {}).get(task or "data")
    if known is not None and known != rows_digest(split):
        raise LimbeckError(f"{run}: its data have other rows or labels by now: run `limbeck evaluate` again")
    return split.test


def _log_probs(run: Path, row: Row, test_hash: str) -> npt.NDArray[np.float32]:
    path = RunFolder(run).prediction(row_id(row))
    try:
        tensors, header = read_tensors(path)
    except FileNotFoundError:
        raise LimbeckError(f"{path}: no such file: run `limbeck evaluate` again") from None
    if header.get("test") != test_hash:
        raise LimbeckError(f"{path} is of other test rows than the recipe's: run `limbeck evaluate` again")
    return np.asarray(tensors["log_probs"])
