"""Test inputs that are texts, as the page shows them: shortened, the whole of them at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from limbeck.data import Form, TextForm
from limbeck.data.texts import BETWEEN, unpacked

SHOWN, WHOLE = 160, 2000  # characters
BETWEEN_SHOWN = " | "


@dataclass(frozen=True)
class ShownText:
    """A text: what is shown of it, and all of it, or of a very long one much."""

    short: str
    whole: str


TextOf = Callable[[int], ShownText | None]
"""A row's text; None where inputs are none."""


def text_of(inputs: np.ndarray, form: Form | None) -> TextOf:
    """A function from the number of a row to its text.

    Args:
        inputs: raw rows; of texts uint8 (n, width).
        form: what they mean.
    """
    if not isinstance(form, TextForm):
        return no_text

    def of(row: int) -> ShownText:
        text = " ".join(unpacked(inputs[row : row + 1])[0].replace(BETWEEN, BETWEEN_SHOWN).split())
        return ShownText(_cut(text, SHOWN), _cut(text, WHOLE))

    return of


def no_text(row: int) -> ShownText | None:
    """Of inputs that are no texts."""
    return None


def _cut(text: str, most: int) -> str:
    """Its beginning, to the last word that has room, with an ellipsis."""
    if len(text) <= most:
        return text
    head = text[: most - 1]
    words, _, rest = head.rpartition(" ")
    return f"{words if words and len(rest) < most // 4 else head}…"
