"""Synthetic texts: the words of a text replaced, left out and cut short, for a teacher to label."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from limbeck.data.part import Part
from limbeck.data.texts import BETWEEN, unpacked
from limbeck.data.views import uniform_draws

_OF_A_TEXT = 4  # numbers drawn for each text of a pair: whether it is cut, to what length, and where; one is not in use
_OF_A_WORD = 3  # and for each word: whether it is replaced, by which, and whether it is left out
_BLOCK = 256  # texts whose numbers are drawn together

_words: weakref.WeakKeyDictionary[Part, tuple[list[str], int]] = weakref.WeakKeyDictionary()


def reworded(
    part: Part, rows: npt.NDArray[np.int64], *, view: int, seed: int, replace: float, drop: float, span: float
) -> npt.NDArray[np.uint8]:
    """Texts, or pairs of texts, with their words altered: each a function of the part and of (seed, view, row id).

    A run of words is cut out, at least half of them; then each word is left out, or else replaced by one drawn from all
    that the part has, a frequent one more often (after Tang et al. 2019, Distilling task-specific knowledge from BERT
    into simple neural networks, and Wei and Zou 2019, EDA). Words are what stands between spaces; one at
    least is left.

    Args:
        part: the texts.
        rows: places of rows in it, shape (m,).
        view: above 0.
        seed: 0 to 2⁶⁴ − 1.
        replace: the probability with which a word is replaced.
        drop: that with which it is left out.
        span: that with which only a run of a text's words is kept.

    Returns:
        uint8 of shape (m, width), as wide as the part's: of a longer text the last words are left out.
    """
    bag, most = _all_words(part)
    width = part.inputs.shape[1]
    made = np.zeros((len(rows), width), np.uint8)
    per_row = -(-(2 * _OF_A_TEXT + most * _OF_A_WORD) // 4) * 4
    for start in range(0, len(rows), _BLOCK):
        some = rows[start : start + _BLOCK]
        drawn = (uniform_draws(part.ids[some], view, seed, per_row) + 1) / 2
        for place, (text, numbers) in enumerate(zip(unpacked(part.inputs[some]), drawn, strict=True), start):
            texts, begin = [], 2 * _OF_A_TEXT
            for which, one in enumerate(text.split(BETWEEN, 1)):
                words = one.split()
                end = begin + len(words) * _OF_A_WORD
                cut = numbers[which * _OF_A_TEXT : (which + 1) * _OF_A_TEXT]
                texts.append(_altered(words, bag, cut, numbers[begin:end].reshape(-1, _OF_A_WORD), replace, drop, span))
                begin = end
            encoded = _shortened(texts, width)
            made[place, : len(encoded)] = np.frombuffer(encoded, np.uint8)
    return made


def _altered(
    words: Sequence[str],
    bag: Sequence[str],
    cut: npt.NDArray[np.float64],
    drawn: npt.NDArray[np.float64],
    replace: float,
    drop: float,
    span: float,
) -> list[str]:
    first, stop = 0, len(words)
    if cut[0] < span:
        least = -(-len(words) // 2)
        count = least + int(cut[1] * (len(words) - least + 1))
        first = int(cut[2] * (len(words) - count + 1))
        stop = first + count
    found = [
        bag[int(which * len(bag))] if chance < replace else word
        for word, (chance, which, gone) in zip(words[first:stop], drawn[first:stop], strict=True)
        if gone >= drop
    ]
    return found or list(words[first : first + 1])


def _shortened(texts: list[list[str]], width: int) -> bytes:
    """A text, or a pair, in so many bytes at most: the longer one loses its last words."""
    while True:
        encoded = BETWEEN.join(map(" ".join, texts)).encode()
        if len(encoded) <= width:
            return encoded
        longest = max(texts, key=lambda words: len(" ".join(words)))
        if len(longest) == 1:  # a word that took the place of a short one
            return encoded[:width].decode(errors="ignore").encode()
        longest.pop()


def _all_words(part: Part) -> tuple[list[str], int]:
    """All words of a part, in order, and how many the longest row has. Kept as long as the part is."""
    if part not in _words:
        by_row = [text.replace(BETWEEN, " ").split() for text in unpacked(part.inputs)]
        _words[part] = [word for words in by_row for word in words], max(map(len, by_row), default=0)
    return _words[part]
