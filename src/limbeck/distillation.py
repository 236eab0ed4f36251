"""The road in Python, stage by stage, without a recipe or a run folder: teach, extract, distill, evaluate."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from torch import nn

from limbeck.artifacts import ArtifactStore
from limbeck.asking import known_of, members_of, memory, together
from limbeck.averaging import Mean
from limbeck.batches import BatchSource, FreshBatches, StoredBatches, held_out_order
from limbeck.data import Part, ViewSettings
from limbeck.errors import UsageError
from limbeck.evaluation import measure_cost, result_row
from limbeck.files import content_digest, key_of
from limbeck.fitting import check_part, check_seed, check_validation, prepare, probe
from limbeck.knowledge import (
    CombinedTargets,
    Knowledge,
    LabelTargets,
    Recording,
    StoredTargets,
    check_knowledge,
    repair,
)
from limbeck.knowledge import extract as extract_recording
from limbeck.knowledge.store import StoredDtype
from limbeck.models.estimator import Estimator
from limbeck.models.onnx_model import OnnxModel
from limbeck.objectives import Objective
from limbeck.progress import Progress
from limbeck.teachers import (
    EstimatorTeacher,
    as_teacher,
)
from limbeck.train_settings import TrainSettings
from limbeck.training import History, predict_log_probs, train
from limbeck.wholeness import artifact_damages


@dataclass(frozen=True)
class Distilled:
    """What came of it.

    Attributes:
        student: the module that was given, trained, in evaluation mode.
        knowledge: the teacher's log-probabilities for every row, of several teachers each one's: hand it on to teach
            another student.
        history: a row for each epoch.
    """

    student: nn.Module
    knowledge: Knowledge | tuple[Knowledge, ...]
    history: History


def teach(
    model: nn.Module,
    part: Part,
    settings: TrainSettings | None = None,
    *,
    validation: Part | None = None,
    views: ViewSettings | None = None,
    label_smoothing: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> History:
    """Train a model on labels alone, in place: a teacher, or the baseline that a student has to beat.

    Args:
        model: a torch module from raw inputs (batch, …) to logits. The preprocessing of a model of a known kind
            that has learnt none yet learns it from the part.
        part: the training rows, with labels.
        settings: how to train; ten epochs at 1e-3 by default.
        validation: labelled rows on which the epoch is chosen; without them the last is kept.
        views: images in new random views in every epoch.
        label_smoothing: ε, at least 0 and below 1.
        seed: of order, dropout and views; the model's weights are as they were given.
        progress: told by step.

    Raises:
        UsageError: if the arguments do not fit each other.
    """
    settings = settings or TrainSettings()
    check_seed(seed)
    check_part(part, "part")
    if not (part.labels >= 0).all():
        raise UsageError(f'part "{part.name}" has rows without labels: leave them out, or distill')
    if validation is not None:
        check_validation(validation, part)
    prepare(model, part.inputs, len(part.classes), "the model")
    batches: BatchSource = (
        StoredBatches(part.inputs[np.newaxis], settings.batch_size)
        if views is None or views.is_plain
        else FreshBatches(part, views, settings.batch_size, seed)
    )
    objective = Objective(loss="hard_labels", label_smoothing=label_smoothing)
    return train(
        model, batches, LabelTargets(part.labels), objective, settings,
        seed=seed, validation=validation, progress=progress, title="teacher",
    )  # fmt: skip


def extract(
    teacher: object,
    part: Part,
    artifacts: Path | str = "runs/artifacts",
    *,
    name: str | None = None,
    dtype: StoredDtype = "float16",
    progress: Progress | None = None,
) -> Knowledge:
    """Ask a teacher once about every row, and keep its answers on disk; the same call again only reads them.

    Args:
        teacher: a torch module or a function from raw inputs (batch, …) to logits, a fitted classifier of
            scikit-learn's or with its interface, or an object with `answer(inputs)`.
        part: the rows; labels are not needed.
        artifacts: the folder in which knowledge is kept, shared with runs.
        name: of the teacher. A module is known by its weights; anything else needs a name, and another teacher
            another one.
        dtype: in which log-probabilities are kept.
        progress: told by batch.

    Raises:
        UsageError: if there is no way to tell this teacher from another.
        LimbeckError: if its outputs are not finite, or what is kept under its name is not its own.
    """
    check_part(part, "part")
    if dtype not in get_args(StoredDtype):
        raise UsageError(f"dtype = {dtype!r}: expected one of {', '.join(get_args(StoredDtype))}")
    if isinstance(teacher, nn.Module) and not any(isinstance(one, Estimator | OnnxModel) for one in teacher.modules()):
        key = key_of({"module": _module_digest(teacher), "name": name})
    elif name is not None:
        key = key_of({"name": name})
    else:
        raise UsageError(f"{type(teacher).__name__} cannot be told from another teacher by its weights: pass name=…")
    recording, store = Recording(key, part, dtype=dtype), ArtifactStore(Path(artifacts))
    asked = as_teacher(teacher, part)
    if progress is not None and isinstance(asked, EstimatorTeacher) and asked.warning:
        progress.line(asked.warning)
    if store.is_complete(recording.identity) and artifact_damages(store.folder(recording.identity)):
        return repair(asked, recording, store, progress=progress)
    return extract_recording(asked, recording, store, progress=progress)


def distill(
    teacher: object,
    student: nn.Module,
    inputs: npt.ArrayLike | Part,
    settings: TrainSettings | None = None,
    *,
    labels: npt.ArrayLike | None = None,
    objective: Objective | None = None,
    weights: Sequence[float] | None = None,
    mean: Mean = "probabilities",
    validation: float | Part = 0.1,
    seed: int = 0,
    progress: Progress | None = None,
) -> Distilled:
    """Teach a student what a teacher knows about some inputs; the teacher is asked once for each row.

    Args:
        teacher: a torch module or a function from raw inputs (batch, …) to logits, a fitted classifier of
            scikit-learn's or with its interface, an object with `answer(inputs)`, or `Knowledge` about the same rows
            that was kept from before. Or a list of these: the student learns from the mean of what they say, each
            softened by its temperature.
        student: a torch module from the same raw inputs to logits, trained in place. The preprocessing of a
            model of a known kind that has learnt none yet learns it from these inputs.
        inputs: shape (n, …), uint8 or floats, without labels; or a part, with its own.
        settings: how to train; ten epochs at 1e-3 by default.
        labels: shape (n,), whole numbers, −1 for a row without; needed if the objective uses labels.
        objective: soft targets at T = 4 by default.
        weights: of several teachers, not negative; equal by default.
        mean: of several teachers, of their probabilities or of their logits.
        validation: the rows on which the epoch is chosen: a part, or the fraction of these rows that is held out,
            judged by their labels, or by the teacher's class where there are none. 0 keeps the last epoch.
        seed: of order, dropout and the validation rows.
        progress: told by step, and of a teacher that knows the labels of these rows by heart and not those of the
            validation part; without it, that is a UserWarning.

    Raises:
        UsageError: if the arguments do not fit each other.
        LimbeckError: if inputs or the teacher's outputs are not finite, or knowledge is of other rows.
    """
    objective = objective or Objective(temperature=4.0)
    settings = settings or TrainSettings()
    check_seed(seed)
    if not isinstance(validation, Part | int | float) or (not isinstance(validation, Part) and not 0 <= validation < 1):
        raise UsageError(
            f"validation = {validation}: expected a part, or a fraction of the rows, at least 0 and below 1"
        )
    part = _part(inputs, labels)
    check_part(part, "inputs")
    if objective.uses_labels and not (part.labels >= 0).any():
        raise UsageError("the objective uses labels, but none were given: pass labels, or hard=0")
    teachers, weights, mean = members_of(teacher, weights, mean)
    if not all(isinstance(one, Knowledge) for one in teachers):
        probe(student, part.inputs, None, "the student")
    by_id = isinstance(inputs, Part)
    known = [known_of(one, part, by_id=by_id, progress=progress) for one in teachers]
    first = known[0].knowledge
    for number, one in enumerate(known[1:], 2):
        if one.knowledge.classes != first.classes:
            raise UsageError(
                f"teacher {number} has the classes {', '.join(one.knowledge.classes[:12])}, but the first has "
                f"{', '.join(first.classes[:12])}: they must be the same, in the same order"
            )
    prepare(student, part.inputs, len(first.classes), "the student")
    if not by_id:
        part = replace(part, classes=first.classes)
    if isinstance(validation, Part):
        check_validation(validation, part)
    for one in known:
        check_knowledge(one.knowledge, part, one.where)
        said = memory(one, part.labels, validation) if isinstance(validation, Part) else None
        if said is not None and progress is not None:
            progress.line(said)
        elif said is not None:
            warnings.warn(said, UserWarning, stacklevel=2)
    temperature = objective.temperature if objective.loss == "soft_targets" else None
    log_probs = together(known, temperature, weights, mean)
    kept, judged = _held_out(part, log_probs, validation, seed)
    history = train(
        student,
        StoredBatches(part.inputs[np.newaxis], settings.batch_size, kept),
        CombinedTargets(StoredTargets(log_probs[np.newaxis]), LabelTargets(part.labels)),
        objective,
        settings,
        seed=seed,
        validation=judged,
        progress=progress,
        title="student",
    )
    return Distilled(student, first if len(known) == 1 else tuple(one.knowledge for one in known), history)


def evaluate(
    model: nn.Module,
    part: Part,
    *,
    teacher: nn.Module | None = None,
    baseline: nn.Module | None = None,
) -> dict[str, Any]:
    """A model measured on labelled rows: a row as in results.json.

    Args:
        model: a torch module from raw inputs (batch, …) to logits.
        part: the rows, best ones that no choice has seen.
        teacher: for agreement, and with a baseline for the gap recovered.
        baseline: the same model trained on labels alone, for the paired test and the verdict.

    Raises:
        UsageError: if rows have no labels, or the model does not fit them.
    """
    check_part(part, "part")
    if not (part.labels >= 0).all():
        raise UsageError(f'part "{part.name}" has rows without labels: they cannot be counted right or wrong')
    models = {"the model": model, "the teacher": teacher, "the baseline": baseline}
    was_training = model.training
    for what, given in models.items():
        if given is not None and not isinstance(given, nn.Module):
            raise UsageError(f"{what} is a {type(given).__name__}: expected a torch module")
        if given is not None:
            probe(given, part.inputs, len(part.classes), what)
    found = {what: predict_log_probs(given, part.inputs) for what, given in models.items() if given is not None}
    of_file = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    cost = measure_cost(model, of_file, part.inputs)
    model.train(was_training)
    return result_row(
        "reference" if baseline is None else "student",
        type(model).__name__,
        found["the model"],
        part.labels,
        cost=cost,
        teacher_log_probs=found.get("the teacher"),
        baseline_log_probs=found.get("the baseline"),
    )


def _held_out(
    part: Part, log_probs: npt.NDArray[Any], validation: float | Part, seed: int
) -> tuple[npt.NDArray[np.int64] | None, Part]:
    """The rows to train on (None: all), and those on which the epoch is chosen."""
    if isinstance(validation, Part):
        return None, validation
    rows = len(part)
    held = round(validation * rows)
    if held >= rows:
        raise UsageError(f"validation = {validation} leaves none of the {rows} inputs to train on: ask for less")
    order = held_out_order(seed, rows)
    chosen, kept = np.sort(order[:held]), np.sort(order[held:])
    truth = np.where(part.labels >= 0, part.labels, log_probs.argmax(axis=1))
    judged = replace(part, name="validation", inputs=part.inputs[chosen], labels=truth[chosen], ids=chosen)
    return kept, judged


def _module_digest(module: nn.Module) -> str:
    """What tells modules apart: what they are made of, and their weights; of limbeck's own kinds the settings, too."""
    tensors = {name: tensor.detach().cpu().float().numpy() for name, tensor in module.state_dict().items()}
    own = {name: part for name, part in module.named_modules() if type(part).__module__.startswith("limbeck.")}
    settings = {name: getattr(part, "settings", None) for name, part in own.items()}
    about = {
        "type": f"{type(module).__module__}.{type(module).__qualname__}",
        "as": repr(module),
        "settings": {name: repr(one) for name, one in settings.items() if one is not None},
    }
    return content_digest(tensors, about)


def _part(inputs: npt.ArrayLike | Part, labels: npt.ArrayLike | None) -> Part:
    if isinstance(inputs, Part):
        if labels is not None:
            raise UsageError("labels were given beside a part, which has its own: pass one of them")
        return inputs
    rows = np.atleast_1d(np.asarray(inputs))
    if rows.dtype.kind == "f":
        rows = rows.astype(np.float32)
    given = np.full(len(rows), -1) if labels is None else np.asarray(labels)
    if given.dtype.kind not in "iu" or given.shape != rows.shape[:1]:
        raise UsageError(
            f"labels are {given.dtype} of shape {given.shape}: expected whole numbers, one for each of the "
            f"{len(rows)} inputs"
        )
    classes = tuple(str(number) for number in range(int(given.max(initial=-1)) + 1))
    return Part("inputs", np.ascontiguousarray(rows), given.astype(np.int64), np.arange(len(rows)), classes)
