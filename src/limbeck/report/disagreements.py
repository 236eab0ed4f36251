"""The test inputs on which a student and its teacher part ways."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from limbeck.report.texts import ShownText, TextOf, no_text
from limbeck.report.wording import percent

LONGEST_SIDE = 64  # pixels; larger pictures are averaged down to it


@dataclass(frozen=True)
class Choice:
    """What a model said about an input."""

    label: str
    probability: str
    right: bool


@dataclass(frozen=True)
class Case:
    """One input: its row in the test set, true class (None: unlabelled), both choices, its picture or text."""

    row: int
    truth: str | None
    teacher: Choice
    student: Choice
    picture: str | None
    text: ShownText | None = None


@dataclass(frozen=True)
class Disagreements:
    """All of them counted, the surest shown."""

    total: int
    teacher_right: int
    student_right: int
    neither_right: int
    cases: tuple[Case, ...]


def find_disagreements(
    teacher: np.ndarray,
    student: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    inputs: np.ndarray,
    *,
    limit: int,
    budget: int,
    text_of: TextOf = no_text,
) -> Disagreements:
    """Rows where the two choose different classes, those first in which the less sure of the two is surest.

    Args:
        teacher: (n, classes) log-probabilities.
        student: likewise.
        labels: (n,) int64, −1 where there is none.
        classes: names, in order.
        inputs: (n, …); pictures if they are uint8 images.
        limit: how many cases to show.
        budget: how many bytes of pictures are allowed; what comes after is shown without.
        text_of: a row's text.
    """
    said = (teacher.argmax(axis=1), student.argmax(axis=1))
    rows = np.flatnonzero(said[0] != said[1])
    right = [choice[rows] == labels[rows] for choice in said]
    sure = np.minimum(teacher.max(axis=1), student.max(axis=1))[rows]
    shown = rows[np.argsort(-sure, kind="stable")][:limit]
    cases = []
    brightest = int(inputs[shown].max()) if is_image(inputs) and len(shown) else 255
    for row in shown.tolist():
        picture = picture_uri(inputs[row], brightest) if is_image(inputs) else None
        if picture is not None:
            budget -= len(picture)
        truth = classes[labels[row]] if labels[row] >= 0 else None
        choices = [
            Choice(
                classes[choice[row]],
                percent(float(np.exp(log_probs[row].max())), 0),
                bool(choice[row] == labels[row]),
            )
            for choice, log_probs in zip(said, (teacher, student), strict=True)
        ]
        cases.append(Case(row, truth, choices[0], choices[1], picture if budget >= 0 else None, text_of(row)))
    teacher_right, student_right = int(right[0].sum()), int(right[1].sum())
    neither = int((labels[rows] >= 0).sum()) - teacher_right - student_right
    return Disagreements(len(rows), teacher_right, student_right, neither, tuple(cases))


def is_image(inputs: np.ndarray) -> bool:
    """Grey (n, h, w) or with 1, 3 or 4 channels last, uint8."""
    if inputs.dtype != np.uint8 or 0 in inputs.shape:
        return False
    return inputs.ndim == 3 or (inputs.ndim == 4 and inputs.shape[3] in (1, 3, 4))


def picture_uri(pixels: np.ndarray, brightest: int = 255) -> str:
    """A PNG in a data URI.

    Args:
        pixels: (h, w) or (h, w, channels) uint8.
        brightest: the highest value in the set; a set of a low range (digits: 0 to 16) is brightened.
    """
    from matplotlib.image import imsave

    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    pixels = _shrunk(pixels.astype(np.float64))
    if 0 < brightest < 128:
        pixels[:, :, :3] *= 255 / brightest
    pixels = np.rint(pixels).astype(np.uint8)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    buffer = io.BytesIO()
    metadata: Any = {"Software": None}  # no version of matplotlib in the bytes
    imsave(buffer, pixels, format="png", metadata=metadata)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _shrunk(pixels: np.ndarray) -> np.ndarray:
    """(h, w, c) averaged over squares until no side is longer than LONGEST_SIDE."""
    height, width, channels = pixels.shape
    step = -(-max(height, width) // LONGEST_SIDE)
    if step == 1:
        return pixels
    rows, columns = max(1, height // step), max(1, width // step)
    cut = pixels[: rows * step, : columns * step]
    if cut.shape[0] < step or cut.shape[1] < step:
        return pixels[::step, ::step]
    return np.asarray(cut.reshape(rows, step, columns, step, channels).mean(axis=(1, 3)))
