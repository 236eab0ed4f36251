"""Whether models, parts and seeds fit each other: asked before any work is done, and answered in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from limbeck.data import Part
from limbeck.devices import brought
from limbeck.errors import UsageError
from limbeck.models import ThresholdTree, TreeEnsemble, logits_of
from limbeck.models.encoding import is_prepared, learn_preprocessing


def prepare(model: nn.Module, inputs: npt.NDArray[Any], classes: int | None, what: str) -> None:
    """Let a model of a known kind learn its preprocessing, and see that it takes the inputs."""
    probe(model, inputs, classes, what)
    if isinstance(model, ThresholdTree | TreeEnsemble):
        tree = isinstance(model, ThresholdTree)
        remedy = "at_once.trees.fit_threshold_tree" if tree else "at_once.boosting.fit_tree_ensemble"
        raise UsageError(f"{what} is a {model.kind}, which is fitted at once: limbeck.{remedy} does it")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError(f"{what} ({type(model).__name__}) has no parameters that can be trained: unfreeze some")
    if not is_prepared(model):
        learn_preprocessing(model, inputs)


def probe(model: nn.Module, inputs: npt.NDArray[Any], classes: int | None, what: str) -> None:
    """Ask a model about two rows, so that a misfit shows before any work is done."""
    some = brought(torch.from_numpy(np.require(inputs[:2], requirements=["C", "W"])), model)
    was_training = model.training
    try:
        with torch.inference_mode():
            shape = tuple(logits_of(model.eval()(some)).shape)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        kind = f"{inputs.dtype} inputs of shape (batch, {', '.join(map(str, inputs.shape[1:]))})"
        raise UsageError(f"{what} ({type(model).__name__}) does not take {kind}: {reason}") from error
    finally:
        model.train(was_training)
    if len(shape) != 2 or shape[0] != len(some) or classes not in (None, shape[1]):
        raise UsageError(
            f"{what} ({type(model).__name__}) returned {shape} for {len(some)} inputs: expected "
            f"({len(some)}, {classes or 'classes'})"
        )


def check_part(part: object, what: str) -> None:
    """A part has rows, and is one."""
    if not isinstance(part, Part):
        raise UsageError(f"{what} is a {type(part).__name__}: expected a limbeck.Part, as a split has them")
    if not len(part):
        raise UsageError(f'part "{part.name}" has no rows: give at least one')


def check_validation(validation: Part, part: Part) -> None:
    """Rows on which an epoch is chosen must be like those it was trained on, and labelled."""
    check_part(validation, "validation")
    if validation.classes != part.classes:
        raise UsageError(
            f"the validation rows have the classes {', '.join(validation.classes[:12])}, but the others "
            f"{', '.join(part.classes[:12])}: they must be the same, in the same order"
        )
    if validation.inputs.shape[1:] != part.inputs.shape[1:] or validation.inputs.dtype != part.inputs.dtype:
        raise UsageError(
            f"the validation rows are {validation.inputs.dtype} of shape {validation.inputs.shape[1:]}, but the others "
            f"{part.inputs.dtype} of shape {part.inputs.shape[1:]}: they must be alike"
        )
    if not (validation.labels >= 0).all():
        raise UsageError("some validation rows have no label: leave them out")


def check_seed(seed: int) -> None:
    """A seed is one that torch and numpy both take."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise UsageError(f"seed = {seed!r} is not a whole number from 0 to {2**31 - 1}: change the seed")
