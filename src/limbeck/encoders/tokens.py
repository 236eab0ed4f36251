"""Texts as an encoder is fed with them: ids of pieces, a mask, and the types of a pair's two halves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from limbeck.data.texts import BETWEEN
from limbeck.encoders.library import need_transformers
from limbeck.errors import LimbeckError, UsageError
from limbeck.quiet import quiet

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

MEMO_BYTES = 64 * 2**20
"""About how much memory the ids of texts already met may take; texts met after that are encoded each time."""

CHUNK = 4096
"""Rows that are encoded at once where a whole part is looked through."""

_ROUNDED_UP = 128  # pieces, or a hundredth of them: what a model may have beyond those of its tokenizer
_VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)

NO_LIMIT = 10**6
"""What a tokenizer's configuration says of texts' length is a limit only below this: without one, it says 10^30."""


class Encoded(NamedTuple):
    """A batch of texts for a model.

    Attributes:
        ids: int64 of shape (batch, tokens), filled up at the end with the padding's id.
        mask: bool of shape (batch, tokens), True where there is a token.
        types: int64 of shape (batch, tokens), 1 for a pair's second half; None where the model has no such types.
    """

    ids: Tensor
    mask: Tensor
    types: Tensor | None


class _Kept(NamedTuple):
    """One text's ids, and its types where they are not all zero."""

    ids: npt.NDArray[np.int32]
    types: npt.NDArray[np.uint8] | None


class TextTokens:
    """A tokenizer with what its model needs around it; texts are rows of bytes, as `limbeck.data.texts` packs them.

    Attributes:
        tokenizer: the `tokenizers.Tokenizer`, cutting at `max_length`.
        names: which token is the "pad_token", "mask_token", "cls_token" and so on.
        max_length: tokens to which a text or pair is cut, those at its ends among them.
        with_types: whether batches carry types.
        pad_id: the id that fills up short texts.
        mask_id: the id of the mask; None where there is none.
        vocabulary_size: the highest id and one.
        special_ids: the ids that stand for no text.
    """

    def __init__(self, tokenizer: Tokenizer, names: Mapping[str, str], max_length: int, with_types: bool) -> None:
        """Takes the tokenizer over and sets its limit.

        Args:
            tokenizer: its own padding and limit do not matter.
            names: special tokens by their part, "pad_token" among them.
            max_length: tokens.
            with_types: whether the model takes types of tokens.

        Raises:
            LimbeckError: there is no token for padding.
            UsageError: no token of a text fits into the limit.
        """
        room = tokenizer.num_special_tokens_to_add(True)
        if max_length <= room:
            raise UsageError(f"texts cut to {max_length} tokens: {room} of them are marks, so ask for more")
        self.tokenizer = tokenizer
        self.names = dict(names)
        self.max_length = max_length
        self.with_types = with_types
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length)
        vocabulary = tokenizer.get_vocab(with_added_tokens=True)
        pad_id = vocabulary.get(self.names.get("pad_token", ""))
        if pad_id is None:
            raise LimbeckError(
                "the tokenizer has no token for padding: name one of its tokens as pad_token in tokenizer_config.json"
            )
        self.pad_id = pad_id
        self.mask_id = vocabulary.get(self.names.get("mask_token", ""))
        self.vocabulary_size = max(vocabulary.values()) + 1
        added = tokenizer.get_added_tokens_decoder()
        self.special_ids = {number for number, token in added.items() if token.special}
        self.special_ids |= {vocabulary[name] for name in self.names.values() if name in vocabulary}
        self._forget()

    @classmethod
    def read(cls, folder: Path, max_length: int | None = None, positions: int | None = None) -> Self:
        """The tokenizer in a Hugging Face folder, as `AutoTokenizer` understands it; no code of the folder runs.

        Args:
            folder: with tokenizer.json, or vocab.txt, or vocab.json and merges.txt.
            max_length: tokens to which texts are cut; None for as many as the tokenizer and the positions allow.
            positions: tokens that the model has places for; None where it has no limit.

        Raises:
            LimbeckError: transformers is missing, or the folder has no tokenizer that can be read.
            UsageError: `max_length` is more than the positions, or less than the marks at the ends take.
        """
        if max_length is not None and positions is not None and max_length > positions:
            raise UsageError(f"texts cut to {max_length} tokens: the model has {positions} positions, ask for no more")
        need_transformers("reading a tokenizer")
        if not any((folder / name).is_file() for name in _VOCABULARIES):
            raise LimbeckError(
                f"{folder} has no tokenizer ({', '.join(_VOCABULARIES)}): put the model's tokenizer.json there"
            )
        from transformers import AutoTokenizer

        try:
            # Given a folder that exists, it asks no hub; a class of its own in the folder is refused.
            with quiet():
                found: Any = AutoTokenizer.from_pretrained(
                    folder, use_fast=True, local_files_only=True, trust_remote_code=False
                )
                backend = found.backend_tokenizer
        except Exception as error:
            # Its errors are of every kind, from OSError to the Rust library's bare Exception.
            reason = " ".join(str(error).split())[:160]
            raise LimbeckError(
                f"{folder} has no tokenizer that can be read ({type(error).__name__}: {reason}): "
                "put the model's tokenizer.json there"
            ) from None
        limits = [limit for limit in (positions, found.model_max_length) if limit is not None and limit < NO_LIMIT]
        if max_length is None and not limits:
            raise UsageError(f"{folder} says nowhere how long texts may be: give the number of tokens to cut them to")
        names = {name: str(token) for name, token in found.special_tokens_map.items() if isinstance(token, str)}
        length = int(min(limits)) if max_length is None else max_length
        return cls(backend, names, length, "token_type_ids" in found.model_input_names)

    def with_vocabulary(self, tokenizer_json: Mapping[str, Any]) -> TextTokens:
        """The same settings with another tokenizer, given as tokenizer.json's content."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(json.dumps(tokenizer_json, ensure_ascii=False))
        return TextTokens(tokenizer, self.names, self.max_length, self.with_types)

    def like(self, max_length: int | None = None, with_types: bool | None = None) -> TextTokens:
        """The same tokenizer with another limit, or for a model that takes types of tokens, or does not."""
        length = self.max_length if max_length is None else max_length
        return TextTokens(self.uncut(), self.names, length, self.with_types if with_types is None else with_types)

    def encode(
        self, rows: Tensor | npt.NDArray[np.uint8], pairs: bool = False, device: torch.device | None = None
    ) -> Encoded:
        """A batch, padded to its longest text, cut to `max_length` (of a pair, the longer half first), with its marks.

        Args:
            rows: uint8 of shape (batch, width).
            pairs: whether the rows hold pairs.
            device: where the batch is wanted; the processor by default.

        Returns:
            Tensors there. The ids of up to `MEMO_BYTES` of texts are kept for the next time.
        """
        texts = self._met(_bytes_of(rows), pairs)
        return self._batch(texts, device)

    def lengths(self, rows: Tensor | npt.NDArray[np.uint8], pairs: bool = False) -> npt.NDArray[np.int64]:
        """How many tokens each text becomes, marks and cuts reckoned in: shape (n,). The texts are remembered."""
        found: list[int] = []
        for start in range(0, len(rows), CHUNK):
            found += [len(text.ids) for text in self._met(_bytes_of(rows[start : start + CHUNK]), pairs)]
        return np.array(found, np.int64)

    def truncated_count(self, rows: Tensor | npt.NDArray[np.uint8], pairs: bool = False) -> int:
        """How many of these texts, uint8 of shape (n, width), are longer than `max_length`, and so cut."""
        chunks = (_bytes_of(rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK))
        return sum(bool(found.overflowing) for keys in chunks for found in self._encodings(keys, pairs))

    def piece_counts(self, rows: Tensor | npt.NDArray[np.uint8], pairs: bool = False) -> npt.NDArray[np.int64]:
        """How often each piece occurs in these whole texts, uncut and without marks: shape (vocabulary_size,)."""
        whole, counts = self.uncut(), np.zeros(self.vocabulary_size, np.int64)
        for start in range(0, len(rows), CHUNK):
            texts = [key.decode(errors="replace") for key in _bytes_of(rows[start : start + CHUNK])]
            halves = [half for text in texts for half in text.split(BETWEEN)] if pairs else texts
            found = [encoding.ids for encoding in whole.encode_batch_fast(halves, add_special_tokens=False)]
            counts += np.bincount(list(chain.from_iterable(found)), minlength=self.vocabulary_size)
        return counts

    def uncut(self) -> Tokenizer:
        """A tokenizer like this one that neither cuts nor pads."""
        from tokenizers import Tokenizer

        return Tokenizer.from_str(self.to_json_text())

    def to_json_text(self) -> str:
        """What tokenizer.json holds, without a limit and without padding: those are the caller's."""
        content = json.loads(self.tokenizer.to_str())
        content["truncation"] = content["padding"] = None
        return json.dumps(content, ensure_ascii=False)

    def config(self) -> dict[str, Any]:
        """What tokenizer_config.json holds beside it, so that `AutoTokenizer` takes tokenizer.json as it stands."""
        inputs = ["input_ids", *(["token_type_ids"] if self.with_types else []), "attention_mask"]
        return {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": self.max_length,
            "model_input_names": inputs,
            **dict(sorted(self.names.items())),
        }

    def fits(self, config: Any) -> None:
        """Checks that tokenizer and model belong together, as far as their numbers show it.

        Args:
            config: the model's, with `vocab_size` and `pad_token_id`.

        Raises:
            LimbeckError: they do not.
        """
        rows, mend = int(config.vocab_size), "take both from one folder"
        apart = "tokenizer and model do not belong together"
        if self.vocabulary_size > rows:
            raise LimbeckError(
                f"{apart}: the tokenizer has {self.vocabulary_size} pieces, the model knows {rows}: {mend}"
            )
        # Models round their vocabulary up to a handy number, but by no more.
        if rows - self.vocabulary_size > max(_ROUNDED_UP, rows // 100):
            raise LimbeckError(
                f"{apart}: the tokenizer has only {self.vocabulary_size} pieces of the model's {rows}: {mend}"
            )
        pad_id = getattr(config, "pad_token_id", None)
        if pad_id is not None and pad_id != self.pad_id:
            raise LimbeckError(
                f"{apart}: padding is {self.pad_id} to the tokenizer "
                f"and {pad_id} to the model: {mend}, or mend pad_token_id in config.json"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_memo")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._memo: tuple[dict[bytes, _Kept], dict[bytes, _Kept]] = ({}, {})
        self._memo_left = MEMO_BYTES

    def _met(self, keys: list[bytes], pairs: bool) -> list[_Kept]:
        """Each of these texts, remembered from before or encoded and, while there is room, remembered."""
        memo = self._memo[pairs]
        missing = [key for key in dict.fromkeys(keys) if key not in memo]
        fresh = {key: self._kept(found) for key, found in zip(missing, self._encodings(missing, pairs), strict=True)}
        for key, kept in fresh.items():
            cost = len(key) + 5 * len(kept.ids) + 400
            if self._memo_left < cost:
                break
            self._memo_left -= cost
            memo[key] = kept
        return [memo.get(key) or fresh[key] for key in keys]

    def _encodings(self, keys: list[bytes], pairs: bool) -> list[Encoding]:
        texts: list[Any] = [key.decode(errors="replace") for key in keys]
        if pairs:
            texts = [(one, two) for one, _, two in (text.partition(BETWEEN) for text in texts)]
        return self.tokenizer.encode_batch_fast(texts) if texts else []

    def _kept(self, encoding: Encoding) -> _Kept:
        types = np.array(encoding.type_ids, np.uint8) if self.with_types else None
        ids = np.array(encoding.ids, np.int32)
        return _Kept(ids, types if types is not None and types.any() else None)

    def _batch(self, texts: list[_Kept], device: torch.device | None) -> Encoded:
        lengths = np.array([len(text.ids) for text in texts], np.int64)
        shape = (len(texts), int(lengths.max(initial=0)))
        ids = np.full(shape, self.pad_id, np.int64)
        types = np.zeros(shape, np.int64) if self.with_types else None
        for number, text in enumerate(texts):
            ids[number, : len(text.ids)] = text.ids
            if types is not None and text.types is not None:
                types[number, : len(text.types)] = text.types
        mask = np.arange(shape[1]) < lengths[:, None]
        return Encoded(
            torch.from_numpy(ids).to(device),
            torch.from_numpy(mask).to(device),
            None if types is None else torch.from_numpy(types).to(device),
        )


def _bytes_of(rows: Tensor | npt.NDArray[np.uint8]) -> list[bytes]:
    """Each row without the zero bytes that fill it up."""
    array = rows.cpu().numpy() if isinstance(rows, Tensor) else np.asarray(rows)
    width, content = array.shape[1], array.tobytes()
    return [content[start : start + width].rstrip(b"\0") for start in range(0, len(content), width)]
