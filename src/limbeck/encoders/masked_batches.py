"""Batches of masked texts: rows of about one length together, masked anew in every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from limbeck.batches import FRESH_VIEWS, Batch, batch_bounds, bucketed, epoch_order
from limbeck.encoders.masked_rows import TokenRows
from limbeck.encoders.masking import Masking
from limbeck.errors import UsageError
from limbeck.knowledge.targets import Targets

Answers = Literal["masked", "all", "none"]
"""For which tokens a model answers: those to be predicted, all but padding, or none."""


class MaskedBatches:
    """A `BatchSource` over rows of tokens.

    In each epoch the rows are shuffled and put into batches by length (`bucketed`), all of it by (seed, epoch). A batch
    is filled up to its longest row only.

    Args:
        rows: the rows.
        masking: how they are masked.
        batch_size: rows in a step.
        views: how many masks a row has: epoch e shows mask e modulo that, numbered from 0, as stored knowledge has
            them. None for a new one in each epoch e: `FRESH_VIEWS` + e.
        passes: over the rows in an epoch, each with the next mask.
    """

    def __init__(
        self, rows: TokenRows, masking: Masking, batch_size: int, *, views: int | None = None, passes: int = 1
    ) -> None:
        if views is not None and views < 1:
            raise UsageError(f"views = {views}, expected 1 or more masks of each row, or None for a new one each epoch")
        self.token_rows, self.masking, self.views, self.passes = rows, masking, views, passes
        self.rows = len(rows)
        self.bounds = batch_bounds(self.rows, batch_size)
        self.steps = len(self.bounds) * passes
        self._given: Batch | None = None

    def batches(self, seed: int, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from `start_step` on; `inputs` as `inputs` below has them."""
        for step in range(start_step, self.steps):
            turn, number = divmod(step, len(self.bounds))
            if step == start_step or number == 0:
                passed = epoch * self.passes + turn
                order = epoch_order(seed, passed, self.rows)
                order, bounds = bucketed(order, self.token_rows.lengths, self.bounds, seed, passed)
                mask = FRESH_VIEWS + passed if self.views is None else passed % self.views
            start, stop = bounds[number]
            rows = torch.from_numpy(order[start:stop])
            view = torch.full_like(rows, mask)
            yield Batch(self.inputs(rows, view), rows, view)

    def inputs(self, rows: Tensor, view: Tensor) -> Tensor:
        """These rows under these masks; those given last are remembered, for whoever asks for their targets.

        Args:
            rows: row numbers, shape (batch,), int64.
            view: the number of each row's mask, shape (batch,), int64.

        Returns:
            int64 of shape (batch, 2, tokens): the tokens that are shown, filled up with the padding's id, and the
            tokens to be predicted, −1 where nothing is.
        """
        given = self._given
        if given is None or not (torch.equal(given.rows, rows) and torch.equal(given.view, view)):
            numbers = rows.numpy()
            pair = self.masking.applied(
                self.token_rows.padded(numbers), self.token_rows.keys[numbers], view.numpy().astype(np.int64)
            )
            self._given = given = Batch(torch.from_numpy(np.stack(pair, axis=1)), rows, view)
        return given.inputs


class MaskedLabels:
    """The tokens that were masked, as labels: masked-language modelling without a teacher.

    Args:
        batches: where the student's inputs come from.
        answers: for which tokens the student answers; there is no label for those that were not masked.
    """

    def __init__(self, batches: MaskedBatches, answers: Answers = "masked") -> None:
        self.batches, self.answers = batches, answers

    def batch(self, rows: Tensor, view: Tensor) -> Targets:
        """Labels of shape (predicted,), in the order of the student's logits."""
        shown, labels = self.batches.inputs(rows, view).unbind(1)
        pad_id = self.batches.token_rows.tokens.pad_id
        return Targets(labels=labels[answered(shown, labels, pad_id, self.answers)])


def answered(shown: Tensor, labels: Tensor, pad_id: int, answers: Answers) -> Tensor:
    """Where a model answers, bool of the shape of both: (batch, tokens)."""
    if answers == "all":
        return shown != pad_id
    return labels >= 0 if answers == "masked" else torch.zeros_like(labels, dtype=torch.bool)
