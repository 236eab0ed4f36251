"""A recipe for a user's own table or texts, filled in and commented, to run as it stands and to be changed."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limbeck.data.dataset import Dataset
from limbeck.data.form import TextForm
from limbeck.data.part import Part
from limbeck.data.reading import Reading
from limbeck.data.table import describe_table, load_table
from limbeck.data.table_file import TABLE_SUFFIXES, is_table
from limbeck.data.test_file import with_test_file
from limbeck.data.text_file import JSON_SUFFIXES, is_plain, is_texts
from limbeck.data.text_rows import load_texts, read_text_rows
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import write_bytes
from limbeck.initial.columns import column_uses
from limbeck.initial.encoder import Shape, TextSizes, encoder_recipe_text, encoder_shape, pieces_of, teacher_notes
from limbeck.initial.sizes import Sizes
from limbeck.initial.text import GivenTeacher, recipe_text, source_of
from limbeck.recipe import Recipe, parse_recipe

FEWEST = 5
"""Rows of a class: one for each fold of a teacher, one to choose on, one to test on."""


_FILES = (".onnx", ".skops", ".csv", ".parquet", ".npz")  # no name on a hub ends so


@dataclass(frozen=True)
class InitialRecipe:
    """What was written.

    Attributes:
        path: of the recipe.
        rows: of the table, or texts.
        inputs: how many columns are inputs.
        classes: each class and its rows.
        minutes: about how long the recipe takes on two cores.
        notes: what was left out or cut, and what to know of a teacher that exists.
    """

    path: Path
    rows: int
    inputs: int
    classes: dict[str, int]
    minutes: float
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What the command prints."""
        columns = "1 column" if self.inputs == 1 else f"{self.inputs:,} columns"
        return [
            *self.notes,
            f"{self.path}: {self.rows:,} rows, {columns} to learn from, {len(self.classes):,} classes",
            f"about {self.minutes:g} {'minute' if self.minutes == 1 else 'minutes'} on two cores: "
            f"limbeck run {shlex.quote(str(self.path))}",
        ]


def write_recipe(
    table: Path | str,
    label: str,
    out: Path | str | None = None,
    *,
    text: str | Sequence[str] = (),
    test: Path | str | None = None,
    teacher: Path | str | None = None,
    trust: bool = False,
) -> InitialRecipe:
    """Write a recipe for data of one's own: all of `limbeck init`. `limbeck.run(….path)` runs it as it is.

    Args:
        table: the file, .csv, .tsv (both also with .gz behind) or .parquet; or texts as JSON lines.
        label: the column of classes.
        out: the recipe, which ends in .toml; by default beside the table, and called as it is.
        text: the column of texts, or the two of pairs of texts, which an encoder is to learn from; of JSON lines "text"
            by default. Other columns are left aside.
        test: a file of test rows, with the same columns; by default a share of the rows is held out.
        teacher: one that exists: a saved model's folder, an .onnx or .skops file, or a file of predictions; of texts
            also the folder of a Hugging Face model, or its name on the hub. By default a forest and gradient boosting
            are fitted, and their mean teaches; of texts MiniLM is fine-tuned.
        trust: name in the recipe, as to be loaded, what skops does not know to be safe in a .skops file.

    Raises:
        UsageError: no such file, column or teacher; trust without a .skops file; the recipe is there already.
        LimbeckError: the file cannot be used as it is; names column and row, and says how to mend it. Or the teacher
            cannot be read, or does not fit the columns, classes or training rows.
    """
    path = Path(table)
    columns = (text,) if isinstance(text, str) else tuple(text)
    if len(columns) > 2 or len({*columns}) < len(columns):
        raise UsageError(f"--text: found {', '.join(columns)}, expected a column, or two different ones for pairs")
    reads_texts = bool(columns) or is_texts(path.name)
    if is_plain(path.name):
        raise UsageError(f"{path} is plain text, which has no labels: give a table or JSON lines that have both")
    if not is_table(path.name) and not is_texts(path.name):
        raise UsageError(
            f"{path} is no table and no texts: its name does not end in {', '.join((*TABLE_SUFFIXES, *JSON_SUFFIXES))}"
        )
    if trust and teacher is None:
        raise UsageError("trust is about the types in a .skops file: give one as the teacher")
    target = _target(path, out)
    tested = None if test is None else Path(test)
    if reads_texts:
        return _for_texts(path, target, Reading(label=label, text=columns), tested, teacher, trust)
    return _for_table(path, target, label, tested, None if teacher is None else _given(Path(teacher), trust))


def _for_table(path: Path, target: Path, label: str, test: Path | None, given: GivenTeacher | None) -> InitialRecipe:
    uses = column_uses(path, describe_table(path), label)
    texts = [one.name for one in uses if one.use == "ignore" and "data.text" in (one.column.reason or "")]
    if texts and not any(one.use in ("input", "categorical") for one in uses):
        raise LimbeckError(
            f"{path} has no column to learn from but texts: for an encoder, which reads them, add --text "
            f"{shlex.quote(texts[0])}"
        )
    reading = Reading(
        label=label,
        id=next((one.name for one in uses if one.use == "id"), None),
        ignore=tuple(one.name for one in uses if one.use == "ignore"),
        categorical=tuple(one.name for one in uses if one.use == "categorical"),
    )
    notes: list[str] = []
    dataset = _with_test(load_table(path, str(path), reading), test, reading, notes)
    counts = _counts(path, reading, dataset.train)
    sizes = Sizes(len(dataset.train), len(counts), None if test is None else source_of(test, target))
    recipe_toml = recipe_text(path, target, uses, reading, counts, sizes, given)
    recipe = parse_recipe(tomllib.loads(recipe_toml), str(target))
    if given is not None and (given.trust or not given.untrusted):  # what nobody trusts is not opened
        _check_teacher(recipe, dataset, target.parent)
    write_bytes(target, recipe_toml.encode())
    if given is not None:
        notes += _seen_by_teacher(given, path, test)
    if texts:
        notes.append(
            f"left out, for these are texts: {', '.join(texts)} (an encoder reads them: --text {shlex.quote(texts[0])})"
        )
    columns = dataset.train.inputs.shape[1]
    return InitialRecipe(target, len(dataset.train), columns, counts, sizes.minutes, tuple(notes))


def _for_texts(
    path: Path, target: Path, reading: Reading, test: Path | None, teacher: Path | str | None, trust: bool
) -> InitialRecipe:
    dataset = load_texts(path, str(path), reading, asked_by="--text")
    notes = list(dataset.notes)
    dataset = _with_test(dataset, test, reading, notes)
    form = dataset.train.form
    assert isinstance(form, TextForm)
    counts = _counts(path, reading, dataset.train, lambda row: read_text_rows(path, form, reading.label).places[row])
    given = None if teacher is None else GivenTeacher(Path(teacher))
    if given is not None and given.path.suffix.lower() in _FILES and not given.path.exists():
        _given(given.path, trust)
    if trust:
        raise UsageError("trust is about the types in a .skops file, which reads no texts: leave trust out")
    plain = Sizes(len(dataset.train), len(counts), None if test is None else source_of(test, target))
    shape = Shape() if given is None else encoder_shape(given, dataset, plain, target.parent)
    if given is not None:
        notes += teacher_notes(given, shape, dataset.classes)
        notes += _seen_by_teacher(given, path, test)
    sizes = TextSizes(plain, pieces_of(dataset), shape, trained=given is None)
    recipe_toml = encoder_recipe_text(path, target, dataset, reading, counts, sizes, given)
    parse_recipe(tomllib.loads(recipe_toml), str(target))
    write_bytes(target, recipe_toml.encode())
    inputs = max(1, len(reading.text))
    return InitialRecipe(target, len(dataset.train), inputs, counts, sizes.minutes, tuple(notes))


def _seen_by_teacher(given: GivenTeacher, path: Path, test: Path | None) -> list[str]:
    if test is not None:
        return []
    return [
        f"test rows are a share of {path.name}: if {given.path} was fitted to these, numbers say too much of it and of "
        "all that begins with it: give others with --test FILE"
    ]


def _with_test(dataset: Dataset, test: Path | None, reading: Reading, notes: list[str]) -> Dataset:
    return dataset if test is None else with_test_file(dataset, str(test), reading, say=notes.append)


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
    from limbeck.plan.given_teacher import given_teacher  # loads torch
    from limbeck.plan.model_stage import Rows

    data = recipe.data
    test = data.test if isinstance(data.test, float) else None
    split = dataset.split(validation=data.validation, test=test, seed=data.split_seed)
    given_teacher(recipe.teacher[0], Rows(split.train, split.validation), beside)


def _target(path: Path, out: Path | str | None) -> Path:
    known = sorted((*TABLE_SUFFIXES, *JSON_SUFFIXES), key=len, reverse=True)
    suffix = next((one for one in known if path.name.lower().endswith(one)), path.suffix)
    target = path.with_name(f"{path.name[: len(path.name) - len(suffix)] or 'data'}.toml") if out is None else Path(out)
    if target.suffix != ".toml":
        raise UsageError(f'out = "{target}": expected a file that ends in .toml')
    if target.exists():
        raise UsageError(f"{target} is there already, and is not overwritten: delete it, or give --out another name")
    if not target.parent.is_dir():
        raise UsageError(f"out = {target}: there is no folder {target.parent}: make it first")
    return target


def _counts(path: Path, reading: Reading, part: Part, place: Callable[[int], str] | None = None) -> dict[str, int]:
    """Each class and its rows.

    Args:
        path: of the file.
        reading: its columns.
        part: its rows.
        place: says where in the file a row is; without it, by its number.

    Raises:
        LimbeckError: a row has no class, or a class too few rows.
    """
    where = f'label column "{reading.label}" of {path}'
    counts = {name: int((part.labels == number).sum()) for number, name in enumerate(part.classes)}
    if len(without := np.flatnonzero(part.labels < 0)):
        number = part.ids[without[0]] if reading.id is None else without[0]
        first = f"row {number}, counted from 0" if place is None else place(int(without[0]))
        raise LimbeckError(
            f"{where} has no value in {len(without)} of {len(part)} rows (the first is {first}), "
            "expected a class in each: fill them in, or leave these rows out"
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
    return counts
