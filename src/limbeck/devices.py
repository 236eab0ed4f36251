"""Where a model computes: on a GPU where PyTorch finds one, else on the processor; a fixed rule, never a timing."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from contextvars import ContextVar
from itertools import chain

import torch
from torch import nn

from limbeck.errors import UsageError

AUTO, CPU = "auto", "cpu"

# Kinds of model that a GPU computes; trees of every kind stay on the processor.
ON_GPU = frozenset({"mlp", "convnet", "encoder", "masked-encoder"})

_asked: ContextVar[str] = ContextVar("device", default=AUTO)


def check_device(name: str) -> str:
    """A device's name as PyTorch has it in full: "auto", "cpu", or "cuda:0" and so on.

    Raises:
        UsageError: it is no such name, or this machine has no such GPU.
    """
    if name in (AUTO, CPU):
        return name
    if not re.fullmatch(r"cuda(:\d{1,3})?", name):
        raise UsageError(f'device = "{name}": expected auto, cpu, cuda, or cuda:1 for the second GPU')
    number, count = int(name.partition(":")[2] or 0), gpu_count()
    if number >= count:
        found = "no GPU" if not count else f"GPUs up to cuda:{count - 1}"
        built = "" if torch.version.cuda or torch.version.hip else " (built for processors)"
        raise UsageError(
            f'device = "{name}": PyTorch {torch.__version__}{built} finds {found} here: choose cpu or auto'
        )
    return f"cuda:{number}"


def gpu_count() -> int:
    """How many GPUs PyTorch can compute on."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


@contextlib.contextmanager
def using_device(name: str) -> Iterator[None]:
    """Compute on this device, as `check_device` names it, or with "auto" on the first GPU; afterwards as before."""
    token = _asked.set(check_device(name))
    try:
        yield
    finally:
        _asked.reset(token)


def resolve_device(kind: str | None) -> str:
    """Where a kind of model computes: "cpu", or "cuda:0" and so on. A module of one's own (None) stays where it is.

    What was resolved for a training is written into plan.json, and whoever continues obeys that.
    """
    asked = _asked.get()
    if kind not in ON_GPU or asked == CPU:
        return CPU
    if asked == AUTO:
        return "cuda:0" if gpu_count() else CPU
    return asked


def device_of(model: nn.Module) -> torch.device:
    """Where a model lies, by its first parameter or buffer."""
    for tensor in chain(model.parameters(), model.buffers()):
        return tensor.device
    return torch.device(CPU)


@contextlib.contextmanager
def repeatable(device: torch.device, kind: str | None = None) -> Iterator[None]:
    """Draw from generators of one's own, and on a GPU sum in the same order each time; afterwards as before.

    A GPU's sums depend on which of its threads is first unless that is forbidden. For encoders it is; other models may
    have layers for which PyTorch knows no other way, and are warned then.
    """
    on_gpu = device.type == "cuda"
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if on_gpu:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when its first product is made
        torch.use_deterministic_algorithms(True, warn_only=kind not in ("encoder", "masked-encoder"))
    try:
        with torch.random.fork_rng(devices=[device.index or 0] if on_gpu else []):
            yield
    finally:
        if on_gpu:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
