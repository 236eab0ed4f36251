"""Checkpoints: all that a training needs to go on and end with the same bytes as if it had never stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.artifacts import CHECKPOINTS
from limbeck.errors import LimbeckError
from limbeck.files import DamagedFileError, read_tensors, write_tensors

_MODEL, _BEST, _OPTIMIZER, _LOSS = "model.", "best.", "optimizer.", "loss_sum"
_GENERATOR, _GPU_GENERATOR = "generator", "generator.gpu"


@dataclass
class TrainingState:
    """How far a training is, beside the weights, the optimiser and the generator.

    Attributes:
        epoch: epochs done.
        step: steps done in the epoch that is running.
        loss_sum: of the steps in that epoch; it lies where the model does.
        history: a row for each epoch done.
        best: the weights of the best epoch so far; `best_epoch` and `best_score` say which and how good.
        seconds: spent on it so far, in every process that worked on it.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: Tensor = field(default_factory=lambda: torch.zeros(()))
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    best_epoch: int | None = None
    best_score: tuple[float, float] | None = None
    seconds: float = 0.0


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState, training: Mapping[str, Any]
) -> None:
    """Write a checkpoint; the one before stays until this one is whole, and is kept beside it.

    `training` says, as JSON values, which training it is of.
    """
    newest, before = (folder / name for name in CHECKPOINTS)
    tensors: dict[str, Tensor] = {_MODEL + name: tensor for name, tensor in model.state_dict().items()}
    for name, tensor in (state.best or {}).items():
        tensors[_BEST + name] = tensor
    for number, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if value is not None:
                tensors[f"{_OPTIMIZER}{number}.{name}"] = torch.as_tensor(value)
    tensors[_GENERATOR] = torch.get_rng_state()
    if state.loss_sum.is_cuda:
        tensors[_GPU_GENERATOR] = torch.cuda.get_rng_state(state.loss_sum.device)
    tensors[_LOSS] = state.loss_sum
    header = {
        "training": {**training, "model": _shapes(model)},
        "epoch": state.epoch,
        "step": state.step,
        "history": state.history,
        "best_epoch": state.best_epoch,
        "best_score": state.best_score,
        "seconds": state.seconds,
    }
    if newest.exists():
        newest.replace(before)
    write_tensors(newest, {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}, header)


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, training: Mapping[str, Any]
) -> TrainingState | None:
    """Take up the newest whole checkpoint: weights, optimiser and torch's generators; None if there is none.

    A damaged one falls back to the one before.

    Raises:
        LimbeckError: if it is of another training.
    """
    for name in CHECKPOINTS:
        try:
            arrays, header = read_tensors(folder / name)
        except (FileNotFoundError, DamagedFileError):
            continue
        here = {**training, "model": _shapes(model)}
        if header["training"] != {key: here.get(key) for key in header["training"]}:  # an older version's has fewer
            raise LimbeckError(
                f"{folder} holds a checkpoint of another training (seed {header['training']['seed']}; or its settings, "
                "objective, precision, rows or model differ): give another folder, or delete the checkpoint"
            )
        tensors = {key: torch.from_numpy(np.array(array)) for key, array in arrays.items()}
        model.load_state_dict(_under(_MODEL, tensors))
        trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        optimizer_state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _under(_OPTIMIZER, tensors).items():
            number, _, field_name = key.partition(".")
            weights = trained[int(number)]
            if tensor.shape == weights.shape:
                # Fused optimisers go through weights and moments as they lie in memory: both must lie alike.
                tensor = torch.empty_like(weights, dtype=tensor.dtype, requires_grad=False).copy_(tensor)
            optimizer_state.setdefault(int(number), {})[field_name] = tensor
        optimizer.load_state_dict({**optimizer.state_dict(), "state": optimizer_state})
        torch.set_rng_state(tensors[_GENERATOR])
        if _GPU_GENERATOR in tensors and trained[0].is_cuda:
            torch.cuda.set_rng_state(tensors[_GPU_GENERATOR], trained[0].device)
        score = header["best_score"]
        return TrainingState(
            epoch=header["epoch"],
            step=header["step"],
            loss_sum=tensors[_LOSS],
            history=header["history"],
            best=_under(_BEST, tensors) or None,
            best_epoch=header["best_epoch"],
            best_score=None if score is None else (score[0], score[1]),
            seconds=header["seconds"],
        )
    return None


def snapshot_epochs(epochs: int, every: int) -> list[int]:
    """The epochs, counted from 1, after which the weights are kept: every so many, and the last."""
    return sorted({*range(every, epochs + 1, every), epochs})


def snapshot_name(epoch: int) -> str:
    """The file of the weights after an epoch, counted from 1."""
    return f"epoch-{epoch:04d}.safetensors"


def save_snapshot(folder: Path, model: nn.Module, epoch: int) -> None:
    """Keep the weights after an epoch beside the model."""
    tensors = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in model.state_dict().items()}
    write_tensors(folder / snapshot_name(epoch), tensors, {"epoch": epoch})


def load_snapshot(folder: Path, model: nn.Module, epoch: int) -> None:
    """Give a model the weights that it had after an epoch.

    Raises:
        DamagedFileError: if the file is missing or not whole.
    """
    path = folder / snapshot_name(epoch)
    try:
        tensors, _ = read_tensors(path)
    except FileNotFoundError:
        raise DamagedFileError(path, "it is missing") from None
    model.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})


def _shapes(model: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
