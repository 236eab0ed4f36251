"""What a run would do: stages, rows, bytes, and minutes from a short measurement; nothing is written."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from limbeck.at_once.fit import fit_at_once
from limbeck.batches import FreshBatches, StoredBatches
from limbeck.checkpoints import snapshot_epochs
from limbeck.data import Part
from limbeck.devices import on_device
from limbeck.files import DamagedFileError
from limbeck.knowledge import CombinedTargets, LabelTargets, Recording, StoredTargets, TargetSource
from limbeck.models import ThresholdTree, TreeEnsemble
from limbeck.models.opening import open_model
from limbeck.plan.derived import derived
from limbeck.plan.given_teacher import PredictionsModel
from limbeck.plan.model_stage import BiasCorrection, ModelStage
from limbeck.plan.planner import Planner, StudentPlan
from limbeck.plan.starting import new_encoder
from limbeck.progress import duration
from limbeck.recipe.settings import FITTED_AT_ONCE
from limbeck.regression import RegressionStage, walk
from limbeck.road import STAGES, Road
from limbeck.stages.fit_measuring import measured_fit
from limbeck.stages.general_measuring import general_bytes, general_seconds, unmade_start
from limbeck.stages.recordings import teacher_of
from limbeck.stages.workshop import new_model
from limbeck.teachers import TorchTeacher, log_probabilities
from limbeck.terminal import plain_table
from limbeck.training import predict_log_probs, train

MEASURED_STEPS = 12
MEASURED_STEPS_OF_ENCODERS = 3  # each takes as long as an epoch of a small net
MEASURED_ROWS = 1000
MEASURED_TEXTS = 64  # likewise
MEASURED_ITERATIONS = 5


@dataclass(frozen=True)
class Planned:
    """One stage that would run, or is there already."""

    title: str
    key: str
    done: bool
    rows: int
    bytes: int
    seconds: float


def describe_plan(road: Road, until: str) -> str:
    """A table of the stages, and what is left to do in sum.

    Args:
        road: opened; nothing of it is made.
        until: the last stage to count.
    """
    planned = list(plan(road, until))
    body = [
        ["there" if stage.done else "to do", stage.title, stage.key[:12], f"{stage.rows:,}", f"{stage.bytes:,}",
         "–" if stage.done else duration(stage.seconds)]
        for stage in planned
    ]  # fmt: skip
    left = [stage for stage in planned if not stage.done]
    summary = (
        f"{len(left)} of {len(planned)} stages to do: {sum(stage.rows for stage in left):,} rows, about "
        f"{sum(stage.bytes for stage in left):,} bytes, about {duration(sum(stage.seconds for stage in left))} here"
        if left
        else f"nothing to do: all {len(planned)} stages are there"
    )
    return plain_table(["state", "stage", "key", "rows", "bytes", "time"], body) + "\n" + summary


def plan(road: Road, until: str) -> list[Planned]:
    """The stages in the order in which they would run, each once."""
    found: dict[str, Planned] = {}
    seconds: dict[str, float] = {}

    def add(stage: ModelStage) -> None:
        for one in (*stage.needs, stage):
            add_knowledge(one)
            if one.identity.key not in found:
                found[one.identity.key] = _model(road, one)

    def add_knowledge(stage: ModelStage) -> None:
        for teacher, recordings in stage.recorded():
            for recording in recordings:
                if recording.identity.key not in found:
                    found[recording.identity.key] = _recording(road, recording, teacher, seconds)

    reached = STAGES.index(until)
    for stage in (stage for course in road.courses for stage in course.planner.teachers()):
        add(stage)
    plans = [(course.planner, plan) for course in road.courses for plan in course.planner.students()]
    if reached >= STAGES.index("extract"):
        for stage in (trial for _, student in plans for trial in student.trials):
            add(teacher_of(stage))
            add_knowledge(stage)
    if reached >= STAGES.index("distill"):
        for stage in road.generals:
            add(stage)
        for course in road.courses:
            for planner, student in plans:
                for stage in _to_make(road, planner, student) if planner is course.planner else ():
                    add(stage)
            for stage in course.planner.references():
                add(stage)
        for regression in road.outcome.regressions:
            found[regression.identity.key] = _regression(road, regression)
    return list(found.values())


def _to_make(road: Road, planner: Planner, plan: StudentPlan) -> list[ModelStage]:
    """The models of a student. Where a grid has not chosen yet, its first setting stands for what it will choose."""
    stages = plan.made
    for tried in filter(None, (plan.trials, plan.baselines)):
        chosen = tried[0]
        with contextlib.suppress(DamagedFileError, FileNotFoundError):
            if not road.fresh and all(road.workshop.is_done(stage) for stage in tried):
                chosen = road.workshop.chosen(tried)
        if plan.refits:
            chosen = planner.refitted(plan.student, chosen)
            stages.append(chosen)
        stages += derived(planner, plan.student, chosen)
    return stages


def _regression(road: Road, stage: RegressionStage) -> Planned:
    rows, settings = len(stage.task.values), stage.settings
    if road.store.is_complete(stage.identity) and not road.fresh:
        there = sum(file.stat().st_size for file in road.store.folder(stage.identity).iterdir())
        return Planned(f"regression {stage.title}", stage.identity.key, True, rows, there, 0.0)
    few = settings.model_copy(update={"steps": MEASURED_STEPS, "learning_rates": settings.learning_rates[:1]})
    began = time.perf_counter()
    walk(replace(stage, settings=few))
    steps = settings.steps * len(settings.learning_rates)
    seconds = (time.perf_counter() - began) * steps / MEASURED_STEPS
    losses = 22 * settings.steps  # as text
    return Planned(f"regression {stage.title}", stage.identity.key, False, rows, losses, seconds)


def _model(road: Road, stage: ModelStage) -> Planned:
    rows = len(stage.rows.train) if stage.selected is None else len(stage.selected)
    if isinstance(stage.made, BiasCorrection):
        rows = len(stage.made.part)
    if stage.path is not None or (road.workshop.is_done(stage) and not road.fresh):
        place = road.workshop.folder(stage)
        files = [place] if place.is_file() else [file for file in place.iterdir() if file.is_file()]
        return Planned(stage.title, stage.identity.key, True, rows, sum(file.stat().st_size for file in files), 0.0)
    if stage.members:  # its members are stages of their own, and it but names them
        return Planned(stage.title, stage.identity.key, False, rows, 0, 0.0)
    if not stage.is_trained and not stage.made:
        fit = measured_fit(stage)
        return Planned(stage.title, stage.identity.key, False, rows, fit.bytes, fit.seconds)
    if stage.general is not None:
        size = general_bytes(stage)
        return Planned(
            stage.title, stage.identity.key, False, rows, size, general_seconds(stage, MEASURED_STEPS_OF_ENCODERS)
        )
    model = _unmade(stage)
    size = 4 * sum(tensor.numel() for tensor in model.state_dict().values())
    if stage.train is not None and stage.train.snapshot_every and not stage.made:
        size *= 1 + len(snapshot_epochs(stage.train.epochs, stage.train.snapshot_every))
    return Planned(
        stage.title, stage.identity.key, False, rows, size, 0.0 if stage.made else _training_seconds(stage, rows)
    )


def _fitting_seconds(stage: ModelStage, rows: int) -> float:
    """Of what is fitted at once: sorting grows a little faster than the rows."""
    import sklearn.ensemble
    import sklearn.tree  # noqa: F401  # takes a moment, which is not the fit's

    some, more = min(rows, MEASURED_ROWS), 1.0
    if stage.model is not None and stage.model["kind"] == TreeEnsemble.kind:
        few = min(MEASURED_ITERATIONS, stage.model["iterations"])
        # Few rows are no measure: an iteration takes a while however few there are.
        some, more = min(rows, 10 * MEASURED_ROWS), stage.model["iterations"] / few
        stage = replace(stage, model={**stage.model, "iterations": few})
    part = stage.rows.train.take(np.arange(some))
    guess = None
    if stage.recordings:
        guess = np.log(np.random.default_rng(0).dirichlet(np.ones(len(part.classes)), some)).astype(np.float32)
    tree = new_model(stage)
    assert isinstance(tree, ThresholdTree | TreeEnsemble)
    began = time.perf_counter()
    fit_at_once(tree, part.inputs, part.labels, guess, stage.objective, 0)
    return (time.perf_counter() - began) * more * float(rows * np.log2(rows + 1) / (some * np.log2(some + 1)))


def _training_seconds(stage: ModelStage, rows: int) -> float:
    if stage.model is not None and stage.model["kind"] in FITTED_AT_ONCE:
        return _fitting_seconds(stage, rows) * max(1, len({recording.view for recording in stage.recordings}))
    settings = stage.settings
    steps = MEASURED_STEPS if stage.start is None else MEASURED_STEPS_OF_ENCODERS
    some = min(rows, steps * settings.batch_size)
    part = stage.rows.train.take(np.arange(some))
    batches = (
        StoredBatches(part.inputs[np.newaxis], settings.batch_size)
        if stage.fresh_views is None
        else FreshBatches(part, stage.fresh_views, settings.batch_size, stage.seed)
    )
    targets: TargetSource = LabelTargets(part.labels)
    if stage.recordings:
        guess = np.zeros((1, some, len(part.classes)), np.float16)
        targets = CombinedTargets(StoredTargets(guess), targets)
    model = on_device(_unmade(stage))
    objective, asking = stage.objective, 0.0
    if objective.uses_states:  # its teacher is asked in every step
        objective, asking = replace(objective, soft=1.0, hidden=0.0, relations=0.0), _answering_seconds(stage, part)
    seconds = []
    for _ in range(2):  # the first warms up
        began = time.perf_counter()
        once = replace(settings, epochs=1, passes=1)
        train(model, batches, targets, objective, once, seed=0)
        seconds.append(time.perf_counter() - began)
    validation = stage.rows.validation.inputs
    few = validation if stage.start is None else validation[:MEASURED_TEXTS]
    began = time.perf_counter()
    if len(few):
        predict_log_probs(model, few)
    judging = (time.perf_counter() - began) * len(validation) / max(1, len(few))
    return ((seconds[-1] + asking) * rows / some * settings.passes + judging) * settings.epochs


def _unmade(stage: ModelStage) -> nn.Module:
    """The stage's model as it is before training: what it begins with need not be there, for numbers take no time."""
    if stage.given is not None:
        return stage.given
    if stage.path is not None:
        return open_model(stage.path)[0]
    return new_model(stage) if stage.start is None else new_encoder(unmade_start(stage), _unmade)


def _answering_seconds(stage: ModelStage, part: Part) -> float:
    """How long a student's teacher takes for some rows."""
    teacher = TorchTeacher(on_device(_unmade(teacher_of(stage))))
    teacher.answer(part.inputs)
    began = time.perf_counter()
    teacher.answer(part.inputs)
    return time.perf_counter() - began


def _recording(road: Road, recording: Recording, teacher: ModelStage, seconds: dict[str, float]) -> Planned:
    rows = len(recording.part)
    size = rows * len(recording.part.classes) * np.dtype(recording.dtype).itemsize
    view = f", view {recording.view}" if recording.view else ", inputs"
    part = "" if recording.part.name == "train" else f", {recording.part.name}"
    title = f"knowledge of {teacher.title.partition(' ')[2]}{part}{view}"
    folder = road.store.folder(recording.identity)
    if folder.is_dir() and not road.fresh:
        there = sum(file.stat().st_size for file in folder.iterdir())
        return Planned(title, recording.identity.key, True, rows, there, 0.0)
    if teacher.identity.key not in seconds:
        seconds[teacher.identity.key] = _asking_seconds(road, recording, teacher)
    return Planned(title, recording.identity.key, False, rows, size, seconds[teacher.identity.key] * rows)


def _asking_seconds(road: Road, recording: Recording, teacher: ModelStage) -> float:
    if isinstance(teacher.given, PredictionsModel):
        return 0.0
    # Its weights make no difference to the time, and a damaged teacher must not be mended by a dry run.
    if teacher.path is not None or teacher.is_trained:
        asked = TorchTeacher(on_device(_unmade(teacher)))
    else:
        return measured_fit(teacher).asking_seconds
    inputs = recording.part.inputs[: MEASURED_ROWS if teacher.start is None else MEASURED_TEXTS]
    with torch.inference_mode():
        log_probabilities(asked, inputs[: asked.batch_size])
        began = time.perf_counter()
        log_probabilities(asked, inputs)
    return (time.perf_counter() - began) / len(inputs)
