"""Synthetic texts: the words of a text replaced, left out and cut short, for a teacher to label."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from limbeck.data.part import Part
from limbeck.data.texts import BETWEEN, byte_lengths, unpacked
from limbeck.data.views import uniform_draws

_OF_A_TEXT = 3  # numbers drawn for each text of a pair: whether it is cut, to what length, and where
_OF_A_WORD = 3  # and for each word: whether it is replaced, by which, and whether it is left out
_BLOCK = 256  # texts whose numbers are drawn together


@dataclass(frozen=True)
class _Bag:
    """All words of a part, in order: their codes, and the different ones; of its longest row, the words and bytes."""

    codes: npt.NDArray[np.int32]
    different: list[str]
    most_words: int
    most_bytes: int

    def at(self, share: float) -> str:
        """The word after this share of all of them, from 0 to below 1."""
        return self.different[int(self.codes[int(share * len(self.codes))])]


_bags: weakref.WeakKeyDictionary[Part, _Bag] = weakref.WeakKeyDictionary()


def reworded(
    part: Part, rows: npt.NDArray[np.int64], *, view: int, seed: int, replace: float, drop: float, span: float
) -> npt.NDArray[np.uint8]:
    """Texts, or pairs of texts, with their words altered: each a function of the part and of (seed, view, row id).

    A run of words is cut out, at least half of them; then each word is left out, or else replaced by one drawn from all
    that the part has, a frequent one more often (after Tang et al. 2019, Distilling task-specific knowledge from BERT
    into simple neural networks, and Wei and Zou 2019, EDA). Words are what stands between white space, of which a
    single space is left; one word at least of each text stays, or what replaces it.

    Args:
        part: the texts.
        rows: places of rows in it, shape (m,).
        view: above 0.
        seed: 0 to 2⁶⁴ − 1.
        replace: the probability with which a word is replaced.
        drop: that with which it is left out.
        span: that with which only a run of a text's words is kept.

    Returns:
        uint8 of shape (m, width), as wide as the part's, and no longer than its longest text: the last words of a
        longer one are left out.
    """
    bag = _bag_of(part)
    made = np.zeros((len(rows), part.inputs.shape[1]), np.uint8)
    per_row = -(-(2 * _OF_A_TEXT + bag.most_words * _OF_A_WORD) // 4) * 4
    for start in range(0, len(rows), _BLOCK):
        some = rows[start : start + _BLOCK]
        drawn = (uniform_draws(part.ids[some], view, seed, per_row) + 1) / 2
        for place, (text, numbers) in enumerate(zip(unpacked(part.inputs[some]), drawn.tolist(), strict=True), start):
            begin, before, after = 2 * _OF_A_TEXT, [], []
            for which, one in enumerate(text.split(BETWEEN, 1)):
                words = one.split()
                end = begin + len(words) * _OF_A_WORD
                cut = numbers[which * _OF_A_TEXT : (which + 1) * _OF_A_TEXT]
                before.append(words)
                after.append(_altered(words, bag, cut, numbers[begin:end], replace, drop, span))
                begin = end
            encoded = _shortened(after, before, bag.most_bytes)
            made[place, : len(encoded)] = np.frombuffer(encoded, np.uint8)
    return made


def _altered(
    words: Sequence[str],
    bag: _Bag,
    cut: Sequence[float],
    drawn: Sequence[float],
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
    found = []
    for place in range(first, stop):
        chance, which, gone = drawn[place * _OF_A_WORD : (place + 1) * _OF_A_WORD]
        if gone >= drop:
            found.append(bag.at(which) if chance < replace else words[place])
    return found or list(words[first : first + 1])


def _shortened(texts: list[list[str]], before: list[list[str]], most: int) -> bytes:
    """A text, or a pair, in so many bytes at most: the longer one loses its last words, and a single word is kept."""
    while len(encoded := BETWEEN.join(map(" ".join, texts)).encode()) > most:
        longest = max(texts, key=lambda words: len(" ".join(words).encode()) if len(words) > 1 else 0)
        if len(longest) <= 1:  # the words before, one of each text, fit
            return BETWEEN.join(" ".join(words[:1]) for words in before).encode()
        longest.pop()
    return encoded


def _bag_of(part: Part) -> _Bag:
    """Kept as long as the part is."""
    if part not in _bags:
        different: dict[str, int] = {}
        codes: list[npt.NDArray[np.int32]] = []
        most = 0
        for start in range(0, len(part), _BLOCK):
            for text in unpacked(part.inputs[start : start + _BLOCK]):
                words = text.replace(BETWEEN, " ").split()
                most = max(most, len(words))
                codes.append(np.array([different.setdefault(word, len(different)) for word in words], np.int32))
        longest = int(byte_lengths(part.inputs).max(initial=0))
        _bags[part] = _Bag(np.concatenate([np.zeros(0, np.int32), *codes]), list(different), most, longest)
    return _bags[part]
