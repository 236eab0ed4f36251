"""Models as files: safetensors for the numbers, JSON for the rest. Loading runs no code from the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from limbeck.artifacts import SUMS, read_checked
from limbeck.data.form import Form, form_from_json
from limbeck.errors import LimbeckError, UsageError, did_you_mean
from limbeck.files import DamagedFileError, read_json, read_tensors, write_json, write_tensors
from limbeck.models.convnet import ConvNet
from limbeck.models.encoder import Encoder
from limbeck.models.encoding import learn_preprocessing
from limbeck.models.mlp import MLP
from limbeck.models.soft_tree import SoftDecisionTree
from limbeck.models.threshold_tree import ThresholdTree
from limbeck.models.tree_ensemble import TreeEnsemble

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
FORMAT = 1
MASKED = "masked-encoder"
"""The kind of an encoder that predicts masked tokens: it has no classes, and `limbeck.encoders` reads it."""
_FIELDS = {"kind": object, "settings": dict, "input_shape": list, "classes": list}

# The kinds that a file or a recipe can name; a module of one's own needs no name to be a teacher or student.
KnownModel = MLP | ConvNet | SoftDecisionTree | ThresholdTree | TreeEnsemble
KINDS: dict[str, type[KnownModel]] = {
    "mlp": MLP,
    "convnet": ConvNet,
    "soft-tree": SoftDecisionTree,
    "sklearn-tree": ThresholdTree,
    "boosted-trees": TreeEnsemble,
}


def build_model(
    settings: Mapping[str, Any],
    input_shape: Sequence[int],
    classes: int,
    train_inputs: npt.NDArray[Any] | None = None,
    form: Form | None = None,
) -> KnownModel:
    """A model of a known kind, freshly initialised from torch's global generator.

    Args:
        settings: `kind` and that kind's settings, e.g. {"kind": "mlp", "widths": [128, 128]}.
        input_shape: shape of one raw input.
        classes: number of classes.
        train_inputs: raw training inputs (n, *input_shape) that the preprocessing learns from, if given.
        form: what the inputs mean, as a part has it: of a table, the model takes its raw rows.

    Raises:
        UsageError: for an unknown kind or settings that the kind does not take.
    """
    kind = str(settings.get("kind"))
    if kind not in KINDS:
        raise UsageError(f'no model of kind "{kind}"{did_you_mean(kind, KINDS)}: there are {", ".join(KINDS)}')
    own = {name: value for name, value in settings.items() if name != "kind"}
    try:
        model = KINDS[kind](input_shape, classes, form=form, **own)
    except TypeError as error:
        raise UsageError(f'model of kind "{kind}": {error}') from None
    if train_inputs is not None:
        learn_preprocessing(model, train_inputs)
    return model


def save_model(
    folder: Path | str, model: nn.Module, class_names: Sequence[str], details: Mapping[str, Any] | None = None
) -> None:
    """Write a model of a known kind into a folder as model.safetensors and model.json.

    Args:
        folder: made if it is not there.
        model: of a known kind.
        class_names: the classes' names in the order of the logits.
        details: more that model.json should say, such as the artifact's identity.

    Raises:
        LimbeckError: if the model is a module of one's own: only its owner can build it again.
        UsageError: if there are more names than classes, or fewer.
    """
    folder = Path(folder)
    if isinstance(model, Encoder):
        from limbeck.models.encoder_folder import save_encoder

        save_encoder(folder, model, class_names, details)
        return
    if not isinstance(model, KnownModel):
        raise LimbeckError(
            f"{type(model).__name__} is no model of a kind that limbeck can build again ({', '.join(KINDS)}): "
            "save its state_dict with safetensors.torch.save_file and build it in your own code"
        )
    if len(class_names) != model.classes:
        raise UsageError(f"{len(class_names)} class names for a model of {model.classes} classes: give one for each")
    tensors = {name: tensor.detach().contiguous().cpu().numpy() for name, tensor in model.state_dict().items()}
    write_tensors(folder / WEIGHTS, tensors, {"model": model.kind})
    describe(folder, model, class_names, **(details or {}))


def describe(folder: Path, model: Any, class_names: Sequence[str], **more: Any) -> None:
    """Write model.json: kind, settings, input_shape and form of a model of any kind, and more that it should say."""
    description = {
        "format": FORMAT,
        "kind": model.kind,
        "settings": model.settings,
        "input_shape": list(model.input_shape),
        "classes": list(class_names),
        **({"form": model.form.as_json()} if model.form is not None else {}),
        **more,
    }
    write_json(folder / DESCRIPTION, description)


def read_description(folder: Path) -> dict[str, Any]:
    """What model.json says, checked against SHA256SUMS where there is one.

    Raises:
        LimbeckError: if there is no folder, or no model in it, or it is of a newer format.
    """
    path = folder / DESCRIPTION
    if not folder.exists():
        raise LimbeckError(f"{folder} does not exist: give the folder of a model, such as one in a run's models/")
    if not path.is_file() and (folder / "models").is_dir():
        raise LimbeckError(f"{folder} holds no model itself: give one in {folder / 'models'}, ROLE/NAME")
    if not path.is_file():
        raise LimbeckError(f"{folder} holds no model: expected {DESCRIPTION} and {WEIGHTS} in it")
    summed = (folder / SUMS).exists()
    description = json.loads(read_checked(folder, DESCRIPTION)) if summed else read_json(path)
    if not isinstance(description, dict) or not isinstance(description.get("format"), int):
        raise DamagedFileError(path, "it does not describe a model")
    if description["format"] != FORMAT:
        raise LimbeckError(f"{path} has format {description['format']}, this version reads {FORMAT}: update limbeck")
    if not all(isinstance(description.get(name), kind) for name, kind in _FIELDS.items()):
        raise DamagedFileError(path, f"it does not describe a model (expected {', '.join(_FIELDS)})")
    return description


def load_model(folder: Path | str) -> tuple[KnownModel | Encoder, tuple[str, ...]]:
    """Read a saved model and the names of its classes; digests are checked and no code from the file runs.

    Raises:
        LimbeckError: if there is no model there, it is damaged, or of a kind that this version does not know.
    """
    folder = Path(folder)
    description = read_description(folder)
    if description["kind"] == Encoder.kind:
        from limbeck.models.encoder_folder import load_encoder

        return load_encoder(folder)
    if (folder / SUMS).exists():
        read_checked(folder, WEIGHTS)
    try:
        tensors, _ = read_tensors(folder / WEIGHTS)
    except FileNotFoundError:
        raise DamagedFileError(folder / WEIGHTS, "it is missing") from None
    settings = {**description["settings"], "kind": description["kind"]}
    try:
        form = form_from_json(description.get("form"))
        model = build_model(settings, description["input_shape"], len(description["classes"]), form=form)
    except LimbeckError as error:
        raise LimbeckError(f"{folder / DESCRIPTION}: {error}") from None
    except (TypeError, ValueError, RuntimeError) as error:
        what = " ".join(str(error).split())[:200]
        raise DamagedFileError(folder / DESCRIPTION, f"no model can be built from it ({what})") from None
    try:
        model.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
    except RuntimeError as error:
        what = " ".join(str(error).split())[:200]
        raise DamagedFileError(folder / WEIGHTS, f"its tensors do not fit {DESCRIPTION} ({what})") from None
    return model.eval(), tuple(description["classes"])
