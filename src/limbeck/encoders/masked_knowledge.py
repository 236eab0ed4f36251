"""What a teacher says of masked tokens, recorded once in the sparse form, and read again as targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from limbeck.artifacts import ArtifactStore
from limbeck.encoders.masked import MaskedEncoder
from limbeck.encoders.masked_batches import Answers, MaskedBatches, MaskedLabels
from limbeck.errors import LimbeckError, UsageError
from limbeck.knowledge.sparse_extraction import extract_sparse
from limbeck.knowledge.sparse_packing import Bits
from limbeck.knowledge.sparse_store import SparseKnowledge, SparseRecording
from limbeck.knowledge.targets import Targets
from limbeck.models.outputs import logits_of
from limbeck.precision import Precision, autocast
from limbeck.progress import Progress

_ROWS = 1024  # whose answers are counted in one go


def recording_of(
    batches: MaskedBatches, view: int, teacher_key: str, classes: int, k: int, bits: Bits, answers: Answers = "masked"
) -> SparseRecording:
    """What it is to record a teacher's answers about rows in one mask; the rows are the records.

    Args:
        batches: with numbered views.
        view: the mask's number.
        teacher_key: the teacher's artifact key.
        classes: the size of its vocabulary.
        k: how many tokens are kept of each answer.
        bits: of a value that is kept, 8 or 16.
        answers: for which tokens it answers.

    Raises:
        UsageError: there is no such view.
    """
    if batches.views is None or not 0 <= view < batches.views:
        raise UsageError(f"view {view} of masked rows: expected 0 to {(batches.views or 0) - 1}, numbered as stored")
    masking, rows = batches.masking, batches.token_rows
    return SparseRecording(
        teacher_key,
        rows.digest,
        rows.lengths if answers == "all" else _predicted(batches),
        classes,
        k,
        bits,
        _described(batches, view, answers),
        masking.seed,
    )


def record_masked(
    teacher: MaskedEncoder,
    batches: MaskedBatches,
    teacher_key: str,
    store: ArtifactStore,
    *,
    k: int = 32,
    bits: Bits = 8,
    batch_size: int = 32,
    precision: Precision = "float32",
    progress: Progress | None = None,
) -> list[SparseKnowledge]:
    """Ask a teacher about every row in every view, or complete what was begun: one artifact for each view.

    Args:
        teacher: put into evaluation mode; asked for the tokens that its `answers` says.
        batches: with numbered views.
        teacher_key: its artifact key.
        store: where artifacts lie.
        k: how many tokens are kept of each answer.
        bits: of a value that is kept, 8 or 16.
        batch_size: rows asked about at once.
        precision: that the teacher computes in.
        progress: told by batch, in rows.

    Raises:
        UsageError: the views are not numbered.
        LimbeckError: the knowledge that is there is damaged, or was begun otherwise.
    """
    teacher.eval()
    found = []
    for view in range(batches.views or 1):

        def ask(first: int, last: int, view: int = view) -> Tensor:
            rows = torch.arange(first, last)
            inputs = batches.inputs(rows, torch.full_like(rows, view)).to(teacher.device)
            with torch.no_grad(), autocast(precision, teacher.device):
                return logits_of(teacher(inputs)).float()

        classes = int(teacher.network.config.vocab_size)
        recording = recording_of(batches, view, teacher_key, classes, k, bits, teacher.answers)
        found.append(
            extract_sparse(
                ask,
                recording,
                store,
                batch_size=batch_size,
                precision=precision,
                device=str(teacher.device),
                progress=progress,
            )
        )
    return found


class StoredMaskedTargets:
    """Targets of masked rows from what was recorded.

    Args:
        views: the knowledge of each mask, in order.
        batches: where the student's inputs come from, with as many views.
        answers: for which tokens the student answers: those that were recorded.

    Raises:
        LimbeckError: the knowledge is of other rows or masks.
    """

    def __init__(self, views: Sequence[SparseKnowledge], batches: MaskedBatches, answers: Answers = "masked") -> None:
        if batches.views != len(views):
            raise LimbeckError(
                f"knowledge of {len(views)} masks was given for rows with {batches.views} views: make them as many"
            )
        for number, one in enumerate(views):
            theirs = one.identity
            said = theirs.settings.get("view") or {}
            ours = {"number": number, "masking": asdict(batches.masking.settings), "answers": answers}
            if (
                one.description["part"] != batches.token_rows.digest
                or theirs.seed != batches.masking.seed
                or said != ours
            ):
                raise LimbeckError(
                    f"{one.folder} was recorded for other texts or masks than view {number} of these: record it again"
                )
        self.views, self.labels = list(views), MaskedLabels(batches, answers)

    def batch(self, rows: Tensor, view: Tensor) -> Targets:
        """Labels (answers,) and sparse targets of as many outputs.

        Raises:
            UsageError: the rows are seen in several masks.
        """
        number = int(view[0])
        if not bool((view == number).all()):
            raise UsageError("a batch of stored masked rows must be seen in one mask: take batches of MaskedBatches")
        return Targets(labels=self.labels.batch(rows, view).labels, sparse=self.views[number].batch(rows))


def _described(batches: MaskedBatches, view: int, answers: Answers) -> dict[str, Any]:
    return {"number": view, "masking": asdict(batches.masking.settings), "answers": answers}


def _predicted(batches: MaskedBatches) -> npt.NDArray[np.int64]:
    rows = batches.token_rows
    numbers = np.arange(len(rows))
    return np.concatenate(
        [batches.masking.predicted(rows.padded(numbers[start : start + _ROWS])) for start in range(0, len(rows), _ROWS)]
    )
