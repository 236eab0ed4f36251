"""Stages made: models trained or corrected, each once; what is damaged made again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from limbeck.artifacts import PLAN, ArtifactStore, check_plan, kept_plan, read_checked
from limbeck.checkpoints import load_snapshot, snapshot_epochs
from limbeck.data import ViewCache
from limbeck.devices import CPU, on_device, own_generators, resolve_device
from limbeck.files import DamagedFileError, read_json, write_bytes
from limbeck.models import build_model, load_model
from limbeck.models.encoder import Encoder
from limbeck.models.opening import open_model
from limbeck.models.saving import KnownModel
from limbeck.plan.given_teacher import PredictionsModel
from limbeck.plan.model_stage import BiasCorrection, ModelStage, TreeForm
from limbeck.plan.starting import new_encoder
from limbeck.precision import resolve_precision
from limbeck.progress import Progress
from limbeck.recipe.settings import FITTED_AT_ONCE
from limbeck.stages.at_once_making import make_fitted
from limbeck.stages.derived_making import make_corrected, make_form
from limbeck.stages.general_making import make_general, open_general
from limbeck.stages.lessons import lesson_of
from limbeck.stages.recordings import Recordings
from limbeck.stages.shelf import Shelf, digest_of_weights, validation_of
from limbeck.stages.teacher_making import fitted_weights, make_estimator, make_mean, mean_of
from limbeck.stages.trained_making import inputs_of, make_trained
from limbeck.teachers import TorchTeacher, answers_about, own_answers
from limbeck.threads import thread_count, using_threads
from limbeck.wholeness import artifact_damages


class Workshop(Shelf):
    """Makes stages, each once, and gives what they made.

    Args:
        store: where artifacts lie.
        cache: where view pixels are kept.
        progress: told what happens.
    """

    def __init__(self, store: ArtifactStore, cache: ViewCache, progress: Progress) -> None:
        super().__init__(store)
        self.progress = progress
        self.recordings = Recordings(store, cache, progress, self.answering)
        self._teachers: dict[str, TorchTeacher] = {}
        self._whole: set[str] = set()
        self._on_validation: dict[str, npt.NDArray[np.float32] | None] = {}

    def model(self, stage: ModelStage) -> nn.Module:
        """The stage's model, made if it is not there, and made again if it is damaged."""
        if not all(self.is_done(one) for one in (*stage.members, *stage.apart, stage)):
            return self._make(stage)
        if stage.given is not None:
            return stage.given
        if stage.path is not None:
            return open_model(stage.path)[0]
        members = [self.model(member) for member in stage.members]
        try:
            if found := artifact_damages(self.folder(stage)):
                raise found[0]
            if members:
                return mean_of(stage, members, self.weights(stage))
            if stage.general is not None:
                return open_general(self.folder(stage))
            return open_model(self.folder(stage))[0]
        except DamagedFileError:
            return self._made_again(stage)

    def _made_again(self, stage: ModelStage) -> nn.Module:
        """A damaged model, set aside and made again as it was planned then."""
        aside = None
        with self.store.locked(stage.identity, self.progress.line) as part:
            # Another process may have made it again while this one waited.
            if self.store.is_complete(stage.identity) and (found := artifact_damages(self.folder(stage))):
                aside = self.store.set_aside(stage.identity)
                self.progress.line(
                    f"{found[0].path} is damaged: set aside as {aside.name}, {stage.title} is made again"
                )
                part.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(DamagedFileError, FileNotFoundError):
                    write_bytes(part / PLAN, read_checked(aside, PLAN))
        model = self._make(stage)
        if aside is not None and digest_of_weights(aside) not in (None, digest_of_weights(self.folder(stage))):
            self.progress.line(
                f"{stage.title} came out with other weights than the damaged one had: threads, version or "
                "machine differ from when it was made"
            )
        return model

    def answering(self, stage: ModelStage) -> TorchTeacher:
        """A teacher in the form in which it answers."""
        key = stage.identity.key
        if key not in self._teachers:
            self._teachers[key] = TorchTeacher(on_device(self.model(stage)))
        return self._teachers[key]

    def on_validation(self, stage: ModelStage) -> npt.NDArray[np.float32] | None:
        """What a model says about the validation rows; None where there are none, or it has no answers for them."""
        validation = stage.rows.validation
        if not len(validation):
            return None
        key = stage.identity.key
        if key not in self._on_validation:
            asked = self.answering(stage)
            own = own_answers(asked, validation)
            of_file = isinstance(stage.given, PredictionsModel) and (own is None or not own[0].all())
            self._on_validation[key] = None if of_file else answers_about(asked, validation.inputs, own)
        return self._on_validation[key]

    def mend(self, stage: ModelStage) -> int:
        """Make again what is damaged of a model and of all it was made from; how many artifacts that were."""
        mended = sum(self.mend(needed) for needed in stage.needs)
        for teacher, recordings in stage.recorded():
            for recording in recordings:
                if recording.identity.key not in self._whole:
                    mended += self.recordings.mend(recording, teacher)
                    self._whole.add(recording.identity.key)
        if stage.identity.key not in self._whole and stage.path is None and artifact_damages(self.folder(stage)):
            self.model(stage)
            mended += 1
        self._whole.add(stage.identity.key)
        return mended

    def snapshots(self, stage: ModelStage) -> Iterator[tuple[int, KnownModel | Encoder]]:
        """Epochs after which the weights were kept, and the model as it was: the same module, with those weights."""
        if stage.train is None or not stage.train.snapshot_every or stage.made:
            return
        model = self.model(stage)
        assert isinstance(model, KnownModel | Encoder)
        for epoch in snapshot_epochs(stage.train.epochs, stage.train.snapshot_every):
            load_snapshot(self.folder(stage), model, epoch)
            yield epoch, model

    def choose(self, stages: Sequence[ModelStage]) -> ModelStage:
        """Of several settings the one that is best on the validation rows: accuracy, then likelihood."""
        for stage in stages if len(stages) > 1 else ():
            self.model(stage)
        return self.chosen(stages)

    def _make(self, stage: ModelStage) -> nn.Module:
        for needed in stage.needs:
            if not self.is_done(needed):
                self._make(needed)
        if stage.made:
            return self._derive(stage, stage.made)
        if stage.general is not None:
            return self._distil_general(stage)
        return self._train(stage) if stage.is_trained else self._teach(stage)

    def _teach(self, stage: ModelStage) -> nn.Module:
        """An estimator, or the mean of several teachers."""
        members = [self.model(member) for member in stage.members]
        with self.store.locked(stage.identity, self.progress.line) as part:
            if not self.store.is_complete(stage.identity):
                part.mkdir(parents=True, exist_ok=True)
                if members:
                    make_mean(stage, part, members, self._weights_for(stage, part))
                else:
                    make_estimator(stage, part, self.progress)
                self.store.complete(stage.identity)
        return self.model(stage)

    def _weights_for(self, stage: ModelStage, part: Path) -> tuple[float, ...] | None:
        """The weights of a mean that is being made in the folder `part`."""
        if not stage.combination.fitted or stage.combination.judge is not None:
            return self.weights(stage)
        found = fitted_weights(stage, [self.answering(member) for member in stage.members], part)
        self.progress.line(
            f"{stage.title}: weights fitted to {len(stage.rows.validation)} validation rows, for {found.errors} errors "
            f"there; {found.errors_equal} with equal ones"
        )
        return tuple(found.weights)

    def _derive(self, stage: ModelStage, made: BiasCorrection | TreeForm) -> nn.Module:
        """A copy of a student with raised biases; a soft decision tree that answers in another way, or pruned."""
        said: str | None = None
        model = self.model(made.student)
        judge = self.model(made.judge) if isinstance(made, BiasCorrection) else model
        with self.store.locked(stage.identity, self.progress.line) as part:
            if not self.store.is_complete(stage.identity):
                part.mkdir(parents=True, exist_ok=True)
                if isinstance(made, BiasCorrection):
                    said = make_corrected(stage, made, part, model, judge)
                else:
                    make_form(stage, made, part, model, inputs_of(stage), validation_of(made.student))
                self.store.complete(stage.identity)
        if said is not None:
            self.progress.line(said)
        return open_model(self.folder(stage))[0]

    def _distil_general(self, stage: ModelStage) -> nn.Module:
        """An encoder distilled without a task, or the head that its teacher lacks."""
        general = stage.general
        assert general is not None
        teacher = self._whole_folder(general.head) if general.head is not None else general.folder
        with self.store.locked(stage.identity, self.progress.line) as part:
            if self.store.is_all_there(stage.identity):
                self.store.complete(stage.identity)
            elif not self.store.is_complete(stage.identity):
                plan = self._plan(part, stage)
                with using_threads(plan["threads"]):
                    make_general(stage, teacher, part, self.progress)
                self.store.complete(stage.identity)
        return open_general(self.folder(stage))

    def _whole_folder(self, stage: ModelStage) -> Path:
        """The folder of a stage's model, made first if it is not there, or damaged."""
        self.model(stage)
        return self.folder(stage)

    def _fit(self, stage: ModelStage) -> nn.Module:
        """A model that is fitted at once."""
        with self.store.locked(stage.identity, self.progress.line) as part:
            if self.store.is_complete(stage.identity):
                return load_model(self.folder(stage))[0]
            part.mkdir(parents=True, exist_ok=True)
            tree = make_fitted(stage, part, new_model(stage), validation_of(stage), self.recordings, self.progress)
            self.store.complete(stage.identity)
        return tree

    def new_model(self, stage: ModelStage) -> KnownModel | Encoder:
        """The stage's model before training."""
        return new_model(stage) if stage.start is None else new_encoder(stage, self._begun)

    def _begun(self, stage: ModelStage) -> nn.Module | Path:
        """What an encoder begins with: a model, or a folder of one that was distilled without a task."""
        return self.model(stage) if stage.general is None else self._whole_folder(stage)

    def _train(self, stage: ModelStage) -> nn.Module:
        assert stage.model is not None
        if stage.model["kind"] in FITTED_AT_ONCE:
            return self._fit(stage)
        with self.store.locked(stage.identity, self.progress.line) as part:
            if self.store.is_complete(stage.identity):  # whoever held the lock made it
                return open_model(self.folder(stage))[0]
            if self.store.is_all_there(stage.identity):
                return open_model(self.store.complete(stage.identity))[0]
            plan = self._plan(part, stage)
            lesson = lesson_of(stage, self.recordings, self.progress)
            model = self.new_model(stage)
            apart = [(partial(self.model, one), self.folder(one)) for one in stage.apart]
            make_trained(stage, part, model, lesson, plan, self.progress, apart)
            self.store.complete(stage.identity)
        return open_model(self.folder(stage))[0] if apart else model

    def plan(self, stage: ModelStage) -> dict[str, Any]:
        """What a model that is there was trained with: device, precision, threads; of one fitted at once, ours."""
        try:
            return {"device": CPU, **read_json(self.folder(stage) / PLAN)}
        except (DamagedFileError, OSError):
            return _own_plan(stage)

    def _plan(self, part: Path, stage: ModelStage) -> dict[str, Any]:
        """What decides bytes but is no setting: written first, obeyed by whoever continues."""
        own = _own_plan(stage)
        plan = kept_plan(part, own, self.progress.line)
        check_plan(part, plan, own, f"{stage.title} would train")
        if plan["threads"] != own["threads"]:
            self.progress.line(f"{stage.title} was begun with {plan['threads']} threads and goes on with as many")
        return plan


def _own_plan(stage: ModelStage) -> dict[str, Any]:
    """How this process would train the stage's model."""
    kind = str((stage.model or {})["kind"])
    device = resolve_device(kind)
    precision = resolve_precision(stage.settings.precision, kind, device)
    return {"device": device, "precision": precision, "threads": thread_count()}


def new_model(stage: ModelStage) -> KnownModel:
    """The stage's model before training: initialised by its seed, preprocessing learnt on its training rows."""
    part = stage.rows.train
    assert stage.model is not None
    with own_generators():
        torch.manual_seed(stage.seed)
        return build_model(stage.model, part.inputs.shape[1:], len(part.classes), part.inputs, part.form)
