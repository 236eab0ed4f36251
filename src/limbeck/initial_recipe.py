"""A recipe for a user's own table, filled in and commented, to run as it stands and to be changed."""

from __future__ import annotations

import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limbeck.data.dataset import Dataset
from limbeck.data.reading import Reading
from limbeck.data.table import describe_table, load_table
from limbeck.data.table_file import TABLE_SUFFIXES, is_table
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import write_bytes
from limbeck.initial_columns import column_uses
from limbeck.initial_sizes import Sizes
from limbeck.initial_text import GivenTeacher, recipe_text
from limbeck.recipe import Recipe, parse_recipe

FEWEST = 5
"""Rows of a class: one for each fold of a teacher, one to choose on, one to test on."""


@dataclass(frozen=True)
class InitialRecipe:
    """What was written.

    Attributes:
        path: of the recipe.
        rows: of the table.
        inputs: how many columns are inputs.
        classes: each class and its rows.
        minutes: about how long the recipe takes on two cores.
    """

    path: Path
    rows: int
    inputs: int
    classes: dict[str, int]
    minutes: float

    def lines(self) -> list[str]:
        """What the command prints."""
        columns = "1 column" if self.inputs == 1 else f"{self.inputs:,} columns"
        return [
            f"{self.path}: {self.rows:,} rows, {columns} to learn from, {len(self.classes):,} classes",
            f"about {self.minutes:g} {'minute' if self.minutes == 1 else 'minutes'} on two cores: "
            f"limbeck run {shlex.quote(str(self.path))}",
        ]


def write_recipe(
    table: Path | str,
    label: str,
    out: Path | str | None = None,
    *,
    teacher: Path | str | None = None,
    trust: bool = False,
) -> InitialRecipe:
    """Write a recipe for a table of one's own: all of `limbeck init`. `limbeck.run(….path)` runs it as it is.

    Args:
        table: the file, .csv, .tsv (both also with .gz behind) or .parquet.
        label: the column of classes.
        out: the recipe, which ends in .toml; by default beside the table, and called as it is.
        teacher: one that exists: a saved model's folder, an .onnx or .skops file, or a file of predictions. By default
            a forest and gradient boosting are fitted, and their mean teaches.
        trust: name in the recipe, as to be loaded, what skops does not know to be safe in a .skops file.

    Raises:
        UsageError: no such file, column or teacher; trust without a .skops file; the recipe is there already.
        LimbeckError: the table cannot be used as it is; names column and row, and says how to mend it. Or the teacher
            cannot be read, or does not fit the table's columns, classes or training rows.
    """
    path = Path(table)
    if not is_table(path.name):
        raise UsageError(f"{path} is no table: its name does not end in {', '.join(TABLE_SUFFIXES)}")
    target = _target(path, out)
    given = None if teacher is None else _given(Path(teacher), trust)
    if given is None and trust:
        raise UsageError("trust is about the types in a .skops file: give one as the teacher")
    uses = column_uses(path, describe_table(path), label)
    reading = Reading(
        label=label,
        id=next((one.name for one in uses if one.use == "id"), None),
        ignore=tuple(one.name for one in uses if one.use == "ignore"),
        categorical=tuple(one.name for one in uses if one.use == "categorical"),
    )
    dataset = load_table(path, str(path), reading)
    part = dataset.train
    counts = {name: int((part.labels == number).sum()) for number, name in enumerate(part.classes)}
    _check_labels(path, label, part.labels, counts)
    sizes = Sizes(len(part), len(counts))
    text = recipe_text(path, target, uses, reading, counts, sizes, given)
    recipe = parse_recipe(tomllib.loads(text), str(target))
    if given is not None and (given.trust or not given.untrusted):  # what nobody trusts is not opened
        _check_teacher(recipe, dataset, target.parent)
    write_bytes(target, text.encode())
    return InitialRecipe(target, len(part), part.inputs.shape[1], counts, sizes.minutes)


def _given(path: Path, trust: bool) -> GivenTeacher:
    if not path.exists():
        raise UsageError(f"teacher {path} does not exist: give a saved model's folder or file, or predictions")
    if path.suffix != ".skops":
        if trust:
            raise UsageError(f"trust is about the types in a .skops file, and {path} is none: leave trust out")
        return GivenTeacher(path)
    from limbeck.models.estimator_file import untrusted_types  # loads torch

    return GivenTeacher(path, tuple(untrusted_types(path)), trust)


def _check_teacher(recipe: Recipe, dataset: Dataset, beside: Path) -> None:
    """Open the recipe's teacher as its run will, for the rows that the run will train on."""
    from limbeck.given_teacher import given_teacher  # loads torch
    from limbeck.model_stage import Rows

    data = recipe.data
    split = dataset.split(validation=data.validation, test=data.test, seed=data.split_seed)
    given_teacher(recipe.teacher[0], Rows(split.train, split.validation), beside)


def _target(path: Path, out: Path | str | None) -> Path:
    suffix = next(
        (one for one in sorted(TABLE_SUFFIXES, key=len)[::-1] if path.name.lower().endswith(one)), path.suffix
    )
    target = (
        path.with_name(f"{path.name[: len(path.name) - len(suffix)] or 'table'}.toml") if out is None else Path(out)
    )
    if target.suffix != ".toml":
        raise UsageError(f'out = "{target}": expected a file that ends in .toml')
    if target.exists():
        raise UsageError(f"{target} is there already, and is not overwritten: delete it, or give --out another name")
    if not target.parent.is_dir():
        raise UsageError(f"out = {target}: there is no folder {target.parent}: make it first")
    return target


def _check_labels(path: Path, label: str, labels: np.ndarray, counts: dict[str, int]) -> None:
    where = f'label column "{label}" of {path}'
    if (labels < 0).any():
        raise LimbeckError(
            f"{where} has no value in {int((labels < 0).sum())} of {len(labels)} rows (the first is row "
            f"{int(np.argmax(labels < 0))}, counted from 0), expected a class in each: fill them in, or leave these "
            "rows out"
        )
    rarest = min(counts, key=lambda name: counts[name])
    if counts[rarest] < FEWEST:
        few = [name for name, count in counts.items() if count < FEWEST]
        more = "" if len(few) == 1 else f" ({len(few)} classes have so few)"
        raise LimbeckError(
            f'{where} has the class "{rarest}" in {counts[rarest]} '
            f"{'row' if counts[rarest] == 1 else 'rows'}{more}, expected {FEWEST} or more of each, to train, to choose "
            "and to test on: leave these rows out, put classes together, or find more"
        )
