"""A student's training from ten recorded teachers, divided by the same from one: what it costs to combine them."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from extraction import convnet
from lesson import SOFT_TARGETS, Lesson
from limbeck.artifacts import ArtifactStore, Identity
from limbeck.data import Part, ViewCache, ViewSettings
from limbeck.knowledge import Recording, extract
from limbeck.models import ConvNet, Standardize
from limbeck.models.mean import MeanModel
from limbeck.plan.model_stage import ModelStage, Rows
from limbeck.progress import Silent
from limbeck.stages.recordings import Recordings
from limbeck.teachers import FunctionTeacher, TorchTeacher
from measuring import Entry, in_turns, seconds_of

GOAL = 1.1
TEACHERS, EPOCHS = 10, 20
VIEWS = ViewSettings(rotate=15, scale=0.15, shear=0.1, shift=2)
COUNT = 5  # of views, the rows themselves among them
WIDTHS, HIDDEN = (16, 32, 64), 128  # of the teachers, and of a student of their size
SMALL = (128, 128)
BATCH = 128
SHARE = 5  # of an epoch of the convnet one in so many rows is trained on, and the seconds are scaled


class Recorded:
    """Teachers' knowledge on disk, and students that learn from the first of them.

    Every teacher is the same convnet under a key of its own: speed does not depend on what they know. Rows have no
    labels, as those of a transfer set that only teachers know about.

    Args:
        folder: where to put it.
        part: the rows.
        teachers: how many.
        views: how many, the rows themselves among them.
        model: that they all are.
    """

    def __init__(self, folder: Path, part: Part, teachers: int, views: int, model: ConvNet) -> None:
        self.store, self.cache = ArtifactStore(folder / "artifacts"), ViewCache(folder / "views")
        self.part = replace(part, labels=np.full(len(part), -1))
        self.rows, self.views = Rows(self.part, self.part.take(np.arange(0))), views
        self.asked = TorchTeacher(model)
        self.teachers = [self._stage(f"single {number}") for number in range(1, teachers + 1)]
        self.extraction_seconds = 0.0
        for view in range(views):
            first, *others = (self._recording(teacher, view) for teacher in self.teachers)
            pixels = first.pixels(self.cache)  # made before the first is asked: views are no part of its time
            self.extraction_seconds += seconds_of(
                partial(extract, self.asked, first, self.store, pixels=lambda same=pixels: same)
            )
            said = self.reader().opened(first, self.teachers[0]).log_probs()
            for recording in others:
                extract(_repeating(said, self.asked.batch_size), recording, self.store, pixels=lambda same=pixels: same)

    def _stage(self, name: str, members: tuple[ModelStage, ...] = ()) -> ModelStage:
        identity = Identity("teacher", 1, {"name": name}, {member.name: member.identity.key for member in members})
        return ModelStage("teacher", name, identity, self.rows, members=members)

    def _recording(self, teacher: ModelStage, view: int) -> Recording:
        return Recording(teacher.identity.key, self.part, view, VIEWS)

    def reader(self) -> Recordings:
        """What reads knowledge, with nothing in memory yet; asks as a run does, whose models are in memory, too."""

        def answering(stage: ModelStage) -> TorchTeacher:
            if not stage.members:
                return self.asked
            return TorchTeacher(MeanModel([self.asked.model] * len(stage.members)), precision=self.asked.precision)

        return Recordings(self.store, self.cache, Silent(), answering)

    def student(self, teachers: int) -> ModelStage:
        """A student that learns from the first so many."""
        members = tuple(self.teachers[:teachers])
        teacher = members[0] if teachers == 1 else self._stage(f"mean of {teachers}", members)
        recordings = tuple(self._recording(one, view) for one in members for view in range(self.views))
        identity = Identity("student", 1, {}, {"teacher": teacher.identity.key})
        return ModelStage(
            "student", "net", identity, self.rows, objective=SOFT_TARGETS, recordings=recordings, teacher=teacher
        )

    def read(self, teachers: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and answers, as a run reads them: shards, digests, teachers asked again about a few rows, the mean."""
        return self.reader().read(self.student(teachers))


def _repeating(said: np.ndarray, batch_size: int) -> FunctionTeacher:
    """A teacher that says these answers in their order, whatever it is asked."""
    batches = iter([said[start : start + batch_size] for start in range(0, len(said), batch_size)])
    return FunctionTeacher(lambda _: next(batches), batch_size=batch_size)


def entries(
    part: Part,
    *,
    teachers: int = TEACHERS,
    views: int = COUNT,
    widths: tuple[int, ...] = WIDTHS,
    hidden: int = HIDDEN,
    small: tuple[int, ...] = SMALL,
    batch: int = BATCH,
    share: int = SHARE,
    repeats: int = 5,
) -> list[Entry]:
    """Two entries for each of two students, and one for a further teacher.

    Args:
        part: the rows of the transfer set.
        teachers: how many.
        views: how many, the rows themselves among them.
        widths: of the convnets.
        hidden: of the convnets.
        small: the widths of the other student.
        batch: rows in a step.
        share: of the rows, one in so many is trained on to measure a convnet's epoch.
        repeats: of the measurement.
    """
    model = convnet(part, widths, hidden)
    with tempfile.TemporaryDirectory() as folder:
        recorded = Recorded(Path(folder), part, teachers + 1, views, model)
        lesson = Lesson(part, *recorded.read(teachers))

        def epoch(student: nn.Module, rows: int) -> float:
            return seconds_of(lambda: lesson.train(student, batch, rows=rows)) * len(part) / rows

        turns = in_turns(
            lambda: seconds_of(lambda: recorded.read(1)),
            lambda: seconds_of(lambda: recorded.read(teachers)),
            lambda: seconds_of(lambda: recorded.read(teachers + 1)),
            lambda: epoch(_convnet(part, widths, hidden, model.preprocessing), max(batch, len(part) // share)),
            lambda: epoch(lesson.student(small), len(part)),
            repeats=repeats,
        )
    one, all_of_them = turns.seconds[0], turns.seconds[1]
    found = []
    for name, action in (("a convnet", 3), (f"{len(small)}×{small[0]}", 4)):
        for epochs in (1, EPOCHS):
            ratios = [
                (epochs * epoch + above) / (epochs * epoch + below)
                for epoch, above, below in zip(turns.seconds[action], all_of_them, one, strict=True)
            ]
            goal = None if name != "a convnet" and epochs == 1 else GOAL
            long = "an epoch" if epochs == 1 else f"{epochs} epochs"
            note = f"read in {turns.median(1):.2f} s, one in {turns.median(0):.2f}; an epoch {turns.median(action):.2f}"
            title = f"{long} of {name}, {teachers} teachers read and combined / one read"
            found.append(Entry.of(title, ratios, goal, "lower", note))
    further = [(above - below) / (teachers - 1) for above, below in zip(all_of_them, one, strict=True)]
    last = turns.median(2) - turns.median(1)
    return [
        *found,
        Entry.of(
            "a further teacher, read and combined / asked about the same rows",
            [max(seconds, 1e-9) / recorded.extraction_seconds for seconds in further],
            None,
            "lower",
            f"{np.median(further):.2f} s by {recorded.extraction_seconds:.0f} s; one after {teachers}: {last:.2f} s",
        ),
    ]


def _convnet(part: Part, widths: tuple[int, ...], hidden: int, preprocessing: Standardize) -> ConvNet:
    """An untrained student, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student = ConvNet(part.inputs.shape[1:], len(part.classes), widths, hidden)
    student.preprocessing = preprocessing
    return student
