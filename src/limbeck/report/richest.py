"""What single soft targets say: the inputs with the richest, and what temperature does to a few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.metrics import richest_rows, soft_targets
from limbeck.report.disagreements import is_image, picture_uri
from limbeck.report.likeness import MOST_CLASSES, Square
from limbeck.report.texts import ShownText, TextOf, no_text
from limbeck.report.wording import percent

TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)
SHOWN, OVER_TEMPERATURES = 12, 3
PICTURE_BYTES = 60_000
NAMED = 3  # classes beside a picture


@dataclass(frozen=True)
class Rich:
    """An input whose soft target says much: its row, its class, the most probable classes, its picture or text."""

    row: int
    truth: str
    classes: tuple[tuple[str, str], ...]
    picture: str | None
    text: ShownText | None = None


@dataclass(frozen=True)
class OverTemperatures:
    """One input's soft targets, a line of squares for each temperature."""

    row: int
    truth: str
    picture: str | None
    lines: tuple[tuple[str, tuple[Square, ...]], ...]


@dataclass(frozen=True)
class Richest:
    """Of one teacher at one temperature."""

    teacher: str
    temperature: str
    inputs: tuple[Rich, ...]
    over_temperatures: tuple[OverTemperatures, ...]


def find_richest(
    teacher: str,
    log_probs: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    inputs: np.ndarray,
    temperature: float,
    text_of: TextOf = no_text,
) -> Richest | None:
    """The test rows that the teacher gets right and about which its soft targets say most; None if there are none.

    Args:
        teacher: its name.
        log_probs: its log-probabilities, shape (n, classes).
        labels: shape (n,), −1 where there is none.
        classes: names, in order.
        inputs: shape (n, …); pictures if they are uint8 images.
        temperature: at which the entropy is taken.
        text_of: a row's text.
    """
    rows = richest_rows(log_probs, labels, temperature, SHOWN)
    if not len(rows):
        return None
    pictures: dict[int, str | None] = dict.fromkeys(rows.tolist())
    budget = PICTURE_BYTES
    if is_image(inputs):
        brightest = int(inputs[rows].max())
        for row in pictures:
            uri = picture_uri(inputs[row], brightest)
            budget -= len(uri)
            pictures[row] = uri if budget >= 0 else None
    targets = soft_targets(log_probs[rows], temperature)
    found = []
    for row, probabilities in zip(rows.tolist(), targets, strict=True):
        top = np.argsort(-probabilities, kind="stable")[:NAMED]
        named = tuple((classes[c], percent(float(probabilities[c]), 0)) for c in top)
        found.append(Rich(row, classes[labels[row]], named, pictures[row], text_of(row)))
    few = rows[:OVER_TEMPERATURES] if len(classes) <= MOST_CLASSES else rows[:0]
    over = [
        OverTemperatures(row, classes[labels[row]], pictures[row], tuple(_lines(log_probs[row])))
        for row in few.tolist()
    ]
    return Richest(teacher, f"{temperature:g}", tuple(found), tuple(over))


def _lines(log_probs: np.ndarray) -> list[tuple[str, tuple[Square, ...]]]:
    lines = []
    for temperature in TEMPERATURES:
        probabilities = soft_targets(log_probs[None], temperature)[0]
        squares = tuple(Square(percent(float(p), 0), round(float(p), 3)) for p in probabilities)
        lines.append((f"{temperature:g}", squares))
    return lines
