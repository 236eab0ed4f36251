"""What teachers said about transfer sets: recorded once, read for all who learn from it, mended where damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from limbeck.artifacts import ArtifactStore
from limbeck.data import ViewCache
from limbeck.data.part import row_shape
from limbeck.data.texts import placed
from limbeck.files import DamagedFileError
from limbeck.knowledge import Knowledge, Recording, check_knowledge, combined, extract, repair, spot_check
from limbeck.models.encoder import Encoder, truncation
from limbeck.models.mean import MeanModel
from limbeck.plan.model_stage import ModelStage
from limbeck.progress import Progress, Share
from limbeck.rows import row_label
from limbeck.teachers import TorchTeacher
from limbeck.wholeness import artifact_damages


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
        self.progress.start(f"knowledge of {_called(teacher)}, {_contents(missing)}", sum(len(r.part) for r in missing))
        for recording in missing:
            share = Share(self.progress, done)
            extract(asked, recording, self.store, pixels=partial(recording.pixels, self.cache), progress=share)
            done += len(recording.part)
        self.progress.end()
        rows = [(f'texts of "{one.part.name}"', one.part.inputs) for one in missing if not one.view]
        if isinstance(asked.model, Encoder) and (said := truncation(asked.model, rows)) is not None:
            self.progress.line(f"knowledge of {_called(teacher)}: {said}")

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

        The parts of a transfer set come one after the other. What several teachers said is put together for the
        temperature that the student learns at, view by view.
        """
        recorded, objective = stage.recorded(), stage.objective
        temperature = objective.temperature if objective.loss == "soft_targets" else None
        key = "".join(recording.identity.key for recording in stage.recordings)
        if len(recorded) > 1:
            key += f" at {temperature} by {teacher_of(stage).identity.key}"
        if self._read_last is not None and self._read_last[0] == key:
            return self._read_last[1:]
        self._read_last = None
        for teacher, recordings in recorded:
            self.make(recordings, teacher)
        views = [by_view(recordings) for _, recordings in recorded]
        inputs = self._inputs(views[0])
        classes, dtype = len(stage.rows.train.classes), stage.recordings[0].dtype
        log_probs = np.empty((*inputs.shape[:2], classes), np.float32 if len(recorded) > 1 else dtype)
        for number in range(len(inputs)):
            said = [
                self._answers(of_teacher[number], teacher, inputs[number])
                for of_teacher, (teacher, _) in zip(views, recorded, strict=True)
            ]
            log_probs[number] = self.together(stage, said, temperature)
        self._read_last = key, inputs, log_probs
        return inputs, log_probs

    def on_rows(self, stage: ModelStage) -> list[npt.NDArray[Any]]:
        """What each of a student's teachers said about the rows themselves, part after part: (rows, classes) each."""
        found = []
        for teacher, recordings in stage.recorded():
            said = [self._checked(recording, teacher)[1] for recording in by_view(recordings)[0]]
            found.append(said[0] if len(said) == 1 else np.concatenate(said))
        return found

    def confidence(self, stage: ModelStage) -> npt.NDArray[np.float32]:
        """How sure a student's teacher is of each row itself: its top class's probability at T = 1, shape (rows,)."""
        log_probs = torch.from_numpy(self.together(stage, self.on_rows(stage), 1.0)).float()
        return np.asarray(log_probs.softmax(dim=1).amax(dim=1).numpy())

    def together(
        self, stage: ModelStage, said: Sequence[npt.NDArray[Any]], temperature: float | None
    ) -> npt.NDArray[Any]:
        """What one teacher said, or several as one."""
        if len(said) == 1:
            return said[0]
        mean = self.answering(teacher_of(stage)).model
        assert isinstance(mean, MeanModel)
        return combined(said, temperature, weights=mean.weights, mean=mean.mean)

    def _inputs(self, views: Sequence[Sequence[Recording]]) -> npt.NDArray[Any]:
        parts = [recording.part for recording in views[0]]
        inputs = np.empty((len(views), sum(map(len, parts)), *row_shape(parts)), parts[0].inputs.dtype)
        for number, recordings in enumerate(views):
            start = 0
            for recording in recordings:
                placed(recording.pixels(self.cache), inputs[number, start : start + len(recording.part)])
                start += len(recording.part)
        return inputs

    def _answers(
        self, recordings: Sequence[Recording], teacher: ModelStage, inputs: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        """What a teacher said about one view of all parts, (rows, classes); about a few rows it is asked again."""
        said, start = [], 0
        for recording in recordings:
            knowledge, log_probs = self._checked(recording, teacher)
            where = self._where(recording, teacher)
            pixels = inputs[start : start + len(recording.part)]
            spot_check(self.answering(teacher), knowledge, recording, pixels, where)
            said.append(log_probs)
            start += len(recording.part)
        return said[0] if len(said) == 1 else np.concatenate(said)

    def _checked(self, recording: Recording, teacher: ModelStage) -> tuple[Knowledge, npt.NDArray[Any]]:
        """A recording that fits the rows and labels, and its log-probabilities; damaged shards are made again."""
        knowledge = self.opened(recording, teacher)
        try:
            log_probs = knowledge.log_probs()
        except DamagedFileError:
            knowledge = self._repaired(recording, teacher)
            log_probs = knowledge.log_probs()
        check_knowledge(knowledge, recording.labelled, self._where(recording, teacher))
        return knowledge, log_probs

    def _where(self, recording: Recording, teacher: ModelStage) -> str:
        """What messages call a recording; of a member, whose it is."""
        of = f" of {_called(teacher)}" if "member" in teacher.variant else ""
        return f"knowledge {self.store.folder(recording.identity)}{of}"

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
        self.progress.start(f"knowledge of {_called(teacher)}, damaged shards", len(recording.part))
        knowledge = repair(
            asked, recording, self.store, pixels=lambda: recording.pixels(self.cache), progress=self.progress
        )
        self.progress.end()
        return knowledge


def by_view(recordings: Sequence[Recording]) -> list[list[Recording]]:
    """The recordings of a transfer set by view: of each, one for every part."""
    views: dict[int, list[Recording]] = {}
    for recording in recordings:
        views.setdefault(recording.view, []).append(recording)
    return [views[view] for view in sorted(views)]


def teacher_of(stage: ModelStage) -> ModelStage:
    """The teacher of a student; asked only of those that have one."""
    assert stage.teacher is not None
    return stage.teacher


def _called(teacher: ModelStage) -> str:
    """What a log calls a teacher: its name, of members with their number."""
    return row_label({"name": teacher.name, "variant": teacher.variant})


def _contents(recordings: Sequence[Recording]) -> str:
    """What a log calls them: `inputs and 11 views`."""
    views = sorted({recording.view for recording in recordings if recording.view})
    some = "" if not views else f"view {views[0]}" if len(views) == 1 else f"{len(views)} views"
    return " and ".join(filter(None, ["inputs" if any(not one.view for one in recordings) else "", some]))
