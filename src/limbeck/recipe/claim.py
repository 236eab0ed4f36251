"""What a paper claims: the form of it in a recipe, and whether the rows that there will be can say it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from limbeck.errors import did_you_mean
from limbeck.recipe.errors import found, misfit, shown
from limbeck.recipe.rows import PlannedRow
from limbeck.recipe.settings import Table
from limbeck.rows import ERRORS_ON, METRICS, NUMBERS, OF_REGRESSIONS, fits, is_number, row_label

_NUMBERS_OF_REGRESSIONS = {*OF_REGRESSIONS, "parameters", "trials"}
_MOST_NAMED = 8  # of the rows that there are


def one_line(value: str) -> str:
    """The value, if it is one line of text."""
    if len(value.splitlines()) != 1 or not value.strip():
        raise ValueError(found(value, "one line of text"))
    return value


def _number_or_words(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(found(value, "a number or a string"))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(found(value, "a finite number, or a string"))
    return one_line(value) if isinstance(value, str) else value


Selector = dict[str, Any]


def _not_empty(selector: Selector) -> Selector:
    if not selector:
        raise ValueError(found(selector, 'a table that says which row, such as { name = "2x16" }'))
    return selector


def _keys(value: Any) -> Any:
    if not isinstance(value, list) or not value or not all(isinstance(key, str) for key in value):
        raise ValueError(found(value, 'a list of the keys whose rows are averaged, such as ["gap[0]"]'))
    return value


class Claim(Table):
    """A number that a paper reports, to be shown beside the one measured here.

    `row` says which row of the results it is about, by name, `role` (student, where none is given) and settings of
    its variant; of several the first, or the mean of all for the keys in `average`. `show` is a field of that row, or
    one of its metrics. With `minus`, another row's is taken off; with `over`, it is divided by another row's. With
    `gap`, two rows, it is the share of the way from the first to the second that the row went. With `best`, a setting,
    it is that setting's value in the row where `show` is best, of all that fit.
    `goal` is what it should reach here.
    """

    text: Annotated[str, AfterValidator(one_line)] = Field(description="one line of text")
    paper: Annotated[float | str, BeforeValidator(_number_or_words)] | None = None
    goal: Annotated[str, AfterValidator(one_line)] | None = None
    row: Annotated[Selector, AfterValidator(_not_empty)] = Field(description="a table that says which row")
    show: str = "errors"
    minus: Annotated[Selector, AfterValidator(_not_empty)] | None = None
    over: Annotated[Selector, AfterValidator(_not_empty)] | None = None
    gap: list[Annotated[Selector, AfterValidator(_not_empty)]] | None = Field(default=None, min_length=2, max_length=2)
    best: str | None = None
    average: Annotated[list[str], BeforeValidator(_keys)] | None = None

    @field_validator("show")
    @classmethod
    def _number_exists(cls, show: str) -> str:
        if not is_number(show):
            known = [*NUMBERS, *METRICS, f"{ERRORS_ON}CLASS"]
            nearest = did_you_mean(show, known) or f", there are {', '.join(known)}"
            raise misfit(f"no row has a number named {shown(show)}{nearest}")
        return show

    @model_validator(mode="after")
    def _one_number(self) -> Claim:
        given = [name for name in ("minus", "over", "gap", "best") if getattr(self, name) is not None]
        if len(given) > 1:
            raise misfit(f'found both of "{given[0]}" and "{given[1]}", expected one of them')
        if self.gap and self.show != "errors":
            raise misfit(f'found {shown(self.show)} beside "gap", which is of accuracies: leave it out', "show")
        for key in self.average or []:
            if self.best is not None:
                raise misfit('found both of "best" and "average", but the best is of all rows that fit: leave it out')
            if key not in self.selectors:
                there = " or ".join(map(shown, self.selectors))
                raise misfit(f"found {shown(key)}, expected keys of this claim that say which row: {there}", "average")
        return self

    @property
    def selectors(self) -> dict[str, Selector]:
        """Everything in it that says which row, by key."""
        ends = {f"gap[{number}]": selector for number, selector in enumerate(self.gap or [])}
        beside = {"minus": self.minus, "over": self.over}
        return {"row": self.row, **{key: selector for key, selector in beside.items() if selector}, **ends}

    def averages(self, key: str) -> bool:
        """Whether the mean is taken of all rows that fit at a key; else it is of the first."""
        return key in (self.average or [])


def claim_problems(claims: Sequence[Claim], rows: Sequence[PlannedRow]) -> Iterator[str]:
    """Phrases about claims that the results could not show.

    Args:
        claims: of the recipe.
        rows: that the results will have.
    """
    for number, claim in enumerate(claims):
        for key, selector in claim.selectors.items():
            fitting = _fitting(selector, rows)
            where = f"claim[{number}].{key}"
            if not fitting:
                yield f"{where}: no row fits {shown(selector)}, {_there(selector, rows)}"
            elif claim.best is not None and not any(claim.best in row.variant for row in fitting):
                keys = list(dict.fromkeys(key for row in fitting for key in row.variant))
                there = did_you_mean(claim.best, keys) or f", there are {', '.join(keys) or 'none'}"
                yield f"claim[{number}].best: rows that fit do not differ in {shown(claim.best)}{there}"
                continue
            asked = fitting if claim.best or claim.averages(key) else fitting[:1]
            without = [row for row in asked if not _has(row, claim.show)]
            if without and (not claim.best or len(without) == len(asked)):
                yield f"{where}: {without[0].role} {row_label(vars(without[0]))} will have no {claim.show}"


def class_problems(
    claims: Sequence[Claim], rows: Sequence[PlannedRow], names: Callable[[Sequence[int | str]], list[str]]
) -> Iterator[str]:
    """Phrases about claims of errors on a class that the row's transfer set does not leave out.

    Args:
        claims: of the recipe, without the problems that `claim_problems` finds.
        rows: that the results will have.
        names: what the data call classes that are given by name or number.
    """
    for number, claim in enumerate(claims):
        if not claim.show.startswith(ERRORS_ON):
            continue
        for key, selector in claim.selectors.items():
            fitting = _fitting(selector, rows)
            asked = fitting if claim.best or claim.averages(key) else fitting[:1]
            of_rows = [names(row.variant.get("without", [])) for row in asked]
            enough = any if claim.best else all
            if not enough(claim.show.removeprefix(ERRORS_ON) in left_out for left_out in of_rows):
                left_out = [name for names_of_row in of_rows for name in names_of_row]
                there = ", ".join(f"{ERRORS_ON}{name}" for name in dict.fromkeys(left_out))
                yield f"claim[{number}].show: found {shown(claim.show)}, expected a class left out there: {there}"


def _fitting(selector: Selector, rows: Sequence[PlannedRow]) -> list[PlannedRow]:
    return [row for row in rows if fits(row.role, row.name, row.variant, selector)]


def _there(selector: Selector, rows: Sequence[PlannedRow]) -> str:
    """The rows nearest to those asked for: of that role and name, else of that name, else all."""
    wanted = {"role": "student", **selector}
    role = [row for row in rows if (row.role, row.name) == (wanted["role"], wanted.get("name"))]
    near = role or [row for row in rows if row.name == wanted.get("name")] or rows
    labels = list(dict.fromkeys(f"{row.role} {row_label(vars(row))}" for row in near))
    more = f" and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else ""
    return f"there are {', '.join(labels[:_MOST_NAMED])}{more}: mend it, or leave the claims out by --set claim=[]"


def _has(row: PlannedRow, show: str) -> bool:
    """Whether a row may have a number of this name."""
    if row.regression or show in OF_REGRESSIONS:
        return row.regression and show in _NUMBERS_OF_REGRESSIONS
    if show.startswith(ERRORS_ON):
        return "without" in row.variant
    match show:
        case "gap_recovered" | "p_value":
            return row.beside
        case "agreement":
            return row.role in ("student", "baseline")
        case "validation_errors":
            return row.judged
        case "errors_above_fewest":
            return row.curve
        case "bias_raised":
            return "bias" in row.variant
        case _:
            return True
