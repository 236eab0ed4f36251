"""Texts as rows of tokens for masked-language modelling: long ones in pieces, short ones alone or joined."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from limbeck.data import Part, TextForm
from limbeck.data.texts import BETWEEN, unpacked
from limbeck.encoders.tokens import TextTokens
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import content_digest

_CHUNK = 2048  # texts whose tokens are made in one go

_Key = tuple[int, int]


class TokenRows:
    """Rows of tokens in memory, four bytes for each token.

    Attributes:
        flat: the tokens of all rows, one row after the other, marks included, int32 of shape (tokens,).
        starts: where each row begins in it, and at last its end, int64 of shape (rows + 1,).
        keys: what each row is known by, int64 of shape (rows, 2): the id of the text it begins with, and which of
            that text's pieces, counted from 0.
        left_out: rows that hold nothing to predict (empty texts, for the most part), and are not here.
        tokens: the tokenizer that made them.
    """

    def __init__(
        self,
        flat: npt.NDArray[np.int32],
        starts: npt.NDArray[np.int64],
        keys: npt.NDArray[np.int64],
        left_out: int,
        tokens: TextTokens,
    ) -> None:
        self.flat, self.starts, self.keys, self.left_out, self.tokens = flat, starts, keys, left_out, tokens
        self.lengths: npt.NDArray[np.int64] = np.diff(starts)

    @classmethod
    def of(cls, texts: Part, tokens: TextTokens, max_length: int, *, packed: bool = False) -> TokenRows:
        """The rows of a part's texts, each once between the tokenizer's marks ([CLS] … [SEP]); nothing is cut off.

        Alone, a text that is too long becomes as few pieces as will do, of the same length up to one token. Packed,
        it becomes pieces of full length and what is left over; texts and left-overs are joined with the ones that
        follow, the end mark between them, while there is room: an encoder then sees several texts at once, as RoBERTa
        did, and little is filled up. A pair of texts is one text here.

        Args:
            texts: its form is `TextForm`.
            tokens: the tokenizer.
            max_length: tokens in a row, the marks among them.
            packed: whether short texts are joined.

        Raises:
            LimbeckError: there is nothing to predict in any text, or the tokenizer puts no marks around a text.
            UsageError: the marks leave no room, or the part holds no texts.
        """
        if not isinstance(texts.form, TextForm):
            raise UsageError(f'part "{texts.name}" holds no texts: give one whose form is TextForm')
        tokenizer = tokens.uncut()
        tokenizer.encode_special_tokens = True  # "[MASK]" that stands in a text is spelled, and masks nothing
        marks = tokenizer.encode("").ids
        if len(marks) != 2:
            raise LimbeckError(
                f"the tokenizer puts {len(marks)} marks around a text, expected one before and one after, as BERT, "
                "RoBERTa and DistilBERT have them: take the tokenizer of such a model"
            )
        begin, end = marks
        room = max_length - 2
        if room < 1:
            raise UsageError(f"max_length = {max_length}: two of these tokens are marks, so set it to 3 or more")

        def encoded() -> Iterator[tuple[int, list[int]]]:
            for start in range(0, len(texts), _CHUNK):
                some = [text.replace(BETWEEN, " ") for text in unpacked(texts.inputs[start : start + _CHUNK])]
                found = tokenizer.encode_batch_fast(some, add_special_tokens=False)
                for number, encoding in zip(texts.ids[start : start + _CHUNK].tolist(), found, strict=True):
                    yield number, encoding.ids

        pieces = _pieces(encoded(), room, even=not packed)
        flat, starts, keys, left_out = array("i"), array("q", [0]), array("q"), 0
        for key, ids in _joined(pieces, room, end) if packed else pieces:
            if tokens.special_ids.issuperset(ids):
                left_out += 1
                continue
            flat.append(begin)
            flat.extend(ids)
            flat.append(end)
            starts.append(len(flat))
            keys.extend(key)
        if not keys:
            raise LimbeckError(
                f'part "{texts.name}" ({len(texts)} texts) has no token that could be predicted: give texts with words'
            )
        return cls(
            np.frombuffer(flat, np.int32),
            np.frombuffer(starts, np.int64),
            np.frombuffer(keys, np.int64).reshape(-1, 2),
            left_out,
            tokens,
        )

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over the rows and what they are known by."""
        return content_digest({"flat": self.flat, "starts": self.starts, "keys": self.keys}, {})

    def counts(self, vocabulary: int) -> npt.NDArray[np.int64]:
        """How often each token occurs, shape (vocabulary,)."""
        return np.bincount(self.flat, minlength=vocabulary).astype(np.int64, copy=False)

    def padded(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The tokens of these rows, filled up to the longest of them: shape (rows, tokens)."""
        lengths = self.lengths[rows]
        inside = np.arange(int(lengths.max(initial=0))) < lengths[:, None]
        ids = np.full(inside.shape, self.tokens.pad_id, np.int64)
        places = self.starts[rows][:, None] + np.arange(inside.shape[1])
        ids[inside] = self.flat[places[inside]]
        return ids


def _pieces(texts: Iterator[tuple[int, list[int]]], room: int, *, even: bool) -> Iterator[tuple[_Key, list[int]]]:
    """Texts in pieces of at most `room` tokens; an empty one is one empty piece."""
    for number, ids in texts:
        count = max(1, -(-len(ids) // room))
        for piece in range(count):
            if even:
                bounds = slice(len(ids) * piece // count, len(ids) * (piece + 1) // count)
            else:
                bounds = slice(room * piece, room * (piece + 1))
            yield (number, piece), ids[bounds]


def _joined(pieces: Iterator[tuple[_Key, list[int]]], room: int, end: int) -> Iterator[tuple[_Key, list[int]]]:
    """Pieces joined with those that follow, in order, the end mark between them."""
    key: _Key | None = None
    row: list[int] = []
    for next_key, ids in pieces:
        if key is not None and len(row) + 1 + len(ids) <= room:
            if ids:
                row = [*row, end, *ids] if row else ids
            continue
        if key is not None:
            yield key, row
        key, row = next_key, ids
    if key is not None:
        yield key, row
