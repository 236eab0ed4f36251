"""What is there of a run's models: where each lies, and what was recorded beside it. Nothing is made here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.artifacts import ArtifactStore, read_checked, read_sums, recorded_seconds
from limbeck.data import Part
from limbeck.files import DamagedFileError, key_of
from limbeck.models.opening import saved_files
from limbeck.models.saving import WEIGHTS
from limbeck.plan.model_stage import ModelStage
from limbeck.stages.teacher_making import FITTED

HISTORY = "history.json"


class Shelf:
    """Where models lie, and what is recorded beside them.

    Args:
        store: where artifacts lie.
    """

    def __init__(self, store: ArtifactStore) -> None:
        self.store = store

    def folder(self, stage: ModelStage) -> Path:
        """Where the stage's model is, or will be."""
        return stage.path or self.store.folder(stage.identity)

    def is_done(self, stage: ModelStage) -> bool:
        """Whether the model is there."""
        return stage.path is not None or self.store.is_complete(stage.identity)

    def weights(self, stage: ModelStage) -> tuple[float, ...] | None:
        """The weights of a mean that is there."""
        if not stage.combination.fitted:
            return stage.combination.weights
        judge = stage.combination.judge
        if judge is not None:
            return self.weights(judge)
        found = json.loads(read_checked(self.folder(stage), FITTED))["weights"]
        return tuple(float(weight) for weight in found)

    def fitted(self, stage: ModelStage) -> dict[str, Any] | None:
        """What came of fitting a mean's weights; None where they were not fitted."""
        if not stage.combination.fitted:
            return None
        found: dict[str, Any] = json.loads(read_checked(self.folder(stage.combination.judge or stage), FITTED))
        return found

    def weights_digest(self, stage: ModelStage) -> str | None:
        """What tells the stage's weights from others that it could have come out with; None where nothing says it."""
        if stage.members:
            return key_of([self.weights_digest(member) for member in stage.members])
        return digest_of_weights(self.folder(stage))

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

    def chosen(self, stages: Sequence[ModelStage]) -> ModelStage:
        """Of several settings that are all there the one best on the validation rows: accuracy, then likelihood."""

        def score(stage: ModelStage) -> tuple[float, float]:
            history = self.history(stage)
            assert history is not None
            kept = history["epochs"][history["kept_epoch"] - 1]
            return kept["validation_accuracy"], -kept["validation_nll"]

        return stages[0] if len(stages) == 1 else max(stages, key=score)


def validation_of(stage: ModelStage) -> Part:
    """The rows that choose its epoch: classes left out of the transfer set are left out of them, too."""
    chosen = stage.identity.settings["select"]
    validation = stage.rows.validation
    if not chosen or not len(validation):
        return validation
    return validation.take(validation.selected(**chosen))


def digest_of_weights(folder: Path) -> str | None:
    """What tells a model's weights in a folder from others; None where nothing says it."""
    try:
        sums = read_sums(folder)
    except DamagedFileError:
        return None
    if WEIGHTS in sums:
        return sums[WEIGHTS]
    estimators = {name: digest for name, digest in sums.items() if Path(name).suffix in (".skops", ".txt")}
    return key_of(estimators) if estimators else None
