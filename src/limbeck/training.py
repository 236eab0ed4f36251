"""The one training loop: teachers, baselines and students go through it, and can be cut off at any moment."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limbeck.batches import BatchSource
from limbeck.checkpoints import TrainingState, load_checkpoint, save_checkpoint, save_snapshot, snapshot_epochs
from limbeck.data import Part
from limbeck.devices import brought, device_of, repeatable
from limbeck.errors import LimbeckError
from limbeck.knowledge.targets import TargetSource
from limbeck.metrics import accuracy, nll
from limbeck.models import answer_of, logits_of
from limbeck.objectives import Objective
from limbeck.precision import Precision, autocast, resolve_precision
from limbeck.progress import Progress, Silent
from limbeck.train_settings import TrainSettings

CHECKPOINT_SECONDS = 10.0
CHECKPOINT_PAUSE = 40  # times what the last one took: those of a large model take seconds
_EVALUATION_BATCH = 500


@dataclass(frozen=True)
class History:
    """What happened in a training.

    Attributes:
        epochs: for each {epoch, loss, learning_rate, validation_accuracy, validation_nll}; the last two are None
            without validation rows.
        kept_epoch: the epoch whose weights the model has.
        seconds: spent on it, in all processes that worked on it.
    """

    epochs: list[dict[str, Any]]
    kept_epoch: int
    seconds: float

    @property
    def kept(self) -> dict[str, Any]:
        """The row of the kept epoch."""
        return self.epochs[self.kept_epoch - 1]

    def as_json(self) -> dict[str, Any]:
        """What history.json says: no durations, which differ from run to run."""
        return {"epochs": self.epochs, "kept_epoch": self.kept_epoch}


def train(
    model: nn.Module,
    batches: BatchSource,
    targets: TargetSource,
    objective: Callable[..., Tensor] | Objective,
    settings: TrainSettings,
    *,
    seed: int,
    validation: Part | None = None,
    precision: Precision | None = None,
    checkpoint: Path | None = None,
    snapshot_every: int | None = None,
    judge: Callable[[nn.Module], Mapping[str, float | None]] | None = None,
    progress: Progress | None = None,
    title: str = "training",
) -> History:
    """Train a model in place, on the device where it is; it ends with the weights of the epoch that is kept.

    A model may bring `penalty() -> Tensor`, added to the loss; `after_step()`, called after each step (weight
    constraints); and `set_progress(fraction)`, called before each step, with 0 before the first and 1 before the last
    (annealing).

    Args:
        model: maps raw inputs (batch, …) to logits.
        batches: gives inputs, rows and views.
        targets: gives what the objective needs for these rows and views.
        objective: of logits (of a soft decision tree, its `Mixture`) and targets, a scalar.
        settings: how to train.
        seed: of the order and of dropout. Torch's global generators are left as they were.
        validation: labelled rows that choose the epoch; without them, or with none, the last is kept.
        precision: as resolved before; by default resolved here.
        checkpoint: a folder for checkpoints, from which a training that was cut off goes on.
        snapshot_every: after so many epochs, and after the last, the weights are kept beside the checkpoints, as
            `epoch-0001.safetensors` and so on.
        judge: gives further numbers for each epoch's row in the history; nothing is chosen by them.
        progress: told by step.
        title: what progress calls it.

    Returns:
        A row for each epoch, the epoch whose weights the model has, and the seconds it took.

    Raises:
        LimbeckError: if the loss is not finite, or the checkpoint is of another training.
    """
    progress = progress or Silent()
    device, kind = device_of(model), getattr(model, "kind", None)
    precision = precision or resolve_precision(settings.precision, kind, device)
    chooses = settings.keep == "best" and validation is not None and len(validation) > 0
    total = settings.epochs * batches.steps
    kept_epochs = snapshot_epochs(settings.epochs, snapshot_every) if snapshot_every else []
    optimizer = _optimizer(model, settings)
    with repeatable(device, kind):
        torch.manual_seed(seed)
        state = TrainingState()
        training = {
            "seed": seed, "settings": settings.as_json(), "rows": batches.rows, "steps": batches.steps,
            "objective": objective.in_effect() if isinstance(objective, Objective) else _called(objective),
            "precision": precision,
        }  # fmt: skip
        if checkpoint is not None and (found := load_checkpoint(checkpoint, model, optimizer, training)) is not None:
            state = found
        state.loss_sum = state.loss_sum.to(device)
        saved = began = time.monotonic()
        before = state.seconds
        progress.start(title, total)
        note, pause = "", CHECKPOINT_SECONDS
        # Gradients that are being added up are in no checkpoint.
        pace = settings.accumulate * max(1, 16 // settings.accumulate)

        def save_if_due() -> None:
            nonlocal saved, pause
            if checkpoint is not None and (now := time.monotonic()) - saved > pause:
                state.seconds = before + now - began
                save_checkpoint(checkpoint, model, optimizer, state, training)
                saved = time.monotonic()
                pause = max(CHECKPOINT_SECONDS, CHECKPOINT_PAUSE * (saved - now))

        for epoch in range(state.epoch, settings.epochs):
            model.train()
            for batch in batches.batches(seed, epoch, state.step):
                _step(model, batch.inputs, targets, batch.rows, batch.view, objective, optimizer, settings, state,
                      parts=len(step := settings.step_of(state.step, batches.steps)),
                      ends=state.step + 1 == step.stop,
                      done=(epoch * batches.steps + (step.start + step.stop) / 2) / total,
                      progress=(epoch * batches.steps + state.step) / max(total - 1, 1),
                      precision=precision)  # fmt: skip
                if state.step % pace == 0:
                    progress.at(epoch * batches.steps + state.step, note)
                    save_if_due()
            loss = float(state.loss_sum) / batches.steps
            if not math.isfinite(loss) or not all(bool(p.isfinite().all()) for p in model.parameters()):
                what = "weights are not finite" if math.isfinite(loss) else f"the loss is {loss}"
                raise LimbeckError(
                    f"{title}: {what} in epoch {epoch + 1} at a learning rate of up to {settings.learning_rate}: lower "
                    "train.learning_rate, or look for extreme inputs"
                )
            _end_epoch(model, state, epoch, loss, settings, total, batches.steps, validation, precision, chooses)
            if judge is not None:
                state.history[-1] |= judge(model)
            if checkpoint is not None and epoch + 1 in kept_epochs:
                save_snapshot(checkpoint, model, epoch + 1)
            save_if_due()
            last = state.history[-1]
            note = f"loss {loss:.4f}"
            if last["validation_accuracy"] is not None:
                note += f", validation {last['validation_accuracy']:.2%}"
            progress.at((epoch + 1) * batches.steps, note)
        if chooses and state.best is not None:
            model.load_state_dict(state.best)
        kept = state.best_epoch if chooses else settings.epochs
        progress.end(note)
    model.eval()
    return History(state.history, kept or settings.epochs, before + time.monotonic() - began)


def predict_log_probs(
    model: nn.Module,
    inputs: npt.NDArray[Any],
    *,
    precision: Precision = "float32",
    batch_size: int = _EVALUATION_BATCH,
) -> npt.NDArray[np.float32]:
    """A model's log-probabilities for raw inputs, shape (n, classes), in evaluation mode."""
    was_training, device = model.training, device_of(model)
    model.eval()
    answers = []
    with torch.inference_mode(), autocast(precision, device):
        for start in range(0, len(inputs), batch_size):
            # "W": a mapped file is read-only, and torch warns of that.
            batch = torch.from_numpy(np.require(inputs[start : start + batch_size], requirements=["C", "W"]))
            answers.append(logits_of(model(brought(batch, model))).float().log_softmax(dim=-1).cpu())
    model.train(was_training)
    return np.asarray(torch.cat(answers).numpy())


def _step(
    model: nn.Module,
    inputs: Tensor,
    targets: TargetSource,
    rows: Tensor,
    view: Tensor,
    objective: Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    state: TrainingState,
    *,
    parts: int,
    ends: bool,
    done: float,
    progress: float,
    precision: Precision,
) -> None:
    """One batch, which ends a step of the optimiser unless gradients are being added up."""
    rate = settings.rate(done)
    for group in optimizer.param_groups:
        group["lr"] = rate
    if (set_progress := getattr(model, "set_progress", None)) is not None:
        set_progress(progress)
    device = state.loss_sum.device
    wanted = targets.batch(rows, view).to(device)
    with autocast(precision, device):
        outputs = model(brought(inputs, model))
    said = wanted.logits if wanted.sparse is None else wanted.sparse
    loss = objective(answer_of(outputs), teacher_logits=said, labels=wanted.labels, weights=wanted.weights)
    if isinstance(objective, Objective) and objective.uses_states:
        loss = loss + objective.state_loss(outputs, wanted, outputs.mask)
    if (penalty := getattr(model, "penalty", None)) is not None:
        loss = loss + penalty()
    (loss if parts == 1 else loss / parts).backward()  # type: ignore[no-untyped-call]
    if ends:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (after_step := getattr(model, "after_step", None)) is not None:
            after_step()
    state.loss_sum += loss.detach()
    state.step += 1


def _end_epoch(
    model: nn.Module,
    state: TrainingState,
    epoch: int,
    loss: float,
    settings: TrainSettings,
    total: int,
    steps: int,
    validation: Part | None,
    precision: Precision,
    chooses: bool,
) -> None:
    row: dict[str, Any] = {
        "epoch": epoch + 1,
        "loss": loss,
        "learning_rate": settings.rate((epoch * steps + steps - 0.5) / total),
        "validation_accuracy": None,
        "validation_nll": None,
    }
    if validation is not None and len(validation) > 0:
        log_probs = predict_log_probs(model, validation.inputs, precision=precision)
        row["validation_accuracy"] = accuracy(log_probs, validation.labels)
        row["validation_nll"] = nll(log_probs, validation.labels)
        score = (row["validation_accuracy"], -row["validation_nll"])
        if chooses and (state.best_score is None or score > state.best_score):
            state.best_score, state.best_epoch = score, epoch + 1
            state.best = copy.deepcopy(model.state_dict())
    state.history.append(row)
    state.epoch, state.step = epoch + 1, 0
    state.loss_sum = torch.zeros_like(state.loss_sum)


def _called(loss: object) -> str:
    """The name of a loss that is a function, which is the same in every process."""
    return f"{getattr(loss, '__module__', '')}.{getattr(loss, '__qualname__', type(loss).__qualname__)}"


def _optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        momentum = settings.momentum
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=momentum, nesterov=momentum > 0, fused=True)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
