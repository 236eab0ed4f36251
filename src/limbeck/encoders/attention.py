"""Attention for training in bfloat16 on a processor, where the fused kernel is slow, and with dropout not used."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

FUSED = "sdpa"
TRAINED = "limbeck-trained"
"""What the library transformers calls its attention by PyTorch's fused kernel, and what it is told to call this one."""


@contextlib.contextmanager
def fast_way_back(network: Any) -> Iterator[None]:
    """Within it a network of the library transformers that is being trained attends by `attention`.

    Its config has another attention only as long: whoever saves, copies or pickles the network finds it as it was.
    """
    config = network.config
    if not (network.training and torch.is_autocast_enabled("cpu") and config._attn_implementation == FUSED):
        yield
        return
    _register()
    config._attn_implementation = TRAINED
    try:
        yield
    finally:
        config._attn_implementation = FUSED


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(TRAINED, attention)
    AttentionMaskInterface.register(TRAINED, sdpa_mask)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, None]:
    """As transformers' own for the fused kernel, but in the way that is fastest in bfloat16 on a processor.

    With dropout PyTorch does not use the kernel there at all: attention is written out, with the dropout of
    `ByteDropout`. With a gradient to come, the kernel's way back takes long in bfloat16: it computes in float32. Both
    are measured in `benchmarks/encoders.py`.

    Args:
        module: the layer.
        query: (batch, heads, tokens, width of a head), as are key and value.
        key: see query.
        value: see query.
        attention_mask: (batch, 1, tokens, tokens) or what is spread to it; bool, or of floats to be added. None where
            nothing is left out.
        dropout: of the weights.
        others: passed on.

    Returns:
        (batch, tokens, heads, width of a head), in the query's format, and None for the weights, which the kernel does
        not give away.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    three = query, key, value
    slow = query.device.type == "cpu" and query.dtype == torch.bfloat16 and any(one.requires_grad for one in three)
    if dropout:
        return _written_out(query, key, value, attention_mask, dropout, others.get("scaling")), None
    if not slow:
        plain, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **others)
        return plain, None
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    with torch.autocast("cpu", enabled=False):
        found, _ = sdpa_attention_forward(module, *(one.float() for one in three), attention_mask, **others)
    return found.to(query.dtype), None


def _written_out(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, scaling: float | None
) -> Tensor:
    """Attention by two matrix products, some of the weights dropped between them; shapes as `attention` has them."""
    from limbeck.models.dropout import dropped_by_bytes, in_256  # models that attend by this are beside it

    weights = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.transpose(2, 3)
    if mask is not None:
        lowest = torch.finfo(weights.dtype).min
        weights = weights + mask if mask.is_floating_point() else weights.masked_fill(~mask, lowest)
    return (dropped_by_bytes(weights.softmax(dim=-1), in_256(dropout)) @ value).transpose(1, 2).contiguous()
