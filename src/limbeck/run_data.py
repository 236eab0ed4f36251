"""The data of a recipe and of a run: read, checked and cut; of a recipe with tasks, those of each, and the texts."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from limbeck.batches import held_out_order
from limbeck.data import Dataset, Part, Split, TableForm, TextForm, load_dataset, shared_rows
from limbeck.data.sources import is_source
from limbeck.data.test_file import with_test_file
from limbeck.data.unlabelled import check_held_out, without_held_out
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import key_of
from limbeck.recipe import Data, Recipe, load_recipe
from limbeck.recipe.errors import no_such_part
from limbeck.recipe.settings import FILE
from limbeck.run_folder import RECIPE, RunFolder

Say = Callable[[str], None]


def opened_split(data: Data, beside: Path | None, say: Say | None = None) -> Split:
    """Labelled data, read, checked and cut.

    Args:
        data: as the recipe has them.
        beside: the recipe's folder.
        say: told what was made of them.

    Raises:
        LimbeckError: they cannot be read, have fewer than two classes, or rows to choose or to measure on that have no
            label or are among those without.
    """
    dataset = _labelled(data, beside, say)
    if len(dataset.classes) < 2:
        has = f"one class, {dataset.classes[0]}" if dataset.classes else "no labels"
        unnamed = not dataset.classes and data.label is None and isinstance(dataset.train.form, TableForm | TextForm)
        remedy = "; name their column with data.label" if unnamed else ""
        raise LimbeckError(
            f"{data.source} has {has}: a teacher and its students tell at least two classes apart{remedy}"
        )
    split = _split(dataset, data)
    if not (split.validation.labels >= 0).all() or not (split.test.labels >= 0).all():
        raise LimbeckError(f"{data.source}: validation and test rows need labels: leave rows without labels out")
    without = np.flatnonzero(dataset.train.labels < 0)
    if len(without):  # those that data.labels takes labels from are training rows, whatever they are like
        check_held_out(dataset.train.take(without).named(f"{data.source}, rows without labels"), split)
    return split


def opened_texts(
    data: Data, beside: Path | None, say: Say | None = None, tasks: Sequence[Split] = ()
) -> tuple[Part, Part]:
    """Rows to distil on without a task, and rows held out to measure on, which are none of the others repeated.

    Labels are not looked at.

    Args:
        data: of the recipe.
        beside: the recipe's folder.
        say: told, in a line, what was left out.
        tasks: whose validation and test rows are left out, for what begins from the encoder is measured on them.

    Raises:
        LimbeckError: they cannot be read.
        UsageError: none would be left to distil on.
    """
    rows = _dataset(data, beside, say).train
    count = math.ceil(data.validation * len(rows)) if isinstance(data.validation, float) else data.validation
    if count >= len(rows):
        raise UsageError(
            f"data.validation: {count} of {len(rows)} texts would be held out, and at least one must be left to distil "
            "on: ask for fewer"
        )
    order = held_out_order(data.split_seed, len(rows))
    held_out = rows.take(np.sort(order[:count])).named("validation")
    train = rows.take(np.sort(order[count:]))
    if len(repeated := shared_rows(train, held_out)):
        if len(repeated) == len(train):
            raise UsageError(f"{data.source}: all texts are those held out, repeated: give others")
        train = train.take(np.setdiff1d(np.arange(len(train)), repeated))
        if say is not None:
            say(f"{len(repeated):,} texts of {data.source} repeat one that is held out, and are left out")
    if tasks:
        whole, train = train, without_held_out(train.named(f"data.source = {data.source}"), tasks).named(train.name)
        if say is not None and len(train) < len(whole):
            say(
                f"{len(whole) - len(train):,} of the {len(whole):,} texts of {data.source} are validation or test rows "
                "of a task: left out of general distillation"
            )
    return train, held_out


def run_split(folder: Path, task: str | None = None) -> Split:
    """The data of a run, cut as its recipe says.

    Args:
        folder: of the run.
        task: whose, of a recipe that has several; the `data` of its rows in results.json.

    Raises:
        LimbeckError: the folder is no run, or its data are not there; or it has tasks, and none of them is meant.
    """
    path = folder / RECIPE
    if not path.is_file():
        raise LimbeckError(f"{folder} is no run: there is no {RECIPE} in it")
    data = _data_of(load_recipe(path), folder, task)
    is_named = is_source(data.source) and ":" not in data.source
    source = None if is_named else _place_of(re.sub(r"^(idx|images):", "", data.source), folder)
    test = _place_of(data.test.removeprefix(FILE), folder) if isinstance(data.test, str) else None
    return _split(_labelled(data, source, test_beside=test), data)


def rows_digest(split: Split) -> str:
    """What tells a run's rows and labels from others: of all three parts, in hexadecimal."""
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    return key_of({name: [part.inputs_hash, part.labels_hash] for name, part in parts.items()})


def _place_of(given: str, folder: Path) -> Path:
    """The folder beside which a file of a run's data lies: its recipe's, or where the run was called."""
    run = RunFolder(folder)
    # A run of an older version says by its command alone where its recipe lay.
    command = shlex.split(run.run_json().get("command", ""))
    recipe = [Path(word).parent for word in command[2:3] if word.endswith(".toml")]
    places = [*run.places(), *recipe, folder, Path()]
    path = Path(given).expanduser()
    place = next((place for place in places if (place / path).exists()), None)
    if place is None:
        raise LimbeckError(
            f"{given}, which {folder} has its data from, is no longer where it was: put it back, or give a file of rows"
        )
    return place


def _data_of(recipe: Recipe, folder: Path, task: str | None) -> Data:
    if recipe.task is None:
        return recipe.data
    names = [part.name for part in recipe.task]
    if task is None:
        raise LimbeckError(
            f"{folder} is a run over several tasks ({', '.join(names)}), each with test rows of its own: give the rows "
            "of one as a file, or as the name of a data set"
        )
    if task not in names:
        raise LimbeckError(f"{folder}: {no_such_part('task', task, names)}")
    return next(part.data for part in recipe.task if part.name == task)


def _split(dataset: Dataset, data: Data) -> Split:
    test = None if isinstance(data.test, str) else data.test
    return dataset.split(validation=data.validation, test=test, seed=data.split_seed, labels=data.labels)


def _labelled(data: Data, beside: Path | None, say: Say | None = None, *, test_beside: Path | None = None) -> Dataset:
    dataset = _dataset(data, beside, say)
    if isinstance(data.test, str) and dataset.classes:
        return with_test_file(
            dataset, data.test.removeprefix(FILE), data.reading(), beside=test_beside or beside, say=say
        )
    return dataset


def _dataset(data: Data, beside: Path | None, say: Say | None = None) -> Dataset:
    dataset = load_dataset(data.source, data.reading(), beside=beside, say=say)
    if say is not None:
        for note in dataset.notes:
            say(note)
    return dataset
