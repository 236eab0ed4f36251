"""Stages made: models trained or corrected, each once; what is damaged made again."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from limbeck.artifacts import PLAN, TIMES, ArtifactStore, kept_plan, read_checked, read_sums, recorded_seconds
from limbeck.at_once import fit_at_once, history_of
from limbeck.bias import BIAS, best_bias, raise_bias
from limbeck.checkpoints import load_snapshot, snapshot_epochs
from limbeck.data import Part, ViewCache
from limbeck.errors import LimbeckError
from limbeck.files import DamagedFileError, key_of, write_bytes, write_json
from limbeck.given_teacher import PredictionsModel
from limbeck.inspection import artifact_damages
from limbeck.lessons import learnt_from, lesson_of, stacked
from limbeck.model_stage import BiasCorrection, ModelStage, TreeForm
from limbeck.models import SoftDecisionTree, ThresholdTree, TreeEnsemble, build_model, load_model, save_model
from limbeck.models.encoder import Encoder, truncation
from limbeck.models.opening import open_model, saved_files
from limbeck.models.saving import WEIGHTS, KnownModel
from limbeck.precision import resolve_precision
from limbeck.progress import Progress
from limbeck.recipe_settings import FITTED_AT_ONCE
from limbeck.recordings import Recordings
from limbeck.starting import new_encoder
from limbeck.teacher_making import FITTED, fitted_weights, make_estimator, make_mean, mean_of
from limbeck.teachers import TorchTeacher, answers_about, own_answers
from limbeck.threads import thread_count, using_threads
from limbeck.training import predict_log_probs, train
from limbeck.tree_forms import FORM, form_facts, tree_form

HISTORY = "history.json"


class Workshop:
    """Makes stages, each once, and gives what they made.

    Args:
        store: where artifacts lie.
        cache: where view pixels are kept.
        progress: told what happens.
    """

    def __init__(self, store: ArtifactStore, cache: ViewCache, progress: Progress) -> None:
        self.store, self.progress = store, progress
        self.recordings = Recordings(store, cache, progress, self.answering)
        self._teachers: dict[str, TorchTeacher] = {}
        self._whole: set[str] = set()
        self._on_validation: dict[str, npt.NDArray[np.float32] | None] = {}

    def folder(self, stage: ModelStage) -> Path:
        """Where the stage's model is, or will be."""
        return stage.path or self.store.folder(stage.identity)

    def is_done(self, stage: ModelStage) -> bool:
        """Whether the model is there."""
        return stage.path is not None or self.store.is_complete(stage.identity)

    def model(self, stage: ModelStage) -> nn.Module:
        """The stage's model, made if it is not there, and made again if it is damaged."""
        if not all(self.is_done(one) for one in (*stage.members, stage)):
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
                return mean_of(stage, members, self._weights(stage))
            return open_model(self.folder(stage))[0]
        except DamagedFileError:
            return self._made_again(stage)

    def _weights(self, stage: ModelStage) -> tuple[float, ...] | None:
        """The weights of a mean that is there."""
        if not stage.combination.fitted:
            return stage.combination.weights
        judge = stage.combination.judge
        if judge is not None:
            return self._weights(judge)
        found = json.loads(read_checked(self.folder(stage), FITTED))["weights"]
        return tuple(float(weight) for weight in found)

    def fitted(self, stage: ModelStage) -> dict[str, Any] | None:
        """What came of fitting a mean's weights; None where they were not fitted."""
        if not stage.combination.fitted:
            return None
        found: dict[str, Any] = json.loads(read_checked(self.folder(stage.combination.judge or stage), FITTED))
        return found

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
        if aside is not None and _weights_digest(aside) not in (None, _weights_digest(self.folder(stage))):
            self.progress.line(
                f"{stage.title} came out with other weights than the damaged one had: threads, version or "
                "machine differ from when it was made"
            )
        return model

    def answering(self, stage: ModelStage) -> TorchTeacher:
        """A teacher in the form in which it answers."""
        key = stage.identity.key
        if key not in self._teachers:
            self._teachers[key] = TorchTeacher(self.model(stage))
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

    def weights_digest(self, stage: ModelStage) -> str | None:
        """What tells the stage's weights from others that it could have come out with; None where nothing says it."""
        if stage.members:
            return key_of([self.weights_digest(member) for member in stage.members])
        return _weights_digest(self.folder(stage))

    def history(self, stage: ModelStage) -> dict[str, Any] | None:
        """What happened in the model's training, if that was recorded beside it."""
        folder = self.folder(stage)
        if not (folder / HISTORY).exists():
            return None
        history = json.loads(read_checked(folder, HISTORY))
        return history if isinstance(history, dict) else None

    def validation_errors(self, stage: ModelStage) -> int | None:
        """The errors of the kept epoch on the validation rows that chose it; None where none did."""
        history = None if stage.made or stage.path else self.history(stage)
        if history is None or not len(stage.rows.validation):
            return None
        right = history["epochs"][history["kept_epoch"] - 1]["validation_accuracy"]
        return None if right is None else round((1 - right) * len(validation_of(stage)))

    def snapshots(self, stage: ModelStage) -> Iterator[tuple[int, KnownModel]]:
        """Epochs after which the weights were kept, and the model as it was: the same module, with those weights."""
        if stage.train is None or not stage.train.snapshot_every or stage.made:
            return
        model = self.model(stage)
        assert isinstance(model, KnownModel)
        for epoch in snapshot_epochs(stage.train.epochs, stage.train.snapshot_every):
            load_snapshot(self.folder(stage), model, epoch)
            yield epoch, model

    def seconds(self, stage: ModelStage) -> float | None:
        """How long the training took, if that was recorded; of a mean, that of its members."""
        if stage.members:
            taken = [self.seconds(member) for member in stage.members]
            return None if None in taken else sum(filter(None, taken))
        return recorded_seconds(self.folder(stage))

    def file_bytes(self, stage: ModelStage) -> int:
        """The size of the model's files, without what is kept beside them; of a mean, that of its members."""
        if stage.members:
            return sum(self.file_bytes(member) for member in stage.members)
        return sum(file.stat().st_size for file in saved_files(self.folder(stage)))

    def choose(self, stages: Sequence[ModelStage]) -> ModelStage:
        """Of several settings the one that is best on the validation rows: accuracy, then likelihood."""
        for stage in stages if len(stages) > 1 else ():
            self.model(stage)
        return self.chosen(stages)

    def chosen(self, stages: Sequence[ModelStage]) -> ModelStage:
        """As `choose`, of stages that are all there."""

        def score(stage: ModelStage) -> tuple[float, float]:
            history = self.history(stage)
            assert history is not None
            kept = history["epochs"][history["kept_epoch"] - 1]
            return kept["validation_accuracy"], -kept["validation_nll"]

        return stages[0] if len(stages) == 1 else max(stages, key=score)

    def _make(self, stage: ModelStage) -> nn.Module:
        for needed in stage.needs:
            if not self.is_done(needed):
                self._make(needed)
        if isinstance(stage.made, BiasCorrection):
            return self._correct(stage, stage.made)
        if stage.made:
            return self._reform(stage, stage.made)
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
            return self._weights(stage)
        found = fitted_weights(stage, [self.answering(member) for member in stage.members], part)
        self.progress.line(
            f"{stage.title}: weights fitted to {len(stage.rows.validation)} validation rows, for {found.errors} errors "
            f"there; {found.errors_equal} with equal ones"
        )
        return tuple(found.weights)

    def _correct(self, stage: ModelStage, bias: BiasCorrection) -> KnownModel:
        """A copy of a student with raised biases."""
        model, judge = self.model(bias.student), self.model(bias.judge)
        log_probs = predict_log_probs(judge, bias.part.inputs)
        found = best_bias(log_probs, bias.part.labels, bias.missing)
        with self.store.locked(stage.identity, self.progress.line) as part:
            if not self.store.is_complete(stage.identity):
                part.mkdir(parents=True, exist_ok=True)
                raise_bias(model, bias.missing, found.bias)
                write_json(part / BIAS, {"bias": found.bias, "errors": found.errors, "rows": len(bias.part)})
                save_model(part, model, stage.rows.train.classes, {"identity": stage.identity.as_json()})
                self.store.complete(stage.identity)
        self.progress.line(
            f"{stage.title}: raised by {found.bias:.2f}, for {found.errors} errors in {len(bias.part)} {bias.on} rows"
        )
        return load_model(self.folder(stage))[0]

    def _reform(self, stage: ModelStage, form: TreeForm) -> KnownModel:
        """A soft decision tree that answers in another way, or pruned."""
        whole = self.model(form.student)
        assert isinstance(whole, SoftDecisionTree)
        tree = tree_form(whole, form.predict, form.prune, _inputs(stage))
        with self.store.locked(stage.identity, self.progress.line) as part:
            if not self.store.is_complete(stage.identity):
                part.mkdir(parents=True, exist_ok=True)
                write_json(part / FORM, form_facts(whole, tree, validation_of(form.student)))
                save_model(part, tree, stage.rows.train.classes, {"identity": stage.identity.as_json()})
                self.store.complete(stage.identity)
        return load_model(self.folder(stage))[0]

    def form(self, stage: ModelStage) -> dict[str, float]:
        """What became of a tree that answers in another way or was pruned: leaves and errors; empty for others."""
        if not isinstance(stage.made, TreeForm):
            return {}
        found = json.loads(read_checked(self.folder(stage), FORM))
        return {name: value for name, value in found.items() if value is not None}

    def tree_size(self, stage: ModelStage) -> dict[str, int]:
        """Levels and leaves of a model that is a tree, trees and leaves of one that is many; empty for others."""
        if (stage.model or {}).get("kind") not in (SoftDecisionTree.kind, ThresholdTree.kind, TreeEnsemble.kind):
            return {}
        tree = self.model(stage)
        if isinstance(tree, TreeEnsemble):
            return {"trees": tree.trees, "leaves": tree.leaves}
        if isinstance(tree, ThresholdTree):
            return {"levels": tree.depth, "leaves": tree.leaves}
        assert isinstance(tree, SoftDecisionTree)
        return {"levels": tree.to_numpy().depth, "leaves": tree.leaf_count}

    def bias(self, stage: ModelStage) -> float | None:
        """By how much the stage's biases were raised."""
        if not isinstance(stage.made, BiasCorrection):
            return None
        return float(json.loads(read_checked(self.folder(stage), BIAS))["bias"])

    def _fit(self, stage: ModelStage) -> KnownModel:
        """A model that is fitted at once; its history is one epoch, by which a grid chooses as ever."""
        with self.store.locked(stage.identity, self.progress.line) as part:
            if self.store.is_complete(stage.identity):
                return load_model(self.folder(stage))[0]
            part.mkdir(parents=True, exist_ok=True)
            train, chosen = stage.rows.train, stage.selected
            rows = np.arange(len(train)) if chosen is None else chosen
            inputs, labels, log_probs = train.inputs[rows], train.labels[rows], None
            if stage.recordings:
                learnt = learnt_from(stage, self.recordings, self.progress)
                rows = rows if learnt is None else learnt
                seen, said = self.recordings.read(stage)
                inputs, log_probs = stacked(seen, rows), stacked(said, rows).astype(np.float32)
                labels = train.labels[rows]
                labels = np.pad(labels, (0, len(inputs) - len(rows)), constant_values=-1)  # synthetic rows have none
            unfitted, began = new_model(stage), time.monotonic()
            assert isinstance(unfitted, ThresholdTree | TreeEnsemble)
            self.progress.start(stage.title, 1)
            tree = fit_at_once(
                unfitted,
                inputs,
                labels,
                log_probs,
                stage.objective,
                stage.seed,
            )
            self.progress.end(f"{tree.leaves} leaves")
            write_json(part / HISTORY, history_of(tree, validation_of(stage)))
            write_json(part / TIMES, {"seconds": round(time.monotonic() - began, 3)})
            save_model(part, tree, train.classes, {"identity": stage.identity.as_json()})
            self.store.complete(stage.identity)
        return tree

    def new_model(self, stage: ModelStage) -> KnownModel | Encoder:
        """The stage's model before training."""
        return new_model(stage) if stage.start is None else new_encoder(stage, self.model)

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
            targets, batches = lesson_of(stage, self.recordings, self.progress)
            model = self.new_model(stage)
            if isinstance(model, Encoder):
                self._prepare(model, stage)
            with using_threads(plan["threads"]):
                history = train(
                    model,
                    batches,
                    targets,
                    stage.objective,
                    stage.settings,
                    seed=stage.seed,
                    validation=validation_of(stage),
                    precision=plan["precision"],
                    checkpoint=part,
                    snapshot_every=stage.train.snapshot_every if stage.train else None,
                    progress=self.progress,
                    title=stage.title,
                )
            if isinstance(model, SoftDecisionTree):
                model.count(_inputs(stage))
            write_json(part / HISTORY, history.as_json())
            write_json(part / TIMES, {"seconds": round(history.seconds, 3)})
            if isinstance(model, Encoder):
                model.show_states(False)
            details = {"identity": stage.identity.as_json()}
            save_model(part, model, stage.rows.train.classes, details)
            self.store.complete(stage.identity)
        return model

    def _prepare(self, model: Encoder, stage: ModelStage) -> None:
        """Before an encoder is trained: whether it has to show its states, and which texts are too long for it."""
        model.show_states(stage.objective.uses_states)
        rows = [("training texts", _inputs(stage)), ("validation texts", stage.rows.validation.inputs)]
        if (said := truncation(model, rows)) is not None:
            self.progress.line(f"{stage.title}: {said}")

    def _plan(self, part: Path, stage: ModelStage) -> dict[str, Any]:
        """What decides bytes but is no setting: written first, obeyed by whoever continues."""
        own: dict[str, Any] = {
            "precision": resolve_precision(stage.settings.precision, str((stage.model or {})["kind"])),
            "threads": thread_count(),
        }
        plan = kept_plan(part, own, self.progress.line)
        if plan["precision"] != own["precision"]:
            raise LimbeckError(
                f"{part} was begun in {plan['precision']}, but here {stage.title} would train in {own['precision']}: "
                f"continue where it was begun, or delete {part} to begin anew"
            )
        if plan["threads"] != own["threads"]:
            self.progress.line(f"{stage.title} was begun with {plan['threads']} threads and goes on with as many")
        return plan


def new_model(stage: ModelStage) -> KnownModel:
    """The stage's model before training: initialised by its seed, preprocessing learnt on its training rows."""
    part = stage.rows.train
    assert stage.model is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stage.seed)
        return build_model(stage.model, part.inputs.shape[1:], len(part.classes), part.inputs, part.form)


def _inputs(stage: ModelStage) -> npt.NDArray[Any]:
    """The inputs that it trains on, as they are."""
    inputs = stage.rows.train.inputs
    return inputs if stage.selected is None else inputs[stage.selected]


def validation_of(stage: ModelStage) -> Part:
    """The rows that choose its epoch: classes left out of the transfer set are left out of them, too."""
    chosen = stage.identity.settings["select"]
    validation = stage.rows.validation
    if not chosen or not len(validation):
        return validation
    return validation.take(validation.selected(**chosen))


def _weights_digest(folder: Path) -> str | None:
    try:
        sums = read_sums(folder)
    except DamagedFileError:
        return None
    if WEIGHTS in sums:
        return sums[WEIGHTS]
    estimators = {name: digest for name, digest in sums.items() if Path(name).suffix in (".skops", ".txt")}
    return key_of(estimators) if estimators else None
