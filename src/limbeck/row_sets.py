"""The labelled rows that stages work with, cut once and shared."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from limbeck.data import Split, some_rows
from limbeck.model_stage import Rows
from limbeck.recipe import Select


@dataclass
class RowSets:
    """Every set of rows that stages of a recipe may work with.

    Args:
        split: the data, cut.
        seed: of the split, which also decides which rows a transfer set of some rows has.
    """

    split: Split
    seed: int
    _some_rows: dict[tuple[str, bool], Rows] = field(default_factory=dict)

    @cached_property
    def split_rows(self) -> Rows:
        """Training and validation rows as they were cut."""
        return Rows(self.split.train, self.split.validation)

    @cached_property
    def all_rows(self) -> Rows:
        """All rows but the test rows for training, none for validation: what a refit trains on."""
        parts = (self.split.train, self.split.validation)
        order = np.argsort(np.concatenate([part.ids for part in parts]), kind="stable")
        inputs, labels, ids = (
            np.concatenate([getattr(part, name) for part in parts])[order] for name in ("inputs", "labels", "ids")
        )
        everything = replace(self.split.train, inputs=inputs, labels=labels, ids=ids)
        return Rows(everything, self.split.validation.take(np.arange(0)), refit=True)

    def of(self, refit: bool, select: Select | None = None) -> Rows:
        """The rows of a stage that is refitted, or that is not; of a transfer set of some rows, only those."""
        rows = self.all_rows if refit else self.split_rows
        if select is None or select.rows is None:
            return rows
        asked = repr(select), refit
        if asked not in self._some_rows:
            kept = rows.train.selected(without=select.without, only=select.only)
            chosen = some_rows(rows.train, kept, select.rows, self.seed)
            self._some_rows[asked] = replace(rows, train=rows.train.take(chosen))
        return self._some_rows[asked]
