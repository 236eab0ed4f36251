"""A classifier of texts as an ONNX graph: from the numbers that its tokenizer makes of texts to logits."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from limbeck.errors import LimbeckError
from limbeck.exporting.tracing import traced
from limbeck.files import sha256_hex
from limbeck.models.encoder import Encoder
from limbeck.models.onnx_texts import IDS, MASK, TYPES

if TYPE_CHECKING:
    from limbeck.encoders.tokens import TextTokens

_TRACED = (3, 7)  # texts and tokens: sizes of one are a special case
_MOST_BYTES = 2_000_000_000  # of a file without others beside it: 2³¹, and room for what is no weight


class _Logits(nn.Module):
    """What is traced: ids, mask and types (batch, tokens), int64, to logits (batch, classes)."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        types = {} if token_type_ids is None else {TYPES: token_type_ids}
        logits: Tensor = self.network(input_ids=input_ids, attention_mask=attention_mask, **types).logits
        return logits.float()


def encoder_graph(model: Encoder) -> Any:
    """An encoder as an ONNX model: `input_ids`, `attention_mask` and, where it has them, `token_type_ids` to `logits`.

    All three are int64 (batch, tokens), with both sizes free.

    Raises:
        LimbeckError: ONNX cannot hold it.
    """
    if 4 * model.parameter_count > _MOST_BYTES:
        raise LimbeckError(
            f"a student that ONNX cannot hold: its {model.parameter_count:,} parameters are more than a file of 2 GB "
            "has room for; give --to huggingface"
        )
    names = [IDS, MASK, *([TYPES] if model.tokens.with_types else [])]
    ids = torch.full(_TRACED, model.tokens.pad_id, dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0  # no mask of ones alone, which might be left out
    network = copy.deepcopy(model.network).cpu()
    # Matrix products and a softmax are what ONNX has; PyTorch's fused attention is the same in more nodes.
    network.set_attn_implementation("eager")
    examples = [ids, mask, torch.zeros_like(ids)][: len(names)]
    return traced(_Logits(network), examples, names, {0: "batch", 1: "tokens"}, model.kind)


def tokenizer_name(path: Path) -> str:
    """What the tokenizer's file beside an ONNX file is called."""
    return f"{path.stem}.tokenizer.json"


def tokenizer_file(tokens: TextTokens) -> bytes:
    """A tokenizer.json that cuts and fills up texts as the model wants it, so that nobody has to be told."""
    tokenizer = tokens.uncut()
    tokenizer.enable_truncation(tokens.max_length)
    tokenizer.enable_padding(pad_id=tokens.pad_id, pad_token=tokens.names["pad_token"])
    return tokenizer.to_str(pretty=False).encode()


def described(model: Encoder, tokenizer: str | None) -> dict[str, Any]:
    """What a file's metadata say of a model of texts beside what they say of any.

    Args:
        model: of texts.
        tokenizer: the name of its tokenizer's file.
    """
    about: dict[str, Any] = {"input_shape": None, "dtype": "int64"}
    if tokenizer is not None:
        about["tokenizer"] = {"file": tokenizer, "sha256": sha256_hex(tokenizer_file(model.tokens))}
    return about
