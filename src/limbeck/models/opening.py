"""Any saved model by its path: a folder of any kind, or an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.artifacts import SUMS, read_checked, read_sums
from limbeck.data.form import Form, TextForm, form_from_json
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import DamagedFileError
from limbeck.models.encoder import Encoder
from limbeck.models.encoder_folder import CONFIG, load_encoder, open_encoder
from limbeck.models.estimator import OWN_KINDS, Estimator
from limbeck.models.estimator_file import load_estimator_model
from limbeck.models.mean import MeanModel
from limbeck.models.onnx_model import OnnxModel
from limbeck.models.saving import DESCRIPTION, MASKED, WEIGHTS, KnownModel, describe, load_model, read_description

if TYPE_CHECKING:
    from limbeck.teachers.out_of_fold import OwnRows

ONNX = ".onnx"

SavedModel = KnownModel | Encoder | Estimator | MeanModel | OnnxModel


def open_model(
    path: Path | str, classes: tuple[str, ...] | None = None, form: Form | None = None
) -> tuple[SavedModel, tuple[str, ...]]:
    """A saved model and the names of its classes; digests are checked where there are any, and no code runs.

    Args:
        path: a folder, of limbeck's or of a Hugging Face model that classifies texts, or an ONNX file.
        classes: of a model that does not say what its outputs are, the names of its classes.
        form: of an ONNX file for a table, the columns; of a model of texts likewise.

    Raises:
        LimbeckError: there is no model there, it is damaged, or of a kind that this version does not know.
    """
    path = Path(path)
    if path.is_file() and path.resolve().suffix == ONNX:
        # Weights in files beside it lie where a link leads; messages name any other file as it was given.
        onnx = OnnxModel.open(path.resolve() if path.is_symlink() else path, classes, form)
        return onnx, onnx.class_names or tuple(str(number) for number in range(onnx.classes or 0))
    if path.is_file():
        raise _no_model(path)
    if not (path / DESCRIPTION).is_file() and (path / CONFIG).is_file():
        return open_encoder(path, classes, form if isinstance(form, TextForm) else None)
    kind = read_description(path)["kind"]
    if kind == MeanModel.kind:
        return _open_mean(path)
    if kind == MASKED:
        raise without_classes(path)
    if kind in (*OWN_KINDS, "estimator"):
        estimator, names = load_estimator_model(path)
        estimator.own_rows = _own_rows(path, estimator.classes)
        return estimator, names
    model, names = load_encoder(path) if kind == Encoder.kind else load_model(path)
    if (own := _own_rows(path, len(names))) is not None:
        model.own_rows = own  # type: ignore[assignment]  # of a module, which takes any attribute
    return model, names


def _no_model(path: Path) -> LimbeckError:
    """The error for a file that is no ONNX file: what a run's link to a given teacher leads to is said."""
    suffix = path.resolve().suffix.lower()
    if suffix == ".skops":
        what = f"{path} is a skops file, whose fitted estimator is only asked as a teacher in a run"
    elif path.is_symlink() and suffix in (".csv", ".parquet", ".npz"):
        what = f"{path} is a file of predictions, which answers no rows but its own"
    else:
        return LimbeckError(f"{path} is no saved model: expected the folder of one, or an {ONNX} file")
    return LimbeckError(f"{what}: expected the folder of a saved model, or an {ONNX} file")


def save_mean(
    folder: Path,
    model: MeanModel,
    class_names: Sequence[str],
    identity: object,
    given: Mapping[str, str] | None = None,
) -> None:
    """Write the mean of models whose artifacts lie beside this one: model.json names them, nothing is copied.

    Args:
        folder: of the mean.
        model: with its members' keys.
        class_names: in the order of the answers.
        identity: of the artifact.
        given: members from elsewhere, by key: the ending of the file, or "folder". Without these files the mean can be
            asked only in its run, which knows their paths.
    """
    describe(folder, model, class_names, identity=identity, **({"given": dict(given)} if given else {}))


def saved_files(path: Path | str) -> list[Path]:
    """The files that hold a saved model's numbers: of a mean, those of its members; what lies beside them is not."""
    path = Path(path)
    if path.is_file():
        return [path]
    if (path / WEIGHTS).exists():
        return [path / WEIGHTS]
    if read_description(path)["kind"] == MeanModel.kind:
        return [file for member in mean_members(path) for file in saved_files(member)]
    found = (file for pattern in ("model.*", "member-*") for file in path.glob(pattern))
    return sorted(file for file in found if file.name != DESCRIPTION)


def mean_members(folder: Path | str) -> list[Path]:
    """The folders of the models that a saved mean is of, which lie beside it.

    Raises:
        LimbeckError: it does not name them, or one is not there.
    """
    folder = Path(folder)
    description = read_description(folder)
    beside, names, given = folder.resolve().parent, description["settings"].get("members"), description.get("given")
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise DamagedFileError(folder / DESCRIPTION, "it does not name the members of a mean")
    found = [_member(beside, Path(name).name) for name in names]
    for number, member in enumerate(found, 1):
        if not member.is_dir() and isinstance(given, dict) and member.name in given:
            kind = "a folder" if given[member.name] == "folder" else f"a file ({given[member.name]})"
            raise LimbeckError(
                f"{folder} is a mean of which member {number} is {kind} that lies elsewhere, where the recipe of its "
                "run says (from): this mean can be asked only in its run"
            )
        if not member.is_dir():
            raise LimbeckError(
                f"{folder} is the mean of models beside it, and there is no {member}: keep them together"
            )
    return found


def _member(beside: Path, key: str) -> Path:
    """Where a member of a mean lies: beside it, or, if it is a student that teaches, among the students."""
    student = beside.parent / "student" / key
    return student if student.is_dir() and not (beside / key).is_dir() else beside / key


def _own_rows(folder: Path, classes: int) -> OwnRows | None:
    """A teacher's answers for rows that it was fitted to, where they are kept beside it."""
    from limbeck.teachers.out_of_fold import OWN_ROWS, OwnRows  # teachers are made of models

    path = folder / OWN_ROWS
    if (folder / SUMS).exists() and OWN_ROWS in read_sums(folder):
        read_checked(folder, OWN_ROWS)
    elif not path.is_file():
        return None
    own = OwnRows.load(path)
    if own.log_probs.shape[1] != classes:
        raise DamagedFileError(path, f"expected answers for {classes} classes")
    return own


def _open_mean(folder: Path) -> tuple[MeanModel, tuple[str, ...]]:
    """The mean of the models named in a folder's model.json, whose folders lie beside it."""
    description, members = read_description(folder), []
    for member in mean_members(folder):
        model, classes = open_model(member)
        if list(classes) != description["classes"]:
            raise DamagedFileError(folder / DESCRIPTION, f"its classes are not those of {member}")
        members.append(model)
    shape, form = description["input_shape"], form_from_json(description.get("form"))
    settings, names = description["settings"], tuple(description["classes"])
    keys, weights, mean_of = settings["members"], settings.get("weights"), settings.get("mean", "probabilities")
    if weights is not None and not isinstance(weights, list):
        raise DamagedFileError(folder / DESCRIPTION, "its weights are no list of numbers")
    try:
        mean = MeanModel(members, keys, weights=weights, mean=mean_of, input_shape=shape, classes=len(names), form=form)
    except UsageError as error:
        raise DamagedFileError(folder / DESCRIPTION, str(error)) from None
    return mean.eval(), names


def without_classes(path: Path) -> LimbeckError:
    """What is said of an encoder that was distilled without a task, where a classifier is wanted."""
    return LimbeckError(
        f"{path} is an encoder that was distilled without a task, and tells no classes apart: fine-tune it first, "
        'as a teacher or reference with model = { kind = "encoder", from = … }'
    )
