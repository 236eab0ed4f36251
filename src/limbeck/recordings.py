"""What teachers said about transfer sets: recorded once, read for all who learn from it, mended where damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.artifacts import ArtifactStore
from limbeck.data import ViewCache
from limbeck.files import DamagedFileError
from limbeck.inspection import artifact_damages
from limbeck.knowledge import Knowledge, Recording, check_knowledge, combined, extract, repair, spot_check
from limbeck.model_stage import ModelStage
from limbeck.progress import Progress, Share
from limbeck.teachers import TorchTeacher


class Recordings:
    """The knowledge of a run; the inputs and answers of the transfer set read last are kept in memory.

    Args:
        store: where artifacts lie.
        cache: where view pixels are kept.
        progress: told what happens.
        answering: gives a stage's model in the form in which it answers; called only where something is missing.
    """

    def __init__(
        self,
        store: ArtifactStore,
        cache: ViewCache,
        progress: Progress,
        answering: Callable[[ModelStage], TorchTeacher],
    ) -> None:
        self.store, self.cache, self.progress, self.answering = store, cache, progress, answering
        self._read_last: tuple[str, npt.NDArray[Any], npt.NDArray[Any]] | None = None

    def make_all(self, stage: ModelStage) -> None:
        """Make all that a student learns from and is not whole."""
        for teacher, recordings in stage.recorded():
            self.make(recordings, teacher)
            for recording in recordings:
                if recording.view:
                    self.opened(recording, teacher)
                else:  # a teacher that does not fit the labels is refused before anything learns from it
                    self._checked(recording, teacher)

    def make(self, recordings: Sequence[Recording], teacher: ModelStage) -> None:
        """Make the recordings of a transfer set that are not whole, as one work."""
        missing = [recording for recording in recordings if not self.store.is_complete(recording.identity)]
        if not missing:
            return
        asked, done = self.answering(teacher), 0
        self.progress.start(f"knowledge of {teacher.name}, {_contents(missing)}", sum(len(r.part) for r in missing))
        for recording in missing:
            share = Share(self.progress, done)
            extract(asked, recording, self.store, pixels=partial(recording.pixels, self.cache), progress=share)
            done += len(recording.part)
        self.progress.end()

    def opened(self, recording: Recording, teacher: ModelStage) -> Knowledge:
        """A recording, made or completed if it is not whole; its shards are checked when they are read."""
        if self.store.is_complete(recording.identity):
            try:
                return Knowledge.open(self.store.folder(recording.identity), recording.identity)
            except DamagedFileError:
                return self._repaired(recording, teacher)
        self.make([recording], teacher)
        return Knowledge.open(self.store.folder(recording.identity), recording.identity)

    def read(self, stage: ModelStage) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Inputs (views, rows, …) and log-probabilities (views, rows, classes), checked against each other.

        Those of several teachers are put together for the temperature that the student learns at.
        """
        recorded, objective = stage.recorded(), stage.objective
        temperature = objective.temperature if objective.loss == "soft_targets" else None
        key = "".join(recording.identity.key for recording in stage.recordings)
        key += "" if len(recorded) == 1 else f" at {temperature}"
        if self._read_last is not None and self._read_last[0] == key:
            return self._read_last[1:]
        self._read_last = None
        inputs = self._inputs(recorded[0][1])
        found = [self._answers(recordings, teacher, inputs) for teacher, recordings in recorded]
        log_probs = found[0] if len(found) == 1 else combined(found, temperature)
        self._read_last = key, inputs, log_probs
        return inputs, log_probs

    def _inputs(self, recordings: Sequence[Recording]) -> npt.NDArray[Any]:
        part = recordings[0].part
        inputs = np.empty((len(recordings), *part.inputs.shape), part.inputs.dtype)
        for number, recording in enumerate(recordings):
            inputs[number] = recording.pixels(self.cache)
        return inputs

    def _answers(
        self, recordings: Sequence[Recording], teacher: ModelStage, inputs: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        part = recordings[0].part
        log_probs = np.empty((len(recordings), len(part), len(part.classes)), recordings[0].dtype)
        for number, recording in enumerate(recordings):
            knowledge, log_probs[number] = self._checked(recording, teacher)
            where = f"knowledge {self.store.folder(recording.identity)}"
            spot_check(self.answering(teacher), knowledge, recording, inputs[number], where)
        return log_probs

    def _checked(self, recording: Recording, teacher: ModelStage) -> tuple[Knowledge, npt.NDArray[Any]]:
        """A recording that fits the rows and labels, and its log-probabilities; damaged shards are made again."""
        knowledge = self.opened(recording, teacher)
        try:
            log_probs = knowledge.log_probs()
        except DamagedFileError:
            knowledge = self._repaired(recording, teacher)
            log_probs = knowledge.log_probs()
        check_knowledge(knowledge, recording.labelled, f"knowledge {self.store.folder(recording.identity)}")
        return knowledge, log_probs

    def mend(self, recording: Recording, teacher: ModelStage) -> bool:
        """Make a recording again where it is damaged or missing; whether it was."""
        if not self.store.is_complete(recording.identity):
            self.opened(recording, teacher)
        elif artifact_damages(self.store.folder(recording.identity)):
            self._repaired(recording, teacher)
        else:
            return False
        return True

    def _repaired(self, recording: Recording, teacher: ModelStage) -> Knowledge:
        asked = self.answering(teacher)
        self.progress.start(f"knowledge of {teacher.name}, damaged shards", len(recording.part))
        knowledge = repair(
            asked, recording, self.store, pixels=lambda: recording.pixels(self.cache), progress=self.progress
        )
        self.progress.end()
        return knowledge


def _contents(recordings: Sequence[Recording]) -> str:
    """What a log calls them: `inputs and 11 views`."""
    views = [recording.view for recording in recordings if recording.view]
    some = "" if not views else f"view {views[0]}" if len(views) == 1 else f"{len(views)} views"
    return " and ".join(filter(None, ["inputs" if len(views) < len(recordings) else "", some]))
