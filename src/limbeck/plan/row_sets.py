"""The rows that stages work with, cut once and shared: those to train on, and transfer sets of several parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from limbeck.batches import held_out_order
from limbeck.data import Part, Split, some_rows
from limbeck.data.part import row_shape
from limbeck.data.scratch import room_for
from limbeck.data.texts import placed
from limbeck.errors import UsageError
from limbeck.plan.model_stage import Rows
from limbeck.recipe import Select, Transfer
from limbeck.recipe.settings import FILE


@dataclass(frozen=True)
class TransferRows:
    """What a student learns from.

    Attributes:
        parts: each with knowledge of its own.
        rows: the same rows, one part after the other, and the validation rows.
    """

    parts: tuple[Part, ...]
    rows: Rows


@dataclass
class RowSets:
    """Every set of rows that stages of a recipe may work with.

    Args:
        split: the data, cut.
        seed: of the split, which also decides which rows a transfer set of some rows has.
        read: gives the rows of a part that lies in a file, by its name; called once for each.
    """

    split: Split
    seed: int
    read: Callable[[str], Part] | None = None
    _training: dict[bool, Rows] = field(default_factory=dict)
    _transfer_sets: dict[tuple[str, bool], TransferRows] = field(default_factory=dict)
    _parts: dict[tuple[str, bool], Part] = field(default_factory=dict)

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

    def training(self, refit: bool) -> Rows:
        """The rows that a teacher is trained on: those with labels."""
        if refit not in self._training:
            rows = self.all_rows if refit else self.split_rows
            labelled = rows.train.labels >= 0
            everything = labelled.all() or not labelled.any()
            train = rows.train if everything else rows.train.take(np.flatnonzero(labelled))
            self._training[refit] = replace(rows, train=train)
        return self._training[refit]

    def transfer_set(self, transfer: Transfer, refit: bool) -> TransferRows:
        """The rows of a transfer set, part by part and together.

        Raises:
            UsageError: a part that is not there, or fewer rows than are asked for.
        """
        select = transfer.select if transfer.select is not None and transfer.select.rows is not None else None
        asked = repr((transfer.parts, select)), refit
        if asked not in self._transfer_sets:
            rows = self.all_rows if refit else self.split_rows
            parts = [self._part(name, refit) for name in transfer.parts if not self._is_empty(name, transfer, refit)]
            for number, part in enumerate(parts):
                for before in parts[:number]:
                    if part.inputs_hash == before.inputs_hash:
                        raise UsageError(f"{before.name} and {part.name} are the same rows: leave one of them out")
            if select is not None and select.rows is not None:
                parts = self._some(parts, select, select.rows)
            self._transfer_sets[asked] = TransferRows(tuple(parts), replace(rows, train=_joined(parts)))
        return self._transfer_sets[asked]

    def on_labels(self, transfer: Transfer, refit: bool) -> tuple[Rows, int]:
        """The rows for what learns from labels alone, and how often to go over them, to see as many as a student does.

        They are those of a transfer set that have labels; the training rows where none has.
        """
        found = self.transfer_set(transfer, refit).rows
        labelled = found.train.labels >= 0
        if labelled.all():
            return found, 1
        rows = self.training(refit)
        if labelled.any() and int(labelled.sum()) < len(rows.train):
            rows = replace(found, train=found.train.take(np.flatnonzero(labelled)))
        seen, learnt = (_left(part, transfer.select) for part in (found.train, rows.train))
        return rows, max(1, round(seen / learnt))

    def _is_empty(self, name: str, transfer: Transfer, refit: bool) -> bool:
        """Whether rows without labels, or with, are none beside the others: where all have them, say."""
        both = {"labelled", "unlabelled"}
        if name not in both or not both <= {*transfer.parts}:
            return False
        labelled = (self.all_rows if refit else self.split_rows).train.labels >= 0
        return not (labelled if name == "labelled" else ~labelled).any()

    def _part(self, name: str, refit: bool) -> Part:
        if (name, refit) not in self._parts:
            self._parts[name, refit] = self._read(name) if name.startswith(FILE) else self._training_part(name, refit)
        return self._parts[name, refit]

    def _read(self, name: str) -> Part:
        assert self.read is not None
        return self._parts[name, False] if (name, False) in self._parts else self.read(name)

    def _training_part(self, name: str, refit: bool) -> Part:
        train = (self.all_rows if refit else self.split_rows).train
        labelled = train.labels >= 0
        wanted = {"train": np.ones_like(labelled), "labelled": labelled, "unlabelled": ~labelled}
        chosen = np.flatnonzero(wanted[name])
        if not len(chosen):
            has = "have labels: set data.labels, or" if name == "unlabelled" else "have none:"
            raise UsageError(f'part "{name}" has no rows, for all {len(train)} training rows {has} leave it out')
        return train if len(chosen) == len(train) else train.take(chosen).named(name)

    def _some(self, parts: Sequence[Part], select: Select, count: int | float) -> list[Part]:
        """So many rows of the parts: of a single one as `some_rows` draws them; else those with labels come first."""
        if len(parts) == 1:
            kept = parts[0].selected(without=select.without, only=select.only)
            return [parts[0].take(some_rows(parts[0], kept, count, self.seed))]
        total = sum(map(len, parts))
        wanted = math.ceil(count * total) if isinstance(count, float) else count
        if wanted > total:
            raise UsageError(f"rows = {count} were asked for, but its parts have {total}: ask for fewer")
        labels = np.concatenate([part.labels for part in parts])
        labelled = int((labels >= 0).sum())
        if wanted < labelled:  # only the training rows among the parts have any
            home = next(part for part in parts if (part.labels >= 0).any())
            return [home.take(some_rows(home, np.flatnonzero(home.labels >= 0), wanted, self.seed))]
        taken = labels >= 0
        taken[self._drawn(labels < 0)[: wanted - labelled]] = True
        ends = np.cumsum([0, *map(len, parts)])
        some = [
            part.take(np.flatnonzero(taken[start:end]))
            for part, start, end in zip(parts, ends[:-1], ends[1:], strict=True)
        ]
        return [part for part in some if len(part)]

    def _drawn(self, which: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """The places where it is true, in an order in which a longer beginning has a shorter one in it."""
        places = np.flatnonzero(which)
        return places[held_out_order(self.seed, len(places))]


def _left(part: Part, select: Select | None) -> int:
    """How many rows are left when classes are taken out."""
    return len(part) if select is None else len(part.selected(without=select.without, only=select.only))


def _starts(parts: Sequence[Part]) -> list[int]:
    return [0, *np.cumsum([len(part) for part in parts])[:-1].tolist()]


def _joined(parts: Sequence[Part]) -> Part:
    """The rows of several parts as one, in their order."""
    if len(parts) == 1:
        return parts[0]
    first, rows = parts[0], sum(map(len, parts))
    inputs = room_for((rows, *row_shape(parts)), first.inputs.dtype)
    for part, start in zip(parts, _starts(parts), strict=True):
        placed(part.inputs, inputs[start : start + len(part)])
    labels, ids = (np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "ids"))
    name = " and ".join(part.name for part in parts)
    return replace(first, name=name, inputs=inputs, labels=labels, ids=ids)
