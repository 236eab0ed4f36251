"""The typed form of a recipe: what may be asked for, and everything's default.

The keys, and what each means, are these classes' fields. Nothing here loads torch or numpy: a recipe
can be checked before either is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from limbeck.errors import did_you_mean
from limbeck.recipe_errors import NAME_PATTERN, found, keys_of, misfit, no_such_part, phrases, shown
from limbeck.recipe_settings import LARGEST, Distill, Model, Select, Table, Train, TransferViews, ViewSpec

_MOST_TRIALS = 1000  # each trains a network: a larger grid is a slip


def _rows_or_fraction(value: object) -> object:
    rows = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST
    if rows or (isinstance(value, float) and 0 < value < 1):
        return value
    raise ValueError(found(value, "rows (1 or more) or a fraction of them (between 0 and 1)"))


def _one_line(value: str) -> str:
    if len(value.splitlines()) != 1 or not value.strip():
        raise ValueError(found(value, "one line of text"))
    return value


PLAIN_TRANSFER = {"name": "train"}
"""The transfer set where a recipe has none."""

Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=100, description="a name")]


class Data(Table):
    """Where the rows come from and how they are cut.

    `validation` rows (a count, or a fraction) are cut from the training rows: every choice is made on
    them. `test` is the fraction held out where the source has no test set of its own. `split_seed`
    alone moves the cut, so that runs with different seeds validate on the same rows.
    """

    source: str = Field(min_length=1, description='a data set, such as "mnist", "digits" or "idx:FOLDER"')
    validation: Annotated[int | float, BeforeValidator(_rows_or_fraction)] = 0.1
    test: float | None = Field(default=None, gt=0, lt=1)
    split_seed: int = Field(default=0, ge=0, le=LARGEST)


class Teacher(Table):
    """A network to be trained, or one that exists already, `from` a path.

    `views`: fresh random views of every row in each epoch of its training.
    """

    name: Name
    model: Model | None = None
    from_: str | None = Field(default=None, alias="from", min_length=1)
    train: Train | None = None
    views: ViewSpec | None = None

    @model_validator(mode="after")
    def _trained_or_given(self) -> Teacher:
        if (self.model is None) == (self.from_ is None):
            state = "neither" if self.model is None else "both"
            raise misfit(f'found {state} of "model" and "from", expected one of them')
        if self.model is not None and self.train is None:
            raise misfit('missing, expected a table: "model" has to be trained', "train")
        for key, value in (("train", self.train), ("views", self.views)):
            if self.from_ is not None and value is not None:
                raise misfit('not with "from", which names a network that is trained already', key)
        return self


class Transfer(Table):
    """What the teacher labels: parts of the data, perhaps some classes only, and views of every row.

    `dtype`: in which its log-probabilities are stored; they are widened to float32 when read.
    """

    name: Name
    parts: list[str] = Field(default_factory=lambda: ["train"])
    select: Select | None = None
    views: TransferViews = TransferViews()
    dtype: Literal["float16", "float32"] = "float16"

    @model_validator(mode="after")
    def _parts_exist(self) -> Transfer:
        if self.parts != ["train"]:
            raise misfit(found(self.parts, '["train"], so far the only part there is'), "parts")
        return self


class Student(Table):
    """A network taught by `teacher` over `transfer`, and its baseline: the same, trained on labels alone.

    `grid` lists values to try for settings inside this student, by dotted path; the trial best on the
    validation rows is the student.
    """

    name: Name
    model: Model = Field(description='a table with a "kind"')
    teacher: str = Field(description="the name of one of the teachers")
    transfer: str = Field(description="the name of one of the transfer sets")
    distill: Distill = Distill()
    train: Train = Field(description="a table")
    grid: dict[str, list[Any]] | None = None
    baseline: bool = True

    def trials(self) -> list[Student]:
        """Every combination of the grid's values, as students without a grid; without one, this student."""
        trials = []
        for values in self.grid_values():
            settings = self.model_dump(by_alias=True, exclude={"grid"})
            for path, value in values.items():
                table, _, key = path.partition(".")
                settings[table][key] = value
            trials.append(Student.model_validate(settings))
        return trials

    def grid_values(self) -> list[dict[str, Any]]:
        """What each of the trials tries, by dotted path; without a grid, nothing once."""
        grid = self.grid or {}
        return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]

    @model_validator(mode="after")
    def _grid_can_be_tried(self) -> Student:
        grid = self.grid or {}
        tables = {"distill": type(self.distill), "train": type(self.train), "model": type(self.model)}
        settings = [f"{name}.{key}" for name, table in tables.items() for key in keys_of(table) if key != "kind"]
        for path, values in grid.items():
            if path not in settings:
                nearest = did_you_mean(path, settings)
                valid = ', expected a setting of distill, train or model, such as "distill.temperature"'
                raise misfit(f"no such setting{nearest or valid}", "grid", path)
            if not values:
                raise misfit(found(values, "at least one value"), "grid", path)
            for index, value in enumerate(values):
                if value in values[:index]:
                    raise misfit(found(values, "every value once"), "grid", path)
        if math.prod(map(len, grid.values())) > _MOST_TRIALS:
            raise misfit(f"found more than {_MOST_TRIALS} combinations: each would be trained", "grid")
        if grid:
            try:
                self.trials()
            except ValidationError as error:
                raise misfit("; ".join(phrases(error, {}, Student)), "grid") from None
        return self


class Recipe(Table):
    """One experiment: data, teachers, transfer sets and students.

    `minutes` is about how long it takes on two cores. Without a transfer set there is one of the plain
    training rows, named `train`; a student need not name its teacher or its transfer set where there is
    only one.
    """

    title: Annotated[str, AfterValidator(_one_line)] = Field(description="one line of text")
    about: str = ""
    minutes: float | None = Field(default=None, ge=0)
    data: Data = Field(description="a table")
    teacher: list[Teacher] = Field(min_length=1, description="at least one [[teacher]]")
    transfer: list[Transfer]
    student: list[Student] = Field(min_length=1, description="at least one [[student]]")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """The transfer set, and the references, that may be left out."""
        if not isinstance(data, dict):
            return data
        filled = dict(data)
        if filled.get("transfer", []) == []:
            filled["transfer"] = [dict(PLAIN_TRANSFER)]
        only = {key: _only_name(filled.get(key)) for key in ("teacher", "transfer")}
        defaults = {key: name for key, name in only.items() if name is not None}
        if isinstance(filled.get("student"), list):
            filled["student"] = [
                {**defaults, **student} if isinstance(student, dict) else student for student in filled["student"]
            ]
        return filled

    @model_validator(mode="after")
    def _names_fit(self) -> Recipe:
        problems = [
            *_taken_names("teacher", self.teacher),
            *_taken_names("transfer", self.transfer),
            *_taken_names("student", self.student),
        ]
        for student in self.student:
            for key, name, parts in (
                ("teacher", student.teacher, self.teacher),
                ("transfer", student.transfer, self.transfer),
            ):
                names = [part.name for part in parts]
                if name not in names:
                    problems.append(f"student.{student.name}.{key}: {no_such_part(key, name, names)}")
        if problems:
            raise misfit("; ".join(problems))
        return self


def _only_name(parts: Any) -> str | None:
    """What a student that names no part of this list refers to; nothing where there are several.

    The list is not checked yet. Where it is wrong its own error will do, and the reference gets no second.
    """
    if not isinstance(parts, list) or not parts:
        return ""
    name = parts[0].get("name") if isinstance(parts[0], dict) else getattr(parts[0], "name", None)
    return None if len(parts) > 1 else name if isinstance(name, str) else ""


def _taken_names(section: str, parts: Sequence[Teacher | Transfer | Student]) -> list[str]:
    """Phrases about names used twice. Names become folders, which in some file systems ignore capitals."""
    seen: dict[str, str] = {}
    problems = []
    for part in parts:
        before = seen.setdefault(part.name.lower(), part.name)
        if before != part.name:
            both = f"{shown(before)} and {shown(part.name)}"
            problems.append(f"{section}: found the names {both}, expected a difference in more than capitals")
        elif [other.name for other in parts].count(part.name) > 1:
            problems.append(f"{section}: found the name {shown(part.name)} twice, expected every name once")
    return list(dict.fromkeys(problems))
