"""Attention for training in bfloat16 on a processor, where the fused kernel's way back is slow in that format."""

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
    """As transformers' own for the fused kernel, but in float32 where that is faster.

    That is on a processor, from bfloat16, with a gradient to come and without dropout: the kernel's way back in
    bfloat16 is what takes long (`benchmarks/encoders.py`). With dropout PyTorch does not use the kernel at all.

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
    if not slow or dropout:
        plain, _ = sdpa_attention_forward(module, query, key, value, attention_mask, dropout=dropout, **others)
        return plain, None
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    with torch.autocast("cpu", enabled=False):
        found, _ = sdpa_attention_forward(module, *(one.float() for one in three), attention_mask, **others)
    return found.to(query.dtype), None
