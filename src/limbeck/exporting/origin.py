"""Where a saved model comes from: its run, found from its name in the run's folder, and the rows to check it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.artifacts import Identity
from limbeck.data import Split
from limbeck.errors import LimbeckError
from limbeck.recipe import Recipe, Reference, Student, Teacher, load_recipe
from limbeck.recipe.general import GENERAL
from limbeck.recipe.settings import Encoder
from limbeck.rows import Row, row_id
from limbeck.run_folder import RECIPE, RunFolder, place_of

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Origin:
    """The run that a model is a row of.

    Attributes:
        folder: of the run.
        name: ROLE/ROW, as under the run's models/.
        split: the run's data.
        source: of the data, as the recipe names it.
        row: of results.json, if there is one.
        rows: all of them.
        run: what run.json says.
        learnt_from: of a student, the parts of its transfer set and how many rows each has.
        begun_with: of an encoder, whose layers it began with, as the recipe names it.
    """

    folder: RunFolder
    name: str
    split: Split
    source: str
    row: Row | None
    rows: list[Row]
    run: Mapping[str, Any]
    learnt_from: tuple[tuple[str, int], ...] = ()
    begun_with: str | None = None


@dataclass(frozen=True)
class Rows:
    """Raw rows that a file is checked on.

    Attributes:
        inputs: shape (n, …).
        labels: shape (n,), −1 for none; None where none are known.
        what: in words, "test rows of tiny".
        calibration: raw rows to quantise by, shape (m, …): training rows, where they are at hand.
    """

    inputs: Array
    labels: npt.NDArray[np.int64] | None
    what: str
    calibration: Array


def origin_of(model: Path) -> Origin | None:
    """The run in whose models/ROLE/ROW a model's folder lies, by the path as it was given; None if in none.

    Raises:
        LimbeckError: the run's recipe or data cannot be read.
    """
    if (place := place_of(model)) is None:
        return None
    shown, name = place
    folder = RunFolder(shown)
    run = folder.run_json()
    if not run or not (shown / RECIPE).is_file():
        return None
    from limbeck.road import run_split

    recipe, data = load_recipe(shown / RECIPE), None
    results = folder.results() or {"models": []}
    rows = results["models"]
    row = next((row for row in rows if row_id(row) == name), None)
    source = recipe.data.source
    if recipe.task is not None and row is not None:
        data = row["data"]
        rows = [other for other in rows if other["data"] == data]
        source = next(task.data.source for task in recipe.task if task.name == data)
    learnt_from = () if row is None else _learnt_from(row, rows, results.get("parts") or ())
    begun_with = None if row is None else _begun_with(row, recipe)
    return Origin(folder, name, run_split(shown, data), source, row, rows, run, learnt_from, begun_with)


def _learnt_from(row: Row, rows: Sequence[Row], parts: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, int], ...]:
    """The parts of a student's transfer set, by what results.json says of them and of its teacher."""
    if row["role"] != "student":
        return ()
    teachers = {row_id(other) for other in rows if other["role"] == "teacher" and other["name"] == row["teacher"]}
    asked = [one for one in parts if one["transfer"] == row["transfer"] and one["teacher"] in teachers]
    return tuple({one["part"]: one["rows"] for one in asked}.items())


def _begun_with(row: Row, recipe: Recipe) -> str | None:
    """Whose layers an encoder began with: a folder, a name on the hub, or "minilm"; None of another model."""
    section: Sequence[Teacher | Student | Reference] = recipe.teacher
    if row["role"] != "teacher":
        section = recipe.reference if row["role"] == "reference" else recipe.student
    part = next((one for one in section if one.name == row["name"]), None)
    if part is None or not isinstance(part.model, Encoder):
        return None
    given = row["variant"].get("from") or part.model.from_
    if given is None and isinstance(part, Student):
        teacher = next(one for one in recipe.teacher if one.name == part.teacher)
        given = teacher.from_ or (teacher.model.from_ if isinstance(teacher.model, Encoder) else None)
    if given is not None and given.startswith(GENERAL):
        general = next(one for one in recipe.general or () if one.name == given.removeprefix(GENERAL))
        return f"{general.model.from_}, distilled on plain text first"
    return None if given is None else str(given)


def key_of_artifact(description: Mapping[str, Any]) -> str | None:
    """The key of the artifact that a model is, by what its model.json says; None if it is none."""
    try:
        return Identity.from_json(description["identity"]).key
    except (KeyError, TypeError, AttributeError):
        return None


def checking_rows(origin: Origin | None, given: tuple[str, Array, Array | None] | None, model: Path) -> Rows:
    """The rows to check on: those that are given, else the test rows of the run.

    Args:
        origin: the model's, if known.
        given: name, raw inputs (n, …) and labels (n,) or None, of rows that were asked for.
        model: for messages.

    Raises:
        LimbeckError: there are neither.
    """
    training = None if origin is None else origin.split.train.inputs
    if given is not None:
        name, inputs, labels = given
        return Rows(inputs, labels, f"rows of {name}", inputs if training is None else training)
    if origin is None or training is None:
        raise LimbeckError(
            f"{model} does not lie in a run's models/ folder, whose test rows would be taken: give real rows to check "
            "the file on by --rows FILE"
        )
    test = origin.split.test
    return Rows(test.inputs, test.labels, f"test rows of {origin.run['recipe']}", training)
