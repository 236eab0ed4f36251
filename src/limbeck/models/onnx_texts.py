"""Texts for an ONNX file that `limbeck export` made of an encoder: its tokenizer lies beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from limbeck.errors import LimbeckError
from limbeck.files import sha256_hex

if TYPE_CHECKING:
    from limbeck.encoders.tokens import TextTokens

Array = npt.NDArray[Any]

IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"

TOGETHER = 64
"""Texts that are answered for at once: those of about a length."""


def tokenizer_beside(path: Path, about: Mapping[str, Any], inputs: list[str]) -> TextTokens:
    """The tokenizer that a file's metadata name.

    Args:
        path: of the ONNX file.
        about: what it says of itself.
        inputs: the names of what it takes.

    Raises:
        LimbeckError: it names none, as a file of another's does, or the tokenizer is missing, another one, or cannot be
            read.
    """
    named = about.get("tokenizer")
    if not isinstance(named, Mapping) or not all(isinstance(named.get(key), str) for key in ("file", "sha256")):
        raise LimbeckError(
            f"{path} does not say which tokenizer its texts want: export the model by `limbeck export`, or ask its "
            "Hugging Face folder"
        )
    if IDS not in inputs or MASK not in inputs:
        raise LimbeckError(f"{path} takes texts, and has no inputs {IDS} and {MASK}: export it anew")
    beside = path.parent / Path(named["file"]).name
    try:
        content = beside.read_bytes()
    except OSError:
        raise LimbeckError(f"{path} wants its tokenizer, and there is no {beside}: keep them together") from None
    if sha256_hex(content) != named["sha256"]:
        raise LimbeckError(f"{beside} is not the tokenizer that {path} was exported with: export the model anew")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise LimbeckError(f'{path} takes texts, which needs tokenizers: pip install "limbeck[transformers]"') from None
    from limbeck.encoders.tokens import TextTokens

    try:
        tokenizer = Tokenizer.from_str(content.decode())
        limit, filling = tokenizer.truncation, tokenizer.padding
        if limit is None or filling is None:
            raise ValueError("it says nothing of length or padding")
    except Exception as error:  # the library has its bare Exception
        reason = " ".join(str(error).split())[:160]
        raise LimbeckError(f"{beside} cannot be read as a tokenizer ({reason}): export the model anew") from None
    return TextTokens(tokenizer, {"pad_token": filling["pad_token"]}, int(limit["max_length"]), TYPES in inputs)


def text_feeds(tokens: TextTokens, rows: Array, pairs: bool) -> dict[str, Array]:
    """Rows of texts, uint8 (n, width), by the names of a file's inputs: each int64 (n, tokens)."""
    batch = tokens.encode(rows, pairs)
    found = {IDS: batch.ids, MASK: batch.mask.long()}
    if batch.types is not None:
        found[TYPES] = batch.types
    return {name: tensor.cpu().numpy() for name, tensor in found.items()}


def by_length(tokens: TextTokens, rows: Array, pairs: bool) -> Iterator[Array]:
    """The places of rows in batches of `TOGETHER`, the shortest texts first."""
    order = np.argsort(tokens.lengths(rows, pairs), kind="stable")
    for start in range(0, len(order), TOGETHER):
        yield order[start : start + TOGETHER]
