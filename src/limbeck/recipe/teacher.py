"""What teaches: networks or estimators to be trained, what exists already, a student, or the mean of several."""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeGuard

from pydantic import BeforeValidator, Field, model_validator

from limbeck.recipe.errors import found, misfit
from limbeck.recipe.settings import (
    FITTED_AT_ONCE,
    LARGEST,
    BoostedTrees,
    Convnet,
    Count,
    Encoder,
    Mlp,
    Name,
    Positive,
    SklearnTree,
    SoftTree,
    Table,
    Train,
    ViewSpec,
    annealing_problem,
)

Folds = Annotated[int, Field(ge=2, le=100)]
Members = Annotated[int, Field(ge=2, le=1000)]
Mean = Literal["probabilities", "logits"]
_WEIGHTS = ("equal", "fitted")


def _weights(value: object) -> object:
    if value is None or (isinstance(value, str) and value in _WEIGHTS):
        return value
    if isinstance(value, list) and len(value) > 1 and all(_is_number(one) and one >= 0 for one in value) and any(value):
        return [float(one) for one in value]
    expected = '"equal", "fitted", or a list of numbers of 0 or more, one for each member, some above 0'
    raise ValueError(found(value, expected))


def _is_number(value: object) -> TypeGuard[int | float]:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number with hundreds of digits
        return False


Weights = Annotated[list[float] | str | None, BeforeValidator(_weights)]


class RandomForest(Table):
    """scikit-learn's random forest: so many trees, each of rows and features drawn at random.

    `max_features`: how many of the features a split looks at.
    """

    kind: Literal["random-forest"] = "random-forest"
    trees: Count = 300
    max_depth: Count | None = None
    min_samples_leaf: Count = 1
    max_features: Literal["sqrt", "log2", "all"] = "sqrt"


class GradientBoosting(Table):
    """scikit-learn's gradient boosting on histograms: so many rounds, each with a tree for every class."""

    kind: Literal["gradient-boosting"] = "gradient-boosting"
    iterations: Count = 200
    learning_rate: Positive = 0.1
    leaves: Annotated[int, Field(ge=2, le=LARGEST)] = 31
    min_samples_leaf: Count = 20
    l2: float = Field(default=0.0, ge=0)


class LightGbm(Table):
    """LightGBM's gradient boosting; needs the extra `data`."""

    kind: Literal["lightgbm"] = "lightgbm"
    iterations: Count = 200
    learning_rate: Positive = 0.1
    leaves: Annotated[int, Field(ge=2, le=LARGEST)] = 31
    min_samples_leaf: Count = 20


Estimator = RandomForest | GradientBoosting | LightGbm
ESTIMATORS = frozenset({"random-forest", "gradient-boosting", "lightgbm"})
"""Kinds of teacher that are fitted to the training rows by another library."""

_ALIKE = frozenset({"gradient-boosting", "lightgbm"})  # drawing nothing at random, but for folds

TeacherModel = Annotated[
    Mlp | Convnet | SoftTree | SklearnTree | BoostedTrees | Encoder | RandomForest | GradientBoosting | LightGbm,
    Field(discriminator="kind"),
]


class Teacher(Table):
    """A network or an estimator to be trained, one that exists already, `from` a path, or the mean `of` several.

    With `members`, so many are trained that differ in their seed, the first with the run's own, and the teacher is
    their mean; with `bootstrap` each on as many training rows drawn with replacement (Breiman 1996). `member_name` is
    what the results call one. The `mean` is that of the softened probabilities or that of the logits (Hinton et al.
    2015, sec. 3), with `weights` that are equal, given as a list, or fitted to the validation rows. `student`: a
    student of this recipe teaches (Furlanello et al. 2018).

    `from` names the folder of a saved model, an ONNX file, a skops file with a fitted estimator (`trust`: types in it
    that are not known to be safe, and are to be loaded all the same), or a file of predictions. `views`: fresh random
    views of every row in each epoch of a network's training. `folds`: an estimator is fitted as often, each time
    without one of so many parts of the training rows; the mean of these is the teacher, and each training row is
    labelled by the one that has not seen it. A forest without `folds` labels its rows by the trees that have not. A
    network is trained on all rows, and as often without a part of them, to label that part (cross-fitting, Dao et al.
    2021); views of the rows are labelled by the teacher itself.
    """

    name: Name
    model: TeacherModel | None = None
    from_: str | None = Field(default=None, alias="from", min_length=1)
    of: list[str] | None = Field(default=None, min_length=1, description="the names of teachers")
    student: str | None = Field(default=None, min_length=1)
    members: Members | None = None
    bootstrap: bool | None = None
    member_name: Name | None = None
    mean: Mean | None = None
    weights: Weights | None = None
    train: Train | None = None
    views: ViewSpec | None = None
    folds: Folds | None = None
    trust: list[str] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Teacher:
        given = {"model": self.model, "from": self.from_, "of": self.of, "student": self.student}
        sources = [key for key, value in given.items() if value is not None]
        if len(sources) != 1:
            if not sources:
                raise misfit('found none of "model", "from", "of" and "student", expected one of them')
            raise misfit(f'found both of "{sources[0]}" and "{sources[1]}", expected one of them')
        fitted = self.model is not None and self.model.kind in ESTIMATORS
        if self.model is not None and not fitted and self.train is None:
            raise misfit('missing, expected a table: "model" has to be trained', "train")
        if fitted and self.train is not None:
            raise misfit(f"a {self.kind} is fitted at once, expected no train", "train")
        if self.model is not None and self.model.kind in FITTED_AT_ONCE:
            raise misfit(f"a {self.kind} remembers its rows: it has no soft targets there, take another", "model")
        if isinstance(self.model, Encoder) and self.model.from_ is None:
            raise misfit(
                'missing, expected a model to begin with: a folder, a name on the hub, or "minilm"', "model", "from"
            )
        if (
            isinstance(self.model, SoftTree)
            and self.train is not None
            and (problem := annealing_problem(self.model, self.train))
        ):
            raise misfit(problem, "train", "keep")
        self._check_keys(sources[0], fitted)
        self._check_mean(sources[0])
        return self

    def _check_mean(self, source: str) -> None:
        """What is wrong with the settings of a teacher that is several."""
        if self.members is not None and source != "model":
            reason = {"of": "its teachers are the members", "from": "it is trained already"}.get(source, "it is one")
            raise misfit(f'not with "{source}": {reason}', "members")
        for key in ("bootstrap", "member_name"):
            if getattr(self, key) is not None and self.members is None:
                raise misfit("expected it with members alone: it is about what they are", key)
        if self.members is not None and self.folds is None:
            if self.bootstrap and self.kind == "random-forest":
                reason = f"a {self.kind} draws rows for each of its trees: leave it out, or set folds"
                raise misfit(reason, "bootstrap")
            if not self.bootstrap and self.kind in _ALIKE:
                raise misfit(f"a {self.kind} is the same with every seed: set bootstrap = true, or folds", "members")
        for key in ("mean", "weights"):
            if getattr(self, key) is not None and not self.several:
                raise misfit('expected it with "members" or "of" alone: one teacher has no mean', key)
        if isinstance(self.weights, list) and self.members is not None and len(self.weights) != self.members:
            raise misfit(f"found {len(self.weights)}, expected {self.members}: one for each member", "weights")
        if self.member_name is not None and self.member_name.lower() == self.name.lower():
            raise misfit(found(self.member_name, "another name than the teacher's"), "member_name")

    @property
    def several(self) -> bool:
        """Whether it is the mean of several."""
        return self.members is not None or self.of is not None

    @property
    def called(self) -> str:
        """What the results call a member."""
        return self.member_name or f"{self.name}-single"

    def _check_keys(self, source: str, fitted: bool) -> None:
        for key, value in (("train", self.train), ("views", self.views)):
            if source == "from" and value is not None:
                raise misfit('not with "from", which names a network that is trained already', key)
            if source == "of" and value is not None:
                raise misfit('not with "of", whose teachers are each trained as they say', key)
            if source == "student" and value is not None:
                raise misfit('not with "student", which is trained as it says', key)
        if fitted and self.views is not None:
            raise misfit(f"a {self.kind} is fitted to the rows as they are, expected no views", "views")
        if self.folds is not None and self.bootstrap and not fitted:
            raise misfit("not with folds: what is drawn several times would be in several of them", "bootstrap")
        if self.folds is not None and source != "model":
            reason = {
                "from": 'not with "from": it is fitted already, and cannot be refitted',
                "of": 'not with "of": each of its teachers has its own',
                "student": 'not with "student", which is trained as it says',
            }[source]
            raise misfit(reason, "folds")
        if self.trust is not None and source != "from":
            raise misfit('expected it with "from" alone: it is about types in a skops file', "trust")
        if self.of is not None and len(set(self.of)) < len(self.of):
            raise misfit(found(self.of, "every teacher once"), "of")

    @property
    def kind(self) -> str:
        """The model's kind; nothing where there is none."""
        return "" if self.model is None else self.model.kind
