"""Which floating-point format a model computes in: a fixed rule by model and hardware, never a timing."""

from __future__ import annotations

import contextlib
from typing import Literal

import torch

from limbeck.devices import whole_float32

Precision = Literal["float32", "bfloat16"]

# Kinds of model that gain from bfloat16 where the hardware multiplies it natively.
GAINS_FROM_BFLOAT16 = frozenset({"mlp", "convnet", "soft-tree", "encoder", "masked-encoder"})


def has_bfloat16(device: torch.device | str = "cpu") -> bool:
    """Whether a device multiplies bfloat16 natively (a processor by AVX-512 BF16 or AMX), and does not emulate it."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.version.hip is not None or torch.cuda.get_device_capability(device)[0] >= 8
    if kind != "cpu":
        return False
    flags = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, flag, lambda: False)()) for flag in flags)


def resolve_precision(setting: str, kind: str | None, device: torch.device | str = "cpu") -> Precision:
    """The precision for a setting, a kind of model (None: a module of one's own, which stays in float32) and a device.

    Two runs with the same setting on the same kind of hardware resolve alike, so that their bytes are equal;
    what was resolved is written into plan.json, and whoever continues obeys that.
    """
    if setting == "auto":
        return "bfloat16" if kind in GAINS_FROM_BFLOAT16 and has_bfloat16(device) else "float32"
    return "bfloat16" if setting == "bfloat16" else "float32"


def autocast(precision: Precision, device: torch.device | str = "cpu") -> contextlib.AbstractContextManager[object]:
    """The context in which a forward pass on a device computes in that precision."""
    if precision == "bfloat16":
        return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)
    if torch.device(device).type == "cuda":
        return whole_float32()
    return contextlib.nullcontext()
