"""Where a step's inputs come from: tensors in memory, by direct indexing, in an order that (seed, epoch) decide."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from limbeck.data import Part, ViewSettings, view_pixels

# Numbers of views: a teacher must not be asked about the very pixels it was trained on, so fresh views have a
# range that no numbered view of a transfer set reaches.
FRESH_VIEWS = 2**32
# Keys of the generator beside the seed; views have the keys below, each its own number.
_ORDERS, _FIRST_VIEWS, _HELD_OUT, _BUCKETS = 2**61, 2**63, 2**62, 2**59


@dataclass
class Batch:
    """One step's inputs: raw, shape (batch, …); and which rows in which views they are, each (batch,) int64."""

    inputs: Tensor
    rows: Tensor
    view: Tensor


class BatchSource(Protocol):
    """Gives an epoch's batches from any step on; the order is a function of (seed, epoch) alone."""

    rows: int
    steps: int

    def batches(self, seed: int, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The batches of an epoch (counted from 0), from `start_step` on."""
        ...


def epoch_order(seed: int, epoch: int, rows: int) -> npt.NDArray[np.int64]:
    """A permutation of the rows, by a counter-based generator: epoch 7 needs no epochs 0 to 6."""
    return np.random.Generator(_stream(seed, _ORDERS + epoch)).permutation(rows)


def held_out_order(seed: int, rows: int) -> npt.NDArray[np.int64]:
    """A permutation of the rows of which the first are held out for validation."""
    return np.random.Generator(_stream(seed, _HELD_OUT)).permutation(rows)


def _stream(seed: int, purpose: int) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed, purpose], dtype=np.uint64))


def batch_bounds(rows: int, batch_size: int) -> list[tuple[int, int]]:
    """Start and stop of each batch; a single row left over joins the batch before, for batch normalisation's sake."""
    starts = list(range(0, rows, batch_size))
    if len(starts) > 1 and rows - starts[-1] == 1 < batch_size:
        starts.pop()
    return list(zip(starts, [*starts[1:], rows], strict=True))


WINDOW = 50
"""Batches within whose rows, drawn at random, texts of about one length come together."""


def bucketed(
    order: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    bounds: list[tuple[int, int]],
    seed: int,
    epoch: int,
    window: int = WINDOW,
) -> tuple[npt.NDArray[np.int64], list[tuple[int, int]]]:
    """An order in which the rows of a batch are of about one length, so that little of it is padding.

    Args:
        order: row numbers, shuffled.
        lengths: of every row.
        bounds: start and stop of each batch.
        seed: with the epoch decides the order of the batches.
        epoch: counted from 0.
        window: batches' worth of rows, next to each other in the order, that are put into batches by length.

    Returns:
        The same row numbers, and the same bounds in random order.
    """
    span = window * (bounds[0][1] - bounds[0][0])
    order = order[np.lexsort((lengths[order], np.arange(len(order)) // span))]
    shuffled = np.random.Generator(_stream(seed, _BUCKETS + epoch)).permutation(len(bounds))
    return order, [bounds[number] for number in shuffled]


class StoredBatches:
    """Rows that were seen in a fixed number of views: an epoch shows every row once, in one of its views.

    A row goes through its views in turn, beginning at one of its own, so that each epoch mixes all views and
    after as many epochs as there are views every row has been seen in each.

    Args:
        views: raw inputs, shape (views, rows, …); not copied.
        batch_size: rows in a step.
        selected: the row numbers to use; all by default.
        passes: over these rows in an epoch, each in an order and in views of its own.
        lengths: of texts, shape (views, rows): the rows of a batch are then of about one length, drawn from `WINDOW`
            batches.
    """

    def __init__(
        self,
        views: npt.NDArray[Any],
        batch_size: int,
        selected: npt.NDArray[np.int64] | None = None,
        passes: int = 1,
        lengths: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self.count, self.of_each = views.shape[:2]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nor is it written to
            self.inputs = torch.from_numpy(views.reshape(-1, *views.shape[2:]))
        self.selected = np.arange(self.of_each) if selected is None else selected
        self.rows, self.passes = len(self.selected), passes
        self.bounds = batch_bounds(self.rows, batch_size)
        self.steps = len(self.bounds) * passes
        self.lengths = lengths

    def batches(self, seed: int, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from `start_step` on."""
        first = torch.from_numpy(
            np.random.Generator(_stream(seed, _FIRST_VIEWS)).integers(self.count, size=self.of_each)
        )
        for turn, begin in _passes(self.passes, len(self.bounds), epoch, start_step):
            order, bounds = self.selected[epoch_order(seed, turn, self.rows)], self.bounds
            views = (first + turn) % self.count
            if self.lengths is not None:
                order, bounds = bucketed(order, self.lengths[views, np.arange(self.of_each)], bounds, seed, turn)
            rows = torch.from_numpy(order)
            view = views[rows]
            flat = view * self.of_each + rows
            for start, stop in bounds[begin:]:
                yield Batch(self.inputs.index_select(0, flat[start:stop]), rows[start:stop], view[start:stop])


class FreshBatches:
    """A part in new random views in every epoch, made as they are needed and never stored.

    Args:
        part: the rows.
        settings: how far a view strays.
        batch_size: rows in a step.
        view_seed: of the views; pass p over the rows, counted from 0 through all epochs, shows view `FRESH_VIEWS` + p.
        selected: the row numbers to use; all by default.
        passes: over these rows in an epoch.
    """

    def __init__(
        self,
        part: Part,
        settings: ViewSettings,
        batch_size: int,
        view_seed: int,
        selected: npt.NDArray[np.int64] | None = None,
        passes: int = 1,
    ) -> None:
        self.part, self.settings, self.view_seed = part, settings, view_seed
        self.selected = np.arange(len(part)) if selected is None else selected
        self.rows, self.passes = len(self.selected), passes
        self.bounds = batch_bounds(self.rows, batch_size)
        self.steps = len(self.bounds) * passes

    # Views of several batches are drawn together: large enough to be fast, small enough to stay in the cache.
    TOGETHER = 8

    def batches(self, seed: int, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from `start_step` on."""
        for turn, begin in _passes(self.passes, len(self.bounds), epoch, start_step):
            yield from self._pass(seed, turn, begin)

    def _pass(self, seed: int, turn: int, begin: int) -> Iterator[Batch]:
        rows = self.selected[epoch_order(seed, turn, self.rows)]
        for first in range(begin, len(self.bounds), self.TOGETHER):
            bounds = self.bounds[first : first + self.TOGETHER]
            offset, end = bounds[0][0], bounds[-1][1]
            drawn = rows[offset:end]
            pixels = torch.from_numpy(
                view_pixels(
                    self.part.inputs[drawn],
                    self.part.ids[drawn],
                    view=FRESH_VIEWS + turn,
                    seed=self.view_seed,
                    settings=self.settings,
                )
            )
            for start, stop in bounds:
                chosen = torch.from_numpy(rows[start:stop])
                yield Batch(pixels[start - offset : stop - offset], chosen, torch.full_like(chosen, FRESH_VIEWS + turn))


def _passes(passes: int, steps: int, epoch: int, start_step: int) -> Iterator[tuple[int, int]]:
    """The passes that are left of an epoch from `start_step` on: number through all epochs, and where each begins."""
    done, begin = divmod(start_step, steps)
    for number in range(done, passes):
        yield epoch * passes + number, begin if number == done else 0
