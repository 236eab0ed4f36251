"""Which floating-point format a model computes in: a fixed rule by model and hardware, never a timing."""

from __future__ import annotations

import contextlib
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]

# Kinds of model for which benchmarks/ show that bfloat16 gains where the processor multiplies it natively.
GAINS_FROM_BFLOAT16 = frozenset({"mlp", "convnet", "soft-tree", "encoder"})


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 natively (AVX-512 BF16 or AMX); elsewhere it is emulated, slowly."""
    flags = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, flag, lambda: False)()) for flag in flags)


def resolve_precision(setting: str, kind: str | None) -> Precision:
    """The precision for a setting and a kind of model (None: a module of one's own, which stays in float32).

    Two runs with the same setting on the same kind of hardware resolve alike, so that their bytes are equal;
    what was resolved is written into plan.json, and whoever continues obeys that.
    """
    if setting == "auto":
        return "bfloat16" if kind in GAINS_FROM_BFLOAT16 and has_bfloat16() else "float32"
    return "bfloat16" if setting == "bfloat16" else "float32"


def autocast(precision: Precision) -> contextlib.AbstractContextManager[object]:
    """The context in which a forward pass computes in that precision."""
    if precision == "bfloat16":
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return contextlib.nullcontext()
