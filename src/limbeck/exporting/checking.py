"""A file held against the model that it is of, on real rows: probabilities, classes, time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from limbeck.errors import LimbeckError
from limbeck.evaluation import median_seconds, serving_form
from limbeck.exporting.columns import feeds
from limbeck.exporting.soft_trees import on_the_edge
from limbeck.models import logits_of
from limbeck.models.onnx_texts import TOGETHER, by_length
from limbeck.quiet import quiet
from limbeck.threads import thread_count
from limbeck.training import predict_log_probs

if TYPE_CHECKING:
    from limbeck.encoders.tokens import TextTokens

Array = npt.NDArray[Any]

TOLERANCE = 1e-4
"""The largest difference of a probability."""

BATCHES = (1, 7, 500)
BATCHES_OF_TEXTS = (1, 7, TOGETHER)
_CALLS = 5  # of each of the small batches
_TIE = 1e-5  # of two log-probabilities: either class is right


@dataclass(frozen=True)
class Check:
    """What came of holding a file against its model.

    Attributes:
        rows: looked at.
        difference: the largest of any probability, but for rows that are undecided.
        changed: rows whose class is another one; undecided ones, since any other is refused.
        undecided: rows whose two top classes, or two paths of a tree, are equal but for rounding.
        batches: the batch sizes.
        file_ms: median milliseconds for one row by onnxruntime.
        model_ms: the same by the model in its serving form.
        threads: of both.
    """

    rows: int
    difference: float
    changed: int
    undecided: int
    batches: tuple[int, ...]
    file_ms: float
    model_ms: float
    threads: int


class Session:
    """A file that onnxruntime has read.

    Args:
        data: of the file.
        form: of the model, which says what the inputs are.
        tokens: of a model of texts, its tokenizer.

    Raises:
        LimbeckError: onnxruntime does not take it.
    """

    def __init__(self, data: bytes, form: Any, tokens: TextTokens | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = thread_count()
        options.log_severity_level = 3  # errors
        self.form, self.tokens = form, tokens
        try:
            with quiet():
                self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has its own exceptions
            raise LimbeckError(
                f"a student that ONNX cannot hold: onnxruntime does not take it ({_short(error)})"
            ) from None

    def answer(self, rows: Array) -> tuple[Array, Array]:
        """Probabilities (n, classes) and the classes' names (n,) for raw rows (n, …), all at once."""
        return self.run(feeds(self.form, rows, self.tokens))

    def run(self, fed: dict[str, Array]) -> tuple[Array, Array]:
        """The same for what `feeds` gives."""
        try:
            probabilities, names = self._session.run(None, fed)
        except Exception as error:
            raise LimbeckError(f"onnxruntime cannot run the file ({_short(error)})") from None
        return probabilities, names

    def answers(self, rows: Array) -> tuple[Array, Array]:
        """The same in batches, as `batches` gives them."""
        places = self.batches(rows)
        found = [self.answer(rows[some]) for some in places]
        order = np.argsort(np.concatenate(places), kind="stable")
        probabilities, names = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return probabilities[order], names[order]

    def batches(self, rows: Array) -> list[Array]:
        """The places of rows in large batches: as they come, of texts those of about a length together."""
        if self.tokens is not None:
            return list(by_length(self.tokens, rows, len(self.form.columns) > 1))
        return [np.arange(start, min(start + BATCHES[-1], len(rows))) for start in range(0, len(rows), BATCHES[-1])]

    def tokens_in_first(self, rows: Array) -> int | None:
        """Of the first of these texts, whose time is taken; None of rows that are none."""
        return None if self.tokens is None else int(self.tokens.lengths(rows[:1], len(self.form.columns) > 1)[0])

    def milliseconds(self, rows: Array) -> float:
        """Median for the first row alone."""
        fed = feeds(self.form, rows[:1], self.tokens)
        return round(1000 * median_seconds(lambda: self._session.run(None, fed), repeats=200, at_most=1.0), 4)


def check(session: Session, model: nn.Module, classes: Sequence[str], rows: Array) -> Check:
    """Hold a file against its model on raw rows (n, …): all in large batches, the first in five of 1 and five of 7.

    Raises:
        LimbeckError: a probability differs by more than `TOLERANCE`, or a class where the model is not undecided.
    """
    log_probs = predict_log_probs(model, rows)
    expected, names = np.exp(log_probs), np.array(list(classes), dtype=object)[log_probs.argmax(axis=1)]
    top = np.sort(log_probs, axis=1)[:, -2:]
    tied = top[:, -1] - top[:, 0] < _TIE if len(classes) > 1 else np.zeros(len(rows), dtype=bool)
    edge = on_the_edge(model, rows)
    undecided = tied | edge
    changed, difference = np.zeros(len(rows), dtype=bool), 0.0
    sizes = BATCHES if session.tokens is None else BATCHES_OF_TEXTS
    small = [np.arange(call * size, (call + 1) * size) % len(rows) for size in sizes[:-1] for call in range(_CALLS)]
    for batch in (*small, *session.batches(rows)):
        probabilities, found = session.answer(rows[batch])
        if probabilities.shape != (len(batch), len(classes)) or not np.isfinite(probabilities).all():
            raise LimbeckError(
                f"a student that ONNX cannot hold: the file answers a batch of {len(batch)} rows with "
                f"{probabilities.shape}, or with what is not finite; nothing was written"
            )
        changed[batch] |= found != names[batch]
        apart = np.abs(probabilities - expected[batch])[~edge[batch]]
        difference = max(difference, float(apart.max(initial=0.0)))
    wrong = int((changed & ~undecided).sum())
    if wrong or difference > TOLERANCE:
        raise LimbeckError(
            f"the ONNX file does not answer as the model does: probabilities differ by up to {difference:.2g} (at most "
            f"{TOLERANCE:g} is right), and {wrong} of {len(rows)} rows have another class; nothing was written"
        )
    return Check(
        rows=len(rows),
        difference=difference,
        changed=int(changed.sum()),
        undecided=int(undecided.sum()),
        batches=sizes,
        file_ms=session.milliseconds(rows),
        model_ms=_model_milliseconds(model, rows),
        threads=thread_count(),
    )


def _model_milliseconds(model: nn.Module, rows: Array) -> float:
    served, one = serving_form(model), torch.from_numpy(np.require(rows[:1], requirements=["C", "W"]))
    with torch.inference_mode():
        return round(1000 * median_seconds(lambda: logits_of(served(one)), repeats=200, at_most=1.0), 4)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
