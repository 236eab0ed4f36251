"""A vocabulary cut to what some texts use, so that it still spells every other text; and the model's rows with it.

Embeddings are half of a small encoder, and most of their rows are words that a task never meets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limbeck.encoders.tokens import TextTokens
from limbeck.encoders.vocabulary_pieces import merges_of, pieces_kept
from limbeck.errors import LimbeckError


@dataclass(frozen=True)
class Trimmed:
    """A vocabulary that was cut.

    Attributes:
        tokenizer_json: tokenizer.json's content; `TextTokens.with_vocabulary` takes it.
        kept: int64 of shape (pieces kept,): the old id of each new one, rising.
        used: how many pieces occur in the texts that it was cut to.
    """

    tokenizer_json: dict[str, Any]
    kept: npt.NDArray[np.int64]
    used: int


def trimmed(tokens: TextTokens, rows: Tensor | npt.NDArray[np.uint8], pairs: bool = False) -> Trimmed:
    """The vocabulary cut to the pieces of these texts, special and added tokens, and what spells all other texts.

    These texts become the same pieces as before. Others become more pieces than before, but none becomes unknown
    that was not, and what they decode to stays the same. "[unused…]" tokens go. Ids are given anew in the old order.

    Args:
        tokens: the tokenizer; it stays as it is.
        rows: uint8 of shape (n, width), texts or pairs; what lies beyond the model's positions counts too.
        pairs: whether the rows hold pairs.

    Raises:
        LimbeckError: the vocabulary is neither WordPiece nor byte-level BPE.
    """
    content = json.loads(tokens.to_json_text())
    model = content["model"]
    # The kind is looked at before all texts are encoded.
    pieces_kept(content, set())
    counts = tokens.piece_counts(rows, pairs)
    vocabulary = tokens.tokenizer.get_vocab(with_added_tokens=True)
    used = {piece for piece, number in vocabulary.items() if counts[number]}
    stays = pieces_kept(content, used)
    stays |= {piece for piece, number in vocabulary.items() if number in tokens.special_ids}
    stays |= {token["content"] for token in content["added_tokens"]}
    stays |= {model["unk_token"]} & vocabulary.keys()
    kept = np.array(sorted({vocabulary[piece] for piece in stays}), np.int64)
    return Trimmed(_rewritten(content, stays, _new_ids(kept)), kept, int((counts > 0).sum()))


def trimmed_config(config: Mapping[str, Any], kept: npt.NDArray[np.int64]) -> dict[str, Any]:
    """The entries of a model's configuration that change with its vocabulary: its size, and the ids of tokens.

    Args:
        config: config.json's content.
        kept: the old id of each new one.

    Returns:
        Those entries alone. A token that is no longer there is None.
    """
    new = _new_ids(kept)
    changed: dict[str, Any] = {"vocab_size": len(kept)}
    for name, value in config.items():
        if name.endswith("_token_id") and isinstance(value, list):
            changed[name] = [new[number] for number in value if number in new]
        elif name.endswith("_token_id") and value is not None:
            changed[name] = new.get(value)
    return changed


def trim_embeddings(network: nn.Module, kept: npt.NDArray[np.int64]) -> None:
    """Cuts a transformers model's embeddings, and a masked-LM head's rows and bias, to these ids, in place.

    What was one tensor stays one: a head that is tied to the embeddings is tied afterwards. `network.config` is
    brought up to date with `trimmed_config`. Optimisers made before this hold the old tensors.

    Args:
        network: of the types BERT, RoBERTa or DistilBERT, with a head or without.
        kept: int64 of shape (pieces kept,), rising: the old id of each new one.

    Raises:
        LimbeckError: there are ids that the model does not have; or the padding's row goes, or moves in a RoBERTa,
            which counts its positions from the padding's id.
    """
    model: Any = network
    embeddings = model.get_input_embeddings()
    head = model.get_output_embeddings()
    size = embeddings.num_embeddings
    if len(kept) == 0 or kept[0] < 0 or kept[-1] >= size:
        raise LimbeckError(f"the vocabulary was cut for another model: this one has {size} pieces only")
    padding = embeddings.padding_idx
    new_padding = None if padding is None else _new_ids(kept).get(padding)
    if padding is not None and new_padding is None:
        raise LimbeckError(f"the vocabulary was cut for another model: this one's padding, {padding}, is not in it")
    counts_from_padding = [module for module in network.modules() if getattr(module, "padding_idx", None) is not None]
    if padding != new_padding and any(not isinstance(module, nn.Embedding) for module in counts_from_padding):
        raise LimbeckError(
            f"the padding's id would move from {padding} to {new_padding}, and this model counts positions from it: "
            "leave the vocabulary as it is"
        )
    _cut_rows(network, _rows_of_vocabulary(network, embeddings, head, size), kept)
    embeddings.num_embeddings, embeddings.padding_idx = len(kept), new_padding
    if head is not None:
        head.out_features = len(kept)
    for name, value in trimmed_config(model.config.to_dict(), kept).items():
        setattr(model.config, name, value)


def _rows_of_vocabulary(network: nn.Module, embeddings: nn.Module, head: nn.Module | None, size: int) -> set[int]:
    """The tensors, by identity, that have a row for each piece."""
    owners = [embeddings]
    if head is not None:
        owners.append(head)
        # BERT and RoBERTa keep a second name for the head's bias in the module around it.
        owners += [module for module in network.modules() if any(child is head for child in module.children())]
    found = (parameter for owner in owners for parameter in owner.parameters(recurse=False))
    return {id(parameter) for parameter in found if parameter.shape[0] == size}


def _cut_rows(network: nn.Module, tensors: set[int], kept: npt.NDArray[np.int64]) -> None:
    """Puts a new parameter in the place of each of these, one for one under whatever names it has."""
    new: dict[int, nn.Parameter] = {}
    for module in list(network.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) not in tensors:
                continue
            if id(parameter) not in new:
                rows = parameter.detach()[torch.from_numpy(kept).to(parameter.device)]
                new[id(parameter)] = nn.Parameter(rows, requires_grad=parameter.requires_grad)
            setattr(module, name, new[id(parameter)])


def _rewritten(content: Mapping[str, Any], stays: set[str], new: Mapping[int, int]) -> dict[str, Any]:
    """tokenizer.json's content with these pieces alone, under their new ids."""
    model = dict(content["model"])
    model["vocab"] = {piece: new[number] for piece, number in model["vocab"].items() if piece in stays}
    if "merges" in model:
        model["merges"] = [list(pair) for pair in merges_of(model) if {*pair, "".join(pair)} <= model["vocab"].keys()]
    rewritten = {
        **content,
        "model": model,
        "added_tokens": [{**token, "id": new[token["id"]]} for token in content["added_tokens"]],
        "post_processor": _processor(content["post_processor"], new),
    }
    if content.get("padding") is not None:
        rewritten["padding"] = {**content["padding"], "pad_id": new[content["padding"]["pad_id"]]}
    return rewritten


def _processor(processor: Mapping[str, Any] | None, new: Mapping[int, int]) -> dict[str, Any] | None:
    """A post-processor, which puts the marks around a text, with their new ids."""
    if processor is None:
        return None
    changed = dict(processor)
    if processor["type"] == "Sequence":
        changed["processors"] = [_processor(part, new) for part in processor["processors"]]
    elif processor["type"] == "TemplateProcessing":
        changed["special_tokens"] = {
            name: {**token, "ids": [new[number] for number in token["ids"]]}
            for name, token in processor["special_tokens"].items()
        }
    elif processor["type"] in ("BertProcessing", "RobertaProcessing"):
        for name in ("sep", "cls"):
            token, number = processor[name]
            changed[name] = [token, new[number]]
    return changed


def _new_ids(kept: npt.NDArray[np.int64]) -> dict[int, int]:
    return {int(old): number for number, old in enumerate(kept)}
