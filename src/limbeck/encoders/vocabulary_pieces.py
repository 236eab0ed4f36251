"""Which pieces of a vocabulary some texts need, and with them every other text that the vocabulary can spell."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from limbeck.errors import LimbeckError

_UNUSED = re.compile(r"\[unused\d+\]")


def pieces_kept(tokenizer_json: Mapping[str, Any], used: set[str]) -> set[str]:
    """The pieces of the model's vocabulary that stay; added tokens are not of it, though they may be in it.

    Args:
        tokenizer_json: tokenizer.json's content, of a WordPiece model or of a byte-level BPE.
        used: the pieces that occur in the texts.

    Raises:
        LimbeckError: it is a vocabulary of another kind.
    """
    model = tokenizer_json["model"]
    outside = {token["content"] for token in tokenizer_json["added_tokens"]}
    if model["type"] == "WordPiece":
        pieces = {piece for piece in model["vocab"] if piece not in outside and not _UNUSED.fullmatch(piece)}
        return wordpieces_kept(pieces, used & pieces, model["continuing_subword_prefix"])
    marked = any(model.get(name) for name in ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"))
    if model["type"] == "BPE" and not marked and _is_byte_level(tokenizer_json.get("pre_tokenizer")):
        return bytepieces_kept(set(model["vocab"]) - outside, used - outside, merges_of(model))
    raise LimbeckError(
        f"a vocabulary of the kind {model['type']} as this tokenizer has it cannot be trimmed: only WordPiece (BERT, "
        "DistilBERT) and byte-level BPE (RoBERTa) can, so leave the vocabulary as it is"
    )


def wordpieces_kept(pieces: set[str], used: set[str], prefix: str) -> set[str]:
    """Of a WordPiece vocabulary: the used pieces, all single characters, and what spells the characters without one.

    A word is cut from the left into the longest pieces that there are, and is unknown as a whole where none fits. So
    with fewer pieces a cut may fall elsewhere; it goes on as long as the next character is a piece by itself. A
    character that occurs only inside longer pieces needs those, and needs the cut before them to fall where it did:
    all that could shift it stays too (`_aligned`). Vocabularies as they are trained have no such characters.

    Args:
        pieces: all of them, without special tokens.
        used: a part of them.
        prefix: what marks a piece inside a word: "##".

    Returns:
        A part of `pieces`. Every word that these spell, it spells; a word made of used pieces only is cut as before.
    """
    inside = {piece[len(prefix) :]: piece for piece in pieces if _is_inside(piece, prefix)}
    first = {piece: piece for piece in pieces if not _is_inside(piece, prefix)}
    stuck = {text for text in inside if any(character not in inside for character in text)}
    kept = set(used)
    kept |= {piece for table in (inside, first) for text, piece in table.items() if len(text) == 1}
    kept |= {inside[text] for text in stuck}
    kept |= {
        piece for piece in first if piece[0] not in first or any(character not in inside for character in piece[1:])
    }
    return _aligned(kept, pieces, stuck, prefix) if stuck else kept


def _aligned(kept: set[str], pieces: set[str], stuck: Iterable[str], prefix: str) -> set[str]:
    """`kept` and the pieces without which a cut that must fall before a piece of `stuck` could be passed over.

    Let the full vocabulary cut before the guarded piece g, and let a kept piece q lie across that cut: q = s + t,
    where t begins as g does or g as t. At its start q lies inside a piece p of the full cut, or p would not be the
    longest; so some beginning of s is an ending of p. If every such p is kept, and guarded in its turn, then the cut
    before p fell as before, p itself was taken, and q could not start inside it.
    """
    endings: dict[str, set[str]] = defaultdict(set)
    for piece in pieces:
        text = piece.removeprefix(prefix) if _is_inside(piece, prefix) else piece
        for start in range(1, len(text)):
            endings[text[start:]].add(piece)
    kept = set(kept)
    guarded: set[str] = set(stuck)
    while True:
        openings = {text[:end] for text in guarded for end in range(1, len(text) + 1)}
        shifting: set[str] = set()
        for piece in kept:
            if not _is_inside(piece, prefix):
                continue
            text = piece[len(prefix) :]
            for cut in range(1, len(text)):
                rest = text[cut:]
                if rest in openings or any(rest[:end] in guarded for end in range(1, len(rest))):
                    for end in range(1, cut + 1):
                        shifting |= endings[text[:end]]
        grown = guarded | {piece.removeprefix(prefix) for piece in shifting if _is_inside(piece, prefix)}
        if shifting <= kept and grown == guarded:
            return kept
        kept |= shifting
        guarded = grown


def bytepieces_kept(pieces: set[str], used: set[str], merges: Iterable[tuple[str, str]]) -> set[str]:
    """Of a byte-level BPE vocabulary: all single bytes, the used pieces, and whatever is merged into these.

    Args:
        pieces: all of them, without special tokens.
        used: a part of them.
        merges: the pairs.
    """
    parts: dict[str, set[str]] = defaultdict(set)
    for pair in merges:
        parts["".join(pair)].update(pair)
    kept = {piece for piece in pieces if len(piece) == 1}
    open_pieces = list(used)
    while open_pieces:
        piece = open_pieces.pop()
        if piece not in kept:
            kept.add(piece)
            open_pieces.extend(parts[piece])
    return kept


def merges_of(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A BPE model's merges; tokenizer.json has them as pairs or, in older files, as texts with a space between."""
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    return [(left, right) for left, right in pairs]


def _is_inside(piece: str, prefix: str) -> bool:
    return piece.startswith(prefix) and len(piece) > len(prefix)


def _is_byte_level(pre_tokenizer: Mapping[str, Any] | None) -> bool:
    if pre_tokenizer is None:
        return False
    parts = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    return any(part["type"] == "ByteLevel" for part in parts)
