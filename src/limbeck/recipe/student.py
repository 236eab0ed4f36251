"""What is trained beside the teachers: students, each with its baseline, and references.

Several of them may have one name: rows of one table. What tells them apart is their `variant`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any, Literal, TypeVar, cast

from pydantic import Field, ValidationError, model_validator

from limbeck.errors import did_you_mean
from limbeck.recipe.errors import found, keys_of, misfit, phrases, shown
from limbeck.recipe.settings import (
    FITTED_AT_ONCE,
    BoostedTrees,
    Distill,
    Encoder,
    Model,
    Name,
    SoftTree,
    Table,
    Train,
    annealing_problem,
)

_MOST_TRIALS = 1000  # each trains a network: a larger grid is a slip

_APART = {"refit": "it is its teacher's matter as well", "snapshot_every": "the model is the same"}
"""Settings that nothing is told apart by, and why."""
_NOT_TRIED = {"kind", *_APART}

Values = dict[str, list[Any]]


def _with_train(data: Any) -> Any:
    """A model that is fitted at once needs no `train`; there it is one epoch."""
    if not isinstance(data, dict):
        return data
    model, train = data.get("model"), data.get("train", {})
    at_once = isinstance(model, dict) and str(model.get("kind")) in FITTED_AT_ONCE
    return {**data, "train": {"epochs": 1, **train}} if at_once and isinstance(train, dict) else data


class Reference(Table):
    """A network trained on the labels of a transfer set alone, to be shown beside the others and not compared.

    `sweep`, `variant`: as a student's.
    """

    name: Name
    model: Model = Field(description='a table with a "kind"')
    transfer: str = Field(description="the name of one of the transfer sets")
    train: Train = Field(description="a table")
    sweep: Values | None = None
    variant: list[str] = Field(default_factory=list)

    _no_epochs = model_validator(mode="before")(_with_train)

    def swept(self) -> list[Reference]:
        """One reference for each combination of the sweep's values; without a sweep, this one."""
        return _each(self, "sweep")

    @model_validator(mode="after")
    def _sweep_can_be_walked(self) -> Reference:
        _check_variant(self)
        _check_values(self, "sweep")
        _check_train(self)
        return self


class Student(Table):
    """A network taught by `teacher` over `transfer`, and its baseline: the same, trained on labels alone.

    `grid` lists values to try for settings inside this student, by dotted path; the trial best on the
    validation rows is the student. `sweep` lists values likewise, and each of them is a student of its own.
    `variant` names settings that tell its rows apart from others of its name: those of `distill`, `train` and
    `model`, `teacher`, `transfer`, `unlabelled` (whether the transfer set names rows without labels) and `views`. A
    temperature, a number of members, and classes left out, always do.

    `bias` adds rows in which the biases of the classes that are missing in the transfer set are raised by one
    number (Hinton et al. 2015, sec. 3): the best on the validation rows, or, as in the paper, on the test rows. The
    baseline's are raised likewise, by a number of its own.

    Of a soft decision tree, `also_predict` adds rows in which the same tree answers in other ways, and `prune` one in
    which subtrees that fewer than this share of the training rows reach are taken out, as far as no larger share of
    them gets another class.
    """

    name: Name
    model: Model = Field(description='a table with a "kind"')
    teacher: str = Field(description="the name of one of the teachers")
    transfer: str = Field(description="the name of one of the transfer sets")
    distill: Distill = Distill()
    train: Train = Field(description="a table")
    grid: Values | None = None
    sweep: Values | None = None
    variant: list[str] = Field(default_factory=list)
    bias: list[Literal["validation", "test"]] = Field(default_factory=list)
    also_predict: list[Literal["path", "greedy", "average"]] | None = Field(default=None, min_length=1)
    prune: float | None = Field(default=None, gt=0, lt=1)
    baseline: bool = True

    _no_epochs = model_validator(mode="before")(_with_train)

    def swept(self) -> list[Student]:
        """One student for each combination of the sweep's values; without a sweep, this one."""
        return _each(self, "sweep")

    def trials(self) -> list[Student]:
        """Every combination of the grid's values, as students without a grid; without one, this student."""
        return _each(self, "grid")

    def grid_values(self) -> list[dict[str, Any]]:
        """What each of the trials tries, by dotted path; without a grid, nothing once."""
        return _combinations(self.grid)

    @model_validator(mode="after")
    def _values_can_be_tried(self) -> Student:
        _check_variant(self)
        _check_values(self, "grid")
        _check_values(self, "sweep")
        _check_once(self.bias, "bias")
        _check_once(self.also_predict or [], "also_predict")
        self._check_tree_settings()
        _check_train(self)
        self._check_fitted_at_once()
        self._check_states()
        if both := sorted({*(self.grid or {})} & {*(self.sweep or {})}):
            raise misfit(f'found "{both[0]}" in both grid and sweep, expected it in one of them', "sweep")
        return self

    def _check_fitted_at_once(self) -> None:
        if self.model.kind not in FITTED_AT_ONCE:
            return
        if self.distill.soft and self.distill.hard:
            raise misfit(f"a {self.model.kind} has one criterion, expected soft or hard to be 0", "distill")
        if self.distill.label_smoothing and isinstance(self.model, BoostedTrees):
            raise misfit("boosted-trees are fitted to labels as they are, expected 0", "distill", "label_smoothing")
        if self.distill.targets != "teacher":
            raise misfit(
                f'found {shown(self.distill.targets)}, expected "teacher": a {self.model.kind} learns from no other',
                "distill",
            )

    def _check_states(self) -> None:
        for key in ("hidden", "relations"):
            if getattr(self.distill, key) and not isinstance(self.model, Encoder):
                reason = f'a model of kind "{self.model.kind}" has no such states, expected it with an encoder'
                raise misfit(reason, "distill", key)

    def _check_tree_settings(self) -> None:
        if not isinstance(self.model, SoftTree):
            for key in ("also_predict", "prune"):
                if getattr(self, key):
                    raise misfit(f'a model of kind "{self.model.kind}" has no paths, expected it with a soft-tree', key)
            return
        if self.model.predict in (self.also_predict or []):
            raise misfit(
                found(self.also_predict, f'others than "{self.model.predict}", how the tree answers'), "also_predict"
            )
        for key in ("grid", "sweep"):
            if "model.predict" in (getattr(self, key) or {}):
                raise misfit('found "model.predict", expected it in also_predict: it is the same tree', key)
        if self.bias:
            raise misfit("a soft-tree has no biases of classes, expected it with another model", "bias")


PartT = TypeVar("PartT", bound=Student | Reference)


def _each(part: PartT, key: str) -> list[PartT]:
    """The part with each combination of the values under `key` (grid or sweep), and without that key."""
    parts = []
    for values in _combinations(getattr(part, key)):
        settings = part.model_dump(by_alias=True, exclude={key})
        for path, value in values.items():
            table, _, name = path.partition(".")
            settings[table][name] = value
        if key == "sweep":
            names = [path.rpartition(".")[2] for path in values]
            settings["variant"] = list(dict.fromkeys([*names, *part.variant]))
        parts.append(cast(PartT, type(part).model_validate(settings)))
    return parts


def _combinations(values: Values | None) -> list[dict[str, Any]]:
    values = values or {}
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def _check_values(part: Student | Reference, key: str) -> None:
    """Raise what is wrong with the values under `key`: unknown settings, none, one twice, one that does not fit."""
    given: Values = getattr(part, key) or {}
    tables = _tables(part)
    settings = [
        f"{table}.{setting}" for table, form in tables.items() for setting in keys_of(form) if setting not in _NOT_TRIED
    ]
    for path, values in given.items():
        if (setting := path.rpartition(".")[2]) in _APART:
            raise misfit(f"no setting to try values of: {_APART[setting]}; leave it out", key, path)
        if path not in settings:
            nearest = did_you_mean(path, settings)
            example = "distill.temperature" if "distill" in tables else "train.epochs"
            valid = f', expected a setting of {", ".join(tables)}, such as "{example}"'
            raise misfit(f"no such setting{nearest or valid}", key, path)
        if not values:
            raise misfit(found(values, "at least one value"), key, path)
        for index, value in enumerate(values):
            if value in values[:index]:
                raise misfit(found(values, "every value once"), key, path)
    if math.prod(map(len, given.values())) > _MOST_TRIALS:
        raise misfit(f"found more than {_MOST_TRIALS} combinations: each would be trained", key)
    if given:
        try:
            _each(part, key)
        except ValidationError as error:
            raise misfit("; ".join(phrases(error, {}, type(part))), key) from None


def _check_train(part: Student | Reference) -> None:
    if problem := annealing_problem(part.model, part.train):
        raise misfit(problem, "train", "keep")
    if part.model.kind in FITTED_AT_ONCE and part.train.model_copy(update={"refit": False}) != Train(epochs=1):
        raise misfit(f"a {part.model.kind} is fitted at once, expected no train, or no more in it than refit", "train")


def _check_once(values: Sequence[str], key: str) -> None:
    if len(set(values)) < len(values):
        raise misfit(found(values, "every value once"), key)


def _check_variant(part: Student | Reference) -> None:
    own = ["transfer", "unlabelled", "views"]
    own = ["teacher", *own] if isinstance(part, Student) else own
    forms = _tables(part)
    _check_once(part.variant, "variant")
    settings = [*own, *(key for form in forms.values() for key in keys_of(form) if key not in _NOT_TRIED)]
    for key in part.variant:
        if key in _APART:
            raise misfit(f'found "{key}", which tells no rows apart: {_APART[key]}; leave it out', "variant")
        if key not in settings:
            nearest = did_you_mean(key, settings) or f", there are {', '.join(settings)}"
            raise misfit(f"no setting is named {shown(key)}{nearest}", "variant")


def _tables(part: Student | Reference) -> dict[str, type[Table]]:
    return {name: type(getattr(part, name)) for name in ("distill", "train", "model") if hasattr(part, name)}
