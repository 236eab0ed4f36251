"""A model that a run needs: what decides it, and what has to be there first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from torch import nn

from limbeck.artifacts import Identity
from limbeck.data import Part, SyntheticSettings, ViewSettings
from limbeck.knowledge import Recording
from limbeck.objectives import Objective
from limbeck.recipe import Train
from limbeck.recipe.transfer import Confidence
from limbeck.rows import model_id, row_label
from limbeck.train_settings import TrainSettings
from limbeck.trees import Predict

if TYPE_CHECKING:
    from limbeck.plan.general_stage import GeneralTraining


@dataclass(frozen=True)
class Rows:
    """The rows that a stage works with: those left after the validation split, or, to refit, all.

    Attributes:
        train: to train on; of a transfer set that has some rows only, those.
        validation: to choose on; none to refit.
        refit: whether the validation rows are among those to train on.
    """

    train: Part
    validation: Part
    refit: bool = False

    @cached_property
    def hashes(self) -> dict[str, str]:
        """What enters keys: inputs and labels, of training and of validation rows. Never the test rows'."""
        return {
            "train": self.train.inputs_hash,
            "labels": self.train.labels_hash,
            "validation": self.validation.inputs_hash,
            "validation_labels": self.validation.labels_hash,
        }


@dataclass(frozen=True)
class Combination:
    """How several teachers become one.

    Attributes:
        mean: of what.
        weights: given, one for each member; None for equal ones, or where they are fitted.
        fitted: whether they are fitted to the validation rows.
        judge: the same of members that were not trained on these rows, whose weights are taken where members were
            refitted on all.
    """

    mean: Literal["probabilities", "logits"] = "probabilities"
    weights: tuple[float, ...] | None = None
    fitted: bool = False
    judge: ModelStage | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is the mean of probabilities with equal weights."""
        return self.mean == "probabilities" and self.weights is None and not self.fitted


PLAIN = Combination()


@dataclass(frozen=True)
class Start:
    """What an encoder begins with: the layers and pieces of another one.

    Attributes:
        key: the artifact's, or the digest of the folder.
        layers: how many it has.
        folder: of a Hugging Face model.
        stage: a teacher of the run, or an encoder that was distilled without a task, in its place.
        texts: of a vocabulary that is cut, the texts whose pieces are kept.
    """

    key: str
    layers: int
    folder: Path | None = None
    stage: ModelStage | None = None
    texts: Part | None = None

    @property
    def in_key(self) -> dict[str, str]:
        """What enters the key of a model that begins with it."""
        return {"start": self.key, **({"vocabulary": self.texts.inputs_hash} if self.texts is not None else {})}


@dataclass(frozen=True)
class ModelStage:
    """A model to train, or one that exists: a teacher, a student or a baseline.

    Attributes:
        role: teacher, student, baseline, reference or general.
        name: the part's name in the recipe; a baseline has its student's.
        identity: what decides the model.
        rows: what it trains and validates on.
        model: kind and settings; None for a teacher given by path.
        train: how; None for a teacher given by path.
        objective: what it minimises.
        targets: what is made of the teacher's soft targets before they are taught.
        fresh_views: new views in every epoch, None for the rows as they are (or in stored views, for a student).
        seed: of initialisation, order and dropout.
        selected: row numbers it trains on; None for all.
        recordings: the knowledge a student learns from, for each of its teachers one for every part and view.
        confidence: what is made of how sure the teacher is of rows without labels.
        variant: what tells its row apart from others of the name.
        tried: of a grid, the values that this stage stands for, by dotted path.
        path: the folder or file of a teacher given by path.
        given: such a teacher from a file, read already.
        folds: of an estimator, how often it is fitted, each time without a part of its rows; of a teacher that is
            trained, how many are trained beside it.
        apart: these, each of which labels the rows that it was trained without.
        members: of a teacher that is the mean of others, those.
        combination: how they become one.
        start: of an encoder, what it begins with.
        teacher: a student's, which records its knowledge; a baseline's is its student's, for comparison alone.
        made: for a student that is made from a trained one, how: its biases corrected, or a tree that answers in
            another way or is pruned.
        general: of an encoder that is distilled without a task, or of its teacher's head, how.
    """

    role: str
    name: str
    identity: Identity
    rows: Rows
    model: Mapping[str, Any] | None = None
    train: Train | None = None
    objective: Objective = field(default_factory=lambda: Objective(loss="hard_labels"))
    targets: str = "teacher"
    fresh_views: ViewSettings | None = None
    seed: int = 0
    selected: npt.NDArray[np.int64] | None = None
    recordings: tuple[Recording, ...] = ()
    variant: Mapping[str, Any] = field(default_factory=dict)
    tried: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    given: nn.Module | None = None
    folds: int | None = None
    apart: tuple[ModelStage, ...] = ()
    members: tuple[ModelStage, ...] = ()
    combination: Combination = PLAIN
    confidence: Confidence | None = None
    start: Start | None = None
    teacher: ModelStage | None = None
    made: BiasCorrection | TreeForm | None = None
    general: GeneralTraining | None = None

    @property
    def title(self) -> str:
        """What messages call it."""
        tried = {path.rpartition(".")[2]: value for path, value in self.tried.items()}
        return f"{self.role} {row_label({'name': self.name, 'variant': {**self.variant, **tried}})}"

    @property
    def id(self) -> str:
        """ROLE/NAME[-VARIANT]: its name in predictions/ and models/."""
        return model_id(self.role, self.name, self.variant)

    @property
    def needs(self) -> tuple[ModelStage, ...]:
        """The models that have to be there first, a teacher before its student."""
        first = self.made.needs if self.made else self.general.needs if self.general else ()
        if self.combination.judge is not None:
            first = (*first, self.combination.judge)
        if self.start is not None and self.start.stage is not None:
            first = (*first, self.start.stage)
        taught = (self.teacher,) if self.teacher is not None and self.recordings else ()
        return tuple(stage for one in (*self.members, *self.apart, *taught, *first) for stage in (*one.needs, one))

    @property
    def asked(self) -> tuple[ModelStage, ...]:
        """Of a teacher, the models that are asked: its members, or itself."""
        return self.members or (self,)

    def recorded(self) -> list[tuple[ModelStage, tuple[Recording, ...]]]:
        """The knowledge that a student learns from, by the teacher it is of: for each, every view of every part."""
        if self.teacher is None or not self.recordings:
            return []
        by_key: dict[str, list[Recording]] = {}
        for recording in self.recordings:
            by_key.setdefault(recording.teacher_key, []).append(recording)
        return [(teacher, tuple(by_key[teacher.identity.key])) for teacher in self.teacher.asked]

    @property
    def is_trained(self) -> bool:
        """Whether it is a network or a tree that is trained here, and not an estimator or what exists already."""
        return self.train is not None

    @property
    def synthetic(self) -> bool:
        """Whether the views that it learns from are synthetic rows, which have no labels."""
        return any(isinstance(recording.view_settings, SyntheticSettings) for recording in self.recordings)

    @property
    def settings(self) -> TrainSettings:
        """The loop's settings; `refit`, which decides what rows there are, and `snapshot_every` are not among them."""
        assert self.train is not None
        values = self.train.model_dump(exclude={"refit", "snapshot_every"}, exclude_none=True)
        return TrainSettings(**(values if len(self.rows.validation) else {**values, "keep": "last"}))


@dataclass(frozen=True)
class BiasCorrection:
    """A student, and where the number comes from by which the biases of classes that it never saw are raised.

    Attributes:
        student: as it was trained.
        judge: the same trained on the split's rows, if the student was refitted on all: for which rows that it was
            not trained on are there to choose on. Else the student itself.
        on: what the rows to choose on are called: validation or test.
        part: those rows, of all classes.
        missing: numbers of the classes that the transfer set has no rows of.
    """

    student: ModelStage
    judge: ModelStage
    on: str
    part: Part
    missing: tuple[int, ...]

    @property
    def needs(self) -> tuple[ModelStage, ...]:
        """The models that have to be there first."""
        return (self.student, self.judge)


@dataclass(frozen=True)
class TreeForm:
    """A soft decision tree that was trained, answering in another way or pruned.

    Attributes:
        student: as it was trained.
        predict: how it answers.
        prune: the share of the training rows below which a subtree is taken out; None for the whole tree.
    """

    student: ModelStage
    predict: Predict
    prune: float | None = None

    @property
    def needs(self) -> tuple[ModelStage, ...]:
        """The models that have to be there first."""
        return (self.student,)
