"""A teacher that exists already, given by its path: whether it fits the data, and what tells it from others."""

from __future__ import annotations

from pathlib import Path

from limbeck.artifacts import Identity
from limbeck.errors import LimbeckError
from limbeck.files import sha256_hex
from limbeck.model_stage import ModelStage, Rows
from limbeck.models import read_description
from limbeck.models.saving import WEIGHTS
from limbeck.recipe import Teacher

VERSION = 2


def given_teacher(teacher: Teacher, rows: Rows) -> ModelStage:
    """The stage of a teacher `from` a path.

    An artifact keeps its own key; any other saved model is known by its weights.

    Raises:
        LimbeckError: there is no model there, or its classes or inputs are not those of the rows.
    """
    folder = Path(str(teacher.from_))
    if not folder.is_dir():
        raise LimbeckError(f"teacher.{teacher.name}.from: there is no folder {folder}: give the path of a saved model")
    description = read_description(folder)
    if tuple(description["classes"]) != rows.train.classes:
        raise LimbeckError(
            f"{folder} has the classes {', '.join(description['classes'][:12])}, but the data has "
            f"{', '.join(rows.train.classes[:12])}: they must be the same, in the same order"
        )
    if tuple(description["input_shape"]) != rows.train.inputs.shape[1:]:
        raise LimbeckError(
            f"{folder} takes inputs of shape {tuple(description['input_shape'])}, but the data's have "
            f"{rows.train.inputs.shape[1:]}: give a teacher for these data"
        )
    if "identity" in description:
        identity = Identity.from_json(description["identity"])
    else:
        digest = sha256_hex((folder / WEIGHTS).read_bytes())
        identity = Identity("teacher", VERSION, {"model": digest}, {})
    return ModelStage("teacher", teacher.name, identity, rows, path=folder)
