"""Teachers that scikit-learn and LightGBM fit: random forests and gradient boosting, out of fold where asked."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.data import Part
from limbeck.data.form import TableForm
from limbeck.errors import LimbeckError, UsageError, did_you_mean
from limbeck.fitting import check_part, check_seed
from limbeck.models.booster import Booster, load_lightgbm
from limbeck.models.estimator import OWN_KINDS, Estimator
from limbeck.models.estimator_rows import features_of
from limbeck.models.hard_labels import FLOOR
from limbeck.progress import Progress, Silent
from limbeck.teachers.out_of_fold import OwnRows, check_labels, fit_folds
from limbeck.threads import available_cores

Array = npt.NDArray[Any]

DEFAULTS: dict[str, dict[str, Any]] = {
    "random-forest": {"trees": 300, "max_depth": None, "min_samples_leaf": 1, "max_features": "sqrt"},
    "gradient-boosting": {"iterations": 200, "learning_rate": 0.1, "leaves": 31, "min_samples_leaf": 20, "l2": 0.0},
    "lightgbm": {"iterations": 200, "learning_rate": 0.1, "leaves": 31, "min_samples_leaf": 20},
}
"""The settings of each kind."""

MOST_CATEGORIES = 255  # of a column, for scikit-learn's histogram gradient boosting


@dataclass(frozen=True)
class Fitted:
    """A fitted teacher.

    Attributes:
        model: answers any row.
        own: what is said about the rows it was fitted to, by what has not seen them; None where nothing is.
    """

    model: Estimator
    own: OwnRows | None


def fit_estimator(
    kind: str,
    settings: Mapping[str, Any],
    part: Part,
    seed: int,
    folds: int | None = None,
    progress: Progress | None = None,
    *,
    threads: int | None = None,
    title: str | None = None,
) -> Fitted:
    """Fit a forest or gradient boosting to the labelled rows of a part.

    A category that its column does not have counts as missing. The number of threads does not change what comes out.

    Args:
        kind: "random-forest" (scikit-learn's), "gradient-boosting" (scikit-learn's, by histograms) or "lightgbm".
        settings: some of `DEFAULTS[kind]`.
        part: images are flattened; of a table, categories are told to gradient boosting, and missing values stay so.
        seed: of trees and folds.
        folds: None: one model of all rows, and a forest's own rows by the trees that left them out (out of bag,
            Breiman 1996). From 2 on: as many models, each fitted without one fold; their mean is the teacher.
        progress: told by fold.
        threads: to fit with; all cores by default.
        title: what it is called there; the kind by default.

    Raises:
        UsageError: an unknown kind or setting, a value out of range, or a number of folds below 2.
        LimbeckError: rows of fewer than two classes, fewer rows than folds, rows that no tree left out, a column of too
            many categories, or LightGBM is missing.
    """
    check_part(part, "part")
    check_seed(seed)
    chosen = checked_settings(kind, settings)
    check_labels(part)
    if kind == "gradient-boosting":
        _check_categories(part)
    rows = np.flatnonzero(part.labels >= 0)
    out_of_bag = kind == "random-forest" and folds is None
    threads = threads or available_cores()

    def fit(some: npt.NDArray[np.int64]) -> Any:
        features = features_of(part.inputs[some], part.form, unknown_as_missing=True)
        return _FITS[kind](features, part.labels[some], part, chosen, seed, threads, out_of_bag)

    def build(members: Sequence[object]) -> Estimator:
        return Estimator(members, part.inputs.shape[1:], part.classes, form=part.form, kind=kind, settings=chosen)

    progress = progress or Silent()
    if folds is not None:
        model = fit_folds(fit, build, part, folds, seed, progress=progress, title=title or kind)
        assert isinstance(model.own_rows, OwnRows)
        return Fitted(model, model.own_rows)
    progress.start(title or kind, 1)
    member = fit(rows)
    model = build([member])
    if out_of_bag:
        model.own_rows = own = _out_of_bag(member, part, rows, chosen)
    progress.at(1)
    progress.end()
    return Fitted(model, own if out_of_bag else None)


def checked_settings(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a kind, the defaults filled in.

    Raises:
        UsageError: an unknown kind or setting, or a value out of range.
    """
    if kind not in DEFAULTS:
        raise UsageError(
            f'no teacher of kind "{kind}"{did_you_mean(kind, OWN_KINDS)}: there are {", ".join(OWN_KINDS)}'
        )
    for name in settings:
        if name not in DEFAULTS[kind]:
            raise UsageError(
                f'model of kind "{kind}": no setting "{name}"{did_you_mean(name, DEFAULTS[kind])}: there are '
                f"{', '.join(DEFAULTS[kind])}"
            )
    chosen = {**DEFAULTS[kind], **settings}
    for name, value in chosen.items():
        expected = _expected(name, value)
        if expected is not None:
            raise UsageError(f'model of kind "{kind}": {name} = {value!r}: expected {expected}')
    return chosen


def _expected(name: str, value: Any) -> str | None:
    """What a setting should be, where it is not."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    number = whole or isinstance(value, float)
    if name in ("trees", "iterations", "min_samples_leaf", "leaves"):
        least = 2 if name == "leaves" else 1
        return None if whole and value >= least else f"a whole number, {least} or more"
    if name == "max_depth":
        return None if value is None or (whole and value >= 1) else "a whole number, 1 or more, or none for no limit"
    if name == "max_features":
        return None if value in ("sqrt", "log2", "all") else '"sqrt", "log2" or "all"'
    if name == "l2":
        return None if number and 0 <= value < float("inf") else "a number, 0 or more"
    return None if number and 0 < value < float("inf") else "a number above 0"


def _check_categories(part: Part) -> None:
    if not isinstance(part.form, TableForm):
        return
    for column in part.form.columns:
        if column.categories is not None and len(column.categories) > MOST_CATEGORIES:
            raise LimbeckError(
                f'column "{column.name}" has {len(column.categories)} categories, but gradient boosting takes '
                f'{MOST_CATEGORIES} at most: use kind = "lightgbm" or "random-forest", or leave the column out'
            )


def _fit_forest(
    features: Array, labels: Array, part: Part, settings: dict[str, Any], seed: int, threads: int, out_of_bag: bool
) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(
        n_estimators=settings["trees"],
        max_depth=settings["max_depth"],
        min_samples_leaf=settings["min_samples_leaf"],
        max_features=None if settings["max_features"] == "all" else settings["max_features"],
        oob_score=out_of_bag,
        random_state=seed,
        n_jobs=threads,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Some inputs do not have OOB scores")  # an error says so, with rows
        forest.fit(features, labels)
    return forest.set_params(n_jobs=None)  # it is not what makes two forests differ


def _fit_histograms(
    features: Array, labels: Array, part: Part, settings: dict[str, Any], seed: int, threads: int, _: bool
) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    boosting = HistGradientBoostingClassifier(
        max_iter=settings["iterations"],
        learning_rate=settings["learning_rate"],
        max_leaf_nodes=settings["leaves"],
        min_samples_leaf=settings["min_samples_leaf"],
        l2_regularization=settings["l2"],
        categorical_features=_categorical(part),
        early_stopping=False,
        random_state=seed,
    )
    # It adds up gradients by threads, in the order in which these end: with two the sum is the same either way.
    with threadpool_limits(min(threads, 2), user_api="openmp"):
        boosting.fit(features, labels)
    if hasattr(boosting, "_bin_mapper"):  # how many threads found the bins is not what makes two models differ
        boosting._bin_mapper.n_threads = 1
    return boosting


def _fit_lightgbm(
    features: Array, labels: Array, part: Part, settings: dict[str, Any], seed: int, threads: int, _: bool
) -> Any:
    lightgbm = load_lightgbm()
    boosting = lightgbm.LGBMClassifier(
        n_estimators=settings["iterations"],
        learning_rate=settings["learning_rate"],
        num_leaves=settings["leaves"],
        min_child_samples=settings["min_samples_leaf"],
        random_state=seed,
        n_jobs=threads,
        deterministic=True,
        force_row_wise=True,
        verbosity=-1,
    )
    mask = _categorical(part)
    columns = "auto" if mask is None else np.flatnonzero(mask).tolist()
    boosting.fit(features, labels, categorical_feature=columns)
    return Booster(boosting.booster_.model_to_string(), boosting.classes_.tolist())


_FITS = {"random-forest": _fit_forest, "gradient-boosting": _fit_histograms, "lightgbm": _fit_lightgbm}


def _categorical(part: Part) -> npt.NDArray[np.bool_] | None:
    if isinstance(part.form, TableForm) and part.form.categorical.any():
        return part.form.categorical
    return None


def _out_of_bag(forest: Any, part: Part, rows: npt.NDArray[np.int64], settings: dict[str, Any]) -> OwnRows:
    """What the trees that left a row out say about it, taken out of the forest, which is saved without it."""
    votes = np.asarray(forest.oob_decision_function_)
    del forest.oob_decision_function_, forest.oob_score_
    forest.set_params(oob_score=False)
    answered = np.isfinite(votes).all(axis=1) & (votes.sum(axis=1) > 0)
    if not answered.all():
        raise LimbeckError(
            f'{int((~answered).sum())} of the {len(rows)} rows of part "{part.name}" were left out by none of the '
            f"{settings['trees']} trees, so that none can say anything about them: grow more trees, or set folds = 3"
        )
    probabilities = np.zeros((len(rows), len(part.classes)))
    probabilities[:, forest.classes_] = votes
    floored = np.maximum(probabilities, FLOOR)
    log_probs = np.log(floored / floored.sum(axis=1, keepdims=True)).astype(np.float32)
    return OwnRows(part.ids[rows], part.row_hashes[rows], log_probs)
