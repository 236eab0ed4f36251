"""The typed form of a recipe's `[data]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from limbeck.recipe.errors import misfit, shown
from limbeck.recipe.settings import LARGEST, Count, Table, fraction_or_file, rows_or_fraction, rows_or_none

if TYPE_CHECKING:
    from limbeck.data.reading import Reading


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Data(Table):
    """Where the rows come from and how they are cut.

    `validation` rows (a count, or a fraction) are cut from the training rows: every choice is made on them. `test` is
    the fraction held out where the source has no test set of its own, or "file:" and the path of a file that has the
    test rows. `split_seed` alone moves the cut, so that runs with different seeds validate on the same rows. With
    `labels` (a count, or a fraction) so many of the training rows keep theirs, drawn by class, and the others are rows
    without.

    Of a table, `label` is the column of class names, `id` one of row numbers; columns to `ignore`, and to read as
    `numeric` or `categorical` where the file alone would say otherwise. `text` names the column of texts, or the two
    of pairs of texts, where these are what to learn from. Of a folder of images, the `size` (height and
    width) and the `mode` that all are brought to, and whether damaged ones are skipped.
    """

    source: str = Field(
        min_length=1, description='a data set, such as "mnist", "idx:FOLDER", "images:FOLDER" or a table\'s .csv file'
    )
    label: str | None = Field(default=None, min_length=1)
    id: str | None = Field(default=None, min_length=1)
    text: Annotated[
        list[Annotated[str, Field(min_length=1)]] | None, BeforeValidator(_listed), Field(min_length=1, max_length=2)
    ] = None
    ignore: list[str] | None = None
    numeric: list[str] | None = None
    categorical: list[str] | None = None
    size: list[Count] | None = Field(default=None, min_length=2, max_length=2)
    mode: Literal["grey", "colour"] | None = None
    skip_damaged: bool | None = None
    validation: Annotated[int | float, BeforeValidator(rows_or_fraction)] = 0.1
    test: Annotated[float | str | None, BeforeValidator(fraction_or_file)] = None
    labels: Annotated[int | float | None, BeforeValidator(rows_or_none)] = None
    split_seed: int = Field(default=0, ge=0, le=LARGEST)

    @model_validator(mode="after")
    def _columns_differ(self) -> Data:
        if self.text is not None and len(set(self.text)) < len(self.text):
            raise misfit(f"found {shown(self.text[0])} twice, expected a pair of two columns", "text")
        return self

    def reading(self) -> Reading:
        """How the source's files are to be read."""
        from limbeck.data.reading import Reading  # loads numpy

        return Reading(
            label=self.label,
            id=self.id,
            text=tuple(self.text or ()),
            ignore=tuple(self.ignore or ()),
            numeric=tuple(self.numeric or ()),
            categorical=tuple(self.categorical or ()),
            size=None if self.size is None else (self.size[0], self.size[1]),
            mode=self.mode,
            skip_damaged=bool(self.skip_damaged),
        )
