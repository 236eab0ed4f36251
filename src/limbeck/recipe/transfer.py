"""What a teacher labels: parts of the data, some classes or rows of them, views, and what is made of its confidence."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from limbeck.errors import did_you_mean
from limbeck.recipe.errors import found, misfit, shown
from limbeck.recipe.settings import FILE, LARGEST, Name, Table, ViewSpec, rows_or_fraction

SYNTHETIC = {
    "munge": {"swap": 0.5, "spread": 1.0},
    "spunge": {"swap": 0.5, "noise": 0.1},
    "words": {"replace": 0.1, "drop": 0.1, "span": 0.5},
}
"""Ways to make synthetic rows, each with its settings and their defaults."""


MOST_VIEWS = 10_000
"""Each is an artifact of its own."""


class TransferViews(ViewSpec):
    """`count` views of every row that the teacher labels, beside the row itself: of images random ones.

    Of a table, synthetic `rows`: by "munge", which mixes a row with its nearest neighbour, or by "spunge", which mixes
    columns with those of any rows; of texts, by "words". `swap`: the probability with which a value is altered.
    `spread`: MUNGE's local variance parameter. `noise`: the deviation of what SPUNGE adds to numbers, as a share of the
    column's. `replace`, `drop`, `span`: the probabilities with which a word is replaced or left out, and with which
    only a run of words is kept.
    """

    count: int = Field(default=0, ge=0, le=MOST_VIEWS)
    rows: Literal["munge", "spunge", "words"] | None = None
    swap: float | None = Field(default=None, gt=0, le=1)
    spread: float | None = Field(default=None, gt=0)
    noise: float | None = Field(default=None, ge=0)
    replace: float | None = Field(default=None, ge=0, le=1)
    drop: float | None = Field(default=None, ge=0, lt=1)
    span: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """The settings that a way of making rows has."""
        if not isinstance(data, dict) or not isinstance(data.get("rows"), str):
            return data
        given = {key: value for key, value in data.items() if value is not None}
        return {**SYNTHETIC.get(data["rows"], {}), **given}

    @model_validator(mode="after")
    def _rows_are_made_one_way(self) -> TransferViews:
        own = SYNTHETIC[self.rows] if self.rows else {}
        for key in dict.fromkeys(key for settings in SYNTHETIC.values() for key in settings):
            if getattr(self, key) is not None and key not in own:
                ways = " or ".join(f'rows = "{way}"' for way, settings in SYNTHETIC.items() if key in settings)
                raise misfit(f"a setting of synthetic rows, expected with {ways}", key)
        altering = [key for key in ViewSpec.model_fields if getattr(self, key)]
        if self.rows and altering:
            kind = "texts" if self.rows == "words" else "tables"
            raise misfit(f'found rows = "{self.rows}", of {kind}, with {altering[0]}, of images, expected one of them')
        if self.rows and not self.count:
            raise misfit(f'found 0 with rows = "{self.rows}", expected how many to make of every row', "count")
        return self

    @model_validator(mode="after")
    def _views_differ(self) -> TransferViews:
        keys = [*ViewSpec.model_fields] if not self.rows else [*SYNTHETIC["words"]] if self.rows == "words" else []
        if self.count and keys and not any(getattr(self, key) for key in keys):
            raise misfit(
                f"found {self.count} views with {', '.join(keys[:-1])} and {keys[-1]} all 0, "
                "expected one of them above 0: the views would be copies"
            )
        return self


def _class(value: object) -> object:
    number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST
    if number or isinstance(value, str):
        return value
    raise ValueError(found(value, "a class by number or by name"))


class Select(Table):
    """Rows of the transfer set: all `without` some classes, or these `only`, named or numbered; and of those, `rows`.

    `rows` (a count, or a fraction) are drawn at random, stratified by class where there is a row for each;
    `data.split_seed` decides which. Of a transfer set that names labelled rows and others, those with labels come
    first, and the more rows, the more of the others: a larger number has those of a smaller one among them.
    """

    without: list[Annotated[int | str, BeforeValidator(_class)]] = Field(default_factory=list)
    only: list[Annotated[int | str, BeforeValidator(_class)]] = Field(default_factory=list)
    rows: Annotated[int | float, BeforeValidator(rows_or_fraction)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Select:
        if self.without and self.only:
            raise misfit('found both of "without" and "only", expected one of them')
        if not (self.without or self.only or self.rows):
            raise misfit('found none of "without", "only" and "rows", expected one of them')
        for key in ("without", "only"):
            given = getattr(self, key)
            if len(set(given)) < len(given):
                raise misfit(found(given, "every class once"), key)
        return self


class Confidence(Table):
    """What is made of how sure the teacher is of a row without a label: its top class's probability at T = 1.

    `least`: rows of which it is less sure are left out. `weight`: those that stay count by it.
    """

    least: float | None = Field(default=None, gt=0, le=1)
    weight: bool = False

    @model_validator(mode="after")
    def _does_something(self) -> Confidence:
        if self.least is None and not self.weight:
            raise misfit('found neither "least" nor "weight = true", expected one of them, or no confidence')
        return self


_PARTS = ("train", "labelled", "unlabelled")


class Transfer(Table):
    """What the teacher labels: parts of the data, perhaps some classes only, and views of every row.

    `parts`: "train" is the training rows, "labelled" and "unlabelled" are those of them with and without labels, and
    "file:PATH" is rows without labels from elsewhere: a file or a folder of the data's own kind. `confidence`: what is
    made of how sure the teacher is of rows without labels. `dtype`: in which its log-probabilities are stored; they
    are widened to float32 when read.
    """

    name: Name
    parts: list[str] = Field(default_factory=lambda: ["train"], min_length=1, description="a list of parts")
    select: Select | None = None
    views: TransferViews = TransferViews()
    confidence: Confidence | None = None
    dtype: Literal["float16", "float32"] = "float16"

    @property
    def unlabelled(self) -> bool:
        """Whether it names rows without labels."""
        return any(part not in ("train", "labelled") for part in self.parts)

    @model_validator(mode="after")
    def _rows_left_out_teach_nothing(self) -> Transfer:
        if self.views.rows and self.select is not None and (self.select.without or self.select.only):
            made = "words are drawn from rows" if self.views.rows == "words" else "rows are made from others"
            raise misfit(
                "found classes left out by select and synthetic rows in views, expected one of them: "
                f"{made}, which may be of any class"
            )
        return self

    @model_validator(mode="after")
    def _parts_exist(self) -> Transfer:
        for part in self.parts:
            if part not in _PARTS and not part.startswith(FILE):
                nearest = did_you_mean(part, _PARTS) or f', there are {", ".join(_PARTS)} and "{FILE}PATH"'
                raise misfit(f"no part is named {shown(part)}{nearest}", "parts")
            if part == FILE:
                raise misfit(f'found "{FILE}" without a path, expected "{FILE}PATH"', "parts")
        if len(set(self.parts)) < len(self.parts):
            raise misfit(found(self.parts, "every part once"), "parts")
        if "train" in self.parts and {"labelled", "unlabelled"} & {*self.parts}:
            raise misfit(found(self.parts, 'no other rows of the data beside "train", which is all of them'), "parts")
        select = self.select
        if self.unlabelled and select is not None and (select.without or select.only):
            raise misfit(
                "found classes left out and parts without labels, expected one of them: rows without labels may be of "
                "any class",
                "select",
            )
        if len(self.parts) > 1 and self.views.rows not in (None, "words"):
            raise misfit(
                f"found {len(self.parts)} parts with synthetic rows in views, expected one: rows are made from their "
                "neighbours in one part",
                "parts",
            )
        return self
