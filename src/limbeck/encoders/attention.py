"""Attention by PyTorch's fused kernel, in the format in which a processor is fast at it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

ATTENTION = "limbeck"
"""What networks are told to attend by, in the library transformers' register of such functions."""


def registered() -> str:
    """`ATTENTION`, after it is known to the library transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    return ATTENTION


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, None]:
    """As transformers' own for the fused kernel; on a processor, what has a gradient to come is computed in float32.

    The kernel's way back in bfloat16 takes up to ten times as long there as in float32. With dropout the kernel is
    not used, and it makes no difference.

    Args:
        module: the layer.
        query: (batch, heads, tokens, width of a head), as are key and value.
        key: see query.
        value: see query.
        attention_mask: bool, (batch, 1, tokens, tokens) or one that is spread to it; None where nothing is left out.
        dropout: of the weights.
        others: passed on.

    Returns:
        (batch, tokens, heads, width of a head), in the query's format, and None for the weights, which nobody sees.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    slow = query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.requires_grad and not dropout
    if not slow:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout=dropout, **others)
    with torch.autocast("cpu", enabled=False):
        found, _ = sdpa_attention_forward(module, query.float(), key.float(), value.float(), attention_mask, **others)
    return found.to(query.dtype), None
