"""A teacher that exists already, given by its path: whether it fits the data, and what tells it from others."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from limbeck.artifacts import Identity
from limbeck.averaging import checked_mean, checked_weights
from limbeck.data import Part, TableForm, TextForm
from limbeck.data.form import form_from_json
from limbeck.data.sources import found_beside
from limbeck.errors import LimbeckError
from limbeck.files import DamagedFileError, sha256_hex
from limbeck.models import read_description
from limbeck.models.encoder_folder import open_encoder
from limbeck.models.estimator import Estimator
from limbeck.models.estimator_file import load_estimator
from limbeck.models.mean import MeanModel
from limbeck.models.onnx_file import file_digest
from limbeck.models.onnx_model import OnnxModel
from limbeck.models.opening import mean_members, without_classes
from limbeck.models.outputs import Outputs
from limbeck.models.saving import DESCRIPTION, MASKED, WEIGHTS
from limbeck.plan.model_stage import PLAIN, Combination, ModelStage, Rows
from limbeck.recipe import Teacher
from limbeck.teachers import Predictions, read_predictions

VERSION = 2
OF_PREDICTIONS = (".csv", ".parquet", ".npz")


class PredictionsModel(nn.Module):
    """A teacher of which there are answers for certain rows, and nothing else.

    Args:
        predictions: as they were read.
    """

    kind = "predictions"
    parameter_count = 0
    multiply_adds = None

    def __init__(self, predictions: Predictions) -> None:
        super().__init__()
        self.own_rows = predictions

    def forward(self, inputs: Tensor) -> Outputs:
        """It cannot be asked.

        Raises:
            LimbeckError: always.
        """
        raise LimbeckError(
            f"{self.own_rows.path} has predictions for its own rows alone, and was asked about {len(inputs)} others: "
            "add them to the file"
        )


def given_teacher(teacher: Teacher, rows: Rows, beside: Path | None = None) -> ModelStage:
    """The stage of a teacher `from` a path.

    An artifact keeps its own key; any other saved model is known by its content.

    Args:
        teacher: as in the recipe.
        rows: that it is to be asked about.
        beside: the recipe's folder: a relative path is looked for there, then in the working folder.

    Raises:
        LimbeckError: there is no model there, or its classes or inputs are not those of the rows.
    """
    path = found_beside(str(teacher.from_), beside)
    where = f"teacher.{teacher.name}.from"
    if isinstance(rows.train.form, TextForm) and not (path / DESCRIPTION).is_file() and not path.is_file():
        return _hugging_face(teacher, rows, beside, where)
    if not path.exists():
        raise LimbeckError(f"{where}: there is no {path}: give the path of a saved model, or of a file of predictions")
    if path.is_dir():
        try:
            return _from_folder(teacher.name, path, rows)
        except DamagedFileError:
            raise
        except LimbeckError as error:
            raise LimbeckError(f"{where}: {error}") from None
    part, trusted = rows.train, tuple(teacher.trust or ())
    digest = sha256_hex(path.read_bytes())
    given: nn.Module
    match path.suffix.lower():
        case ".onnx":
            given, digest = OnnxModel.open(path, part.classes, part.form), file_digest(path)
            given.check_takes(part.inputs.shape[1:])
        case ".skops":
            given = _estimator(path, trusted, part)
        case suffix if suffix in OF_PREDICTIONS:
            predictions = read_predictions(path, part.classes)
            predictions.required(part, "training rows")
            given, digest = PredictionsModel(predictions), predictions.digest
        case suffix:
            raise LimbeckError(
                f"{where}: {path} ends in {suffix or 'no suffix'}, expected the folder of a saved model, an .onnx or "
                f".skops file, or predictions in one of {', '.join(OF_PREDICTIONS)}"
            )
    settings = {"model": digest, "classes": list(part.classes)}
    return ModelStage("teacher", teacher.name, Identity("teacher", VERSION, settings, {}), rows, path=path, given=given)


def _hugging_face(teacher: Teacher, rows: Rows, beside: Path | None, where: str) -> ModelStage:
    """The stage of a sequence classifier of the library transformers: a folder, or a name on the hub."""
    from limbeck.encoders.finding import encoder_digest, found_encoder

    assert isinstance(rows.train.form, TextForm)
    try:
        folder = found_encoder(str(teacher.from_), beside, any_type=True)
        given, _ = open_encoder(folder, rows.train.classes, rows.train.form)
    except LimbeckError as error:
        raise type(error)(f"{where}: {error}") from None
    settings = {"model": encoder_digest(folder), "classes": list(rows.train.classes)}
    identity = Identity("teacher", VERSION, settings, {})
    return ModelStage("teacher", teacher.name, identity, rows, path=folder, given=given)


def gives_hard_labels(given: nn.Module | None) -> bool:
    """Whether a teacher from a file gives a class and no probabilities."""
    if isinstance(given, PredictionsModel):
        return given.own_rows.kind == "hard"
    return isinstance(given, OnnxModel | Estimator) and given.hard


def _estimator(path: Path, trusted: tuple[str, ...], part: Part) -> Estimator:
    """The estimator in a skops file, asked about a few rows, for only it can say whether it takes them."""
    if isinstance(part.form, TextForm):
        raise LimbeckError(f"{path}: an estimator takes numbers, and the data are texts: give the folder of an encoder")
    fitted = load_estimator(path, trusted)
    try:
        given = Estimator(fitted, part.inputs.shape[1:], part.classes, form=part.form)
        given.log_probs(part.inputs[:3])
    except LimbeckError as error:
        raise LimbeckError(f"{path}: {error}") from None
    return given


def _from_folder(name: str, folder: Path, rows: Rows) -> ModelStage:
    """A saved model's stage; that of a mean has its members, so that each is asked for what it knows by itself."""
    identity, members, combination = _folder_identity(folder, rows), tuple[ModelStage, ...](), PLAIN
    if (description := read_description(folder))["kind"] == MeanModel.kind:
        members = tuple(
            _from_folder(f"{name}-{number}", member, rows) for number, member in enumerate(mean_members(folder), 1)
        )
        settings = description["settings"]
        weights, mean = settings.get("weights"), checked_mean(settings.get("mean", "probabilities"))
        combination = Combination(mean, None if weights is None else checked_weights(weights, len(members)))
    return ModelStage("teacher", name, identity, rows, path=folder, members=members, combination=combination)


def _folder_identity(folder: Path, rows: Rows) -> Identity:
    description = read_description(folder)
    if description["kind"] == MASKED:
        raise without_classes(folder)
    if tuple(description["classes"]) != rows.train.classes:
        raise LimbeckError(
            f"{folder} has the classes {', '.join(description['classes'][:12])}, but the data has "
            f"{', '.join(rows.train.classes[:12])}: they must be the same, in the same order"
        )
    form = form_from_json(description.get("form"))
    if isinstance(form, TextForm) != isinstance(rows.train.form, TextForm):
        reads = "texts, but the data are none" if isinstance(form, TextForm) else "no texts, as the data are"
        raise LimbeckError(f"{folder} reads {reads}: give a teacher for these data")
    if isinstance(form, TextForm) and isinstance(rows.train.form, TextForm):
        if len(form.columns) != len(rows.train.form.columns):
            sorts = ["single texts", "pairs of texts"]
            ours, theirs = (sorts[len(one.columns) - 1] for one in (rows.train.form, form))
            raise LimbeckError(f"{folder} reads {theirs}, but the data are {ours}: give a teacher for these data")
    elif tuple(description["input_shape"]) != rows.train.inputs.shape[1:]:
        raise LimbeckError(
            f"{folder} takes inputs of shape {tuple(description['input_shape'])}, but the data's have "
            f"{rows.train.inputs.shape[1:]}: give a teacher for these data"
        )
    if isinstance(rows.train.form, TableForm) and form not in (None, rows.train.form):
        raise LimbeckError(
            f"{folder} was made for a table with other columns or categories than the data's: give a teacher for these"
        )
    if "identity" in description:
        return Identity.from_json(description["identity"])
    content = folder / WEIGHTS if (folder / WEIGHTS).exists() else folder / DESCRIPTION
    return Identity("teacher", VERSION, {"model": sha256_hex(content.read_bytes())}, {})
