"""Where a model computes: on a GPU where PyTorch finds one, else on the processor; a fixed rule, never a timing."""

from __future__ import annotations

import contextlib
import copy
import os
import re
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, nn

from limbeck.errors import UsageError

AUTO, CPU = "auto", "cpu"

# Kinds of model that a GPU computes; trees of every kind stay on the processor.
ON_GPU = frozenset({"mlp", "convnet", "encoder", "masked-encoder"})

# cuBLAS sums in one order only where this was set before its first product.
_IN_ONE_ORDER = "CUBLAS_WORKSPACE_CONFIG" in os.environ or not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

Model = TypeVar("Model", bound=nn.Module)

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
    """How many GPUs PyTorch finds."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


@cache
def _computes() -> bool:
    """Whether the first GPU is one that this build of PyTorch was made for: it finds others, too."""
    try:
        return float(torch.ones(2, device="cuda:0").sum()) == 2
    except RuntimeError:
        return False


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
        return "cuda:0" if gpu_count() and _computes() else CPU
    return asked


def asked_device() -> str:
    """What was asked for: "auto", "cpu", or "cuda:0" and so on."""
    return _asked.get()


def device_of(model: nn.Module) -> torch.device:
    """Where a model lies, by its first parameter or buffer."""
    for tensor in chain(model.parameters(), model.buffers()):
        return tensor.device
    return torch.device(CPU)


def on_device(model: Model) -> Model:
    """A model where its kind computes: itself if it is there, else a copy; others may hold the one that is given."""
    device = torch.device(resolve_device(getattr(model, "kind", None)))
    return model if device_of(model) == device else copy.deepcopy(model).to(device)


def on_processor(model: Model) -> Model:
    """A model on the processor: itself if it is there, else a copy."""
    return model if device_of(model).type == CPU else copy.deepcopy(model).to(CPU)


def brought(rows: Tensor, model: nn.Module) -> Tensor:
    """Raw rows to where a model is; texts stay on the processor, which makes of them what an encoder computes with."""
    return rows if getattr(model, "kind", None) == "encoder" else rows.to(device_of(model))


@contextlib.contextmanager
def own_generators() -> Iterator[None]:
    """Draw from torch's generators, and leave all of them as they were."""
    began = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if began else ()):
        yield


@contextlib.contextmanager
def repeatable(device: torch.device, kind: str | None = None) -> Iterator[None]:
    """Draw from generators of one's own, and on a GPU sum in the same order each time; afterwards as before.

    A GPU's sums depend on which of its threads is first unless that is forbidden. For encoders it is; other models may
    have layers for which PyTorch knows no other way, and are warned then.
    """
    on_gpu = device.type == "cuda"
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    strict = _IN_ONE_ORDER and kind in ("encoder", "masked-encoder")
    if on_gpu:
        torch.use_deterministic_algorithms(True, warn_only=not strict)
    try:
        with own_generators(), whole_float32() if on_gpu else contextlib.nullcontext():
            yield
    finally:
        if on_gpu:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@contextlib.contextmanager
def whole_float32() -> Iterator[None]:
    """Convolve in float32 where that is what was asked for: by default a GPU leaves 13 bits of each factor out."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
