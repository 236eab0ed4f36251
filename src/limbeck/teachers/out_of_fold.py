"""Teachers out of fold: each row that a teacher was fitted to is answered by one that has not seen it.

A teacher that memorised its rows (forests, boosted trees, nearest neighbours) has hard targets there, and its students
come out worse than on labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.data import Part
from limbeck.data.form import TableForm
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import DamagedFileError, read_tensors, write_tensors
from limbeck.fitting import check_part, check_seed
from limbeck.metrics import accuracy
from limbeck.models.estimator import Estimator
from limbeck.models.estimator_rows import features_of
from limbeck.progress import Progress, Silent
from limbeck.teachers.estimator_teacher import EstimatorTeacher

Array = npt.NDArray[Any]

OWN_ROWS = "own_rows.safetensors"
"""What the file is called in a teacher's folder."""
_ALIKE = 1e-4  # nats: equal rows that were answered in batches of other sizes
_ODD = np.uint64(0x9E3779B97F4A7C15)  # spreads ids over 64 bits (Steele, Lea and Flood 2014)


@dataclass(frozen=True, eq=False)
class OwnRows:
    """What a teacher says about the rows that it was fitted to, each by a model that has not seen it.

    Attributes:
        ids: the rows' ids, shape (n,), int64.
        row_hashes: `Part.row_hashes` of their inputs, shape (n,), uint64.
        log_probs: shape (n, classes), float32.
    """

    ids: npt.NDArray[np.int64]
    row_hashes: npt.NDArray[np.uint64]
    log_probs: npt.NDArray[np.float32]

    def answers_for(self, part: Part) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        """Which rows of a part are among these, by id and hash, and what is said about them.

        Args:
            part: any rows; a view of a row has other inputs, and so another hash.

        Returns:
            A mask, shape (n,), and log-probabilities, shape (n, classes), 0 outside of the mask.
        """
        order, keys = self._sorted
        at = np.searchsorted(keys, _mixed(part.ids, part.row_hashes))
        row = order[np.minimum(at, len(order) - 1)]
        known = (self.ids[row] == part.ids) & (self.row_hashes[row] == part.row_hashes)
        return known, np.where(known[:, np.newaxis], self.log_probs[row], np.float32(0))

    def answers_by_content(self, part: Part) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        """As `answers_for`, of rows without ids of their own: by hash alone.

        Raises:
            UsageError: equal rows among these have different answers.
        """
        hashes, first, group = np.unique(self.row_hashes, return_index=True, return_inverse=True)
        differ = np.abs(self.log_probs - self.log_probs[first][group.ravel()]).max(axis=1) > _ALIKE
        clashing = np.isin(part.row_hashes, self.row_hashes[differ])
        if clashing.any():
            raise UsageError(
                f"{int(clashing.sum())} of {len(part)} inputs, the first in row {int(clashing.argmax())}, are equal to "
                "several rows that the teacher was fitted to, with different answers: hand over the part, with its row "
                "numbers, in place of an array"
            )
        at = first[np.minimum(np.searchsorted(hashes, part.row_hashes), len(hashes) - 1)]
        known = self.row_hashes[at] == part.row_hashes
        return known, np.where(known[:, np.newaxis], self.log_probs[at], np.float32(0))

    def save(self, path: Path | str) -> None:
        """Write them as safetensors."""
        tensors: dict[str, Array] = {"ids": self.ids, "row_hashes": self.row_hashes, "log_probs": self.log_probs}
        write_tensors(Path(path), tensors, {"rows": len(self.ids)})

    @classmethod
    def load(cls, path: Path | str) -> OwnRows:
        """Read what `save` wrote.

        Raises:
            DamagedFileError: it is missing, damaged or something else.
        """
        path = Path(path)
        try:
            tensors, _ = read_tensors(path)
        except FileNotFoundError:
            raise DamagedFileError(path, "it is missing") from None
        kinds = {"ids": np.int64, "row_hashes": np.uint64, "log_probs": np.float32}
        if any(name not in tensors or tensors[name].dtype != kind for name, kind in kinds.items()):
            raise DamagedFileError(path, f"expected the tensors {', '.join(kinds)}")
        found = cls(**{name: tensors[name] for name in kinds})
        if found.log_probs.ndim != 2 or not found.ids.shape == found.row_hashes.shape == found.log_probs.shape[:1]:
            raise DamagedFileError(path, "its tensors do not have as many rows as each other")
        return found

    @cached_property
    def _sorted(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """The rows by their keys, and these."""
        keys = _mixed(self.ids, self.row_hashes)
        order = np.argsort(keys, kind="stable")
        return order, keys[order]


def fold_rows(part: Part, folds: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """The labelled rows of a part in folds, each of which is left out once.

    Rows with equal inputs lie in the same fold: a model that has seen a row's twin has seen the row. Classes are spread
    evenly (stratified) where each has as many different rows as there are folds.

    Returns:
        Row numbers of each fold, rising, int64.

    Raises:
        UsageError: folds below 2.
        LimbeckError: fewer different rows than folds.
    """
    from sklearn.model_selection import KFold, StratifiedKFold

    if isinstance(folds, bool) or not isinstance(folds, int) or folds < 2:
        raise UsageError(f"folds = {folds!r}: expected a whole number, 2 or more")
    rows = np.flatnonzero(part.labels >= 0)
    hashes, first, group = np.unique(part.row_hashes[rows], return_index=True, return_inverse=True)
    if len(hashes) < folds:
        raise LimbeckError(
            f'folds = {folds}, but part "{part.name}" has {len(hashes)} different labelled rows: ask for fewer folds'
        )
    # In the order in which they come, so that folds depend on which rows are equal and not on what their hashes are.
    order = np.argsort(first)
    labels = part.labels[rows[first[order]]]
    rarest = np.unique(labels, return_counts=True)[1].min()
    kind = StratifiedKFold if rarest >= folds else KFold
    fold_of = np.empty(len(hashes), dtype=np.int64)
    splits = kind(folds, shuffle=True, random_state=seed).split(np.zeros((len(labels), 1)), labels)
    for number, (_, held) in enumerate(splits):
        fold_of[order[held]] = number
    return [rows[fold_of[group.ravel()] == number] for number in range(folds)]


def fit_folds(
    fit: Callable[[npt.NDArray[np.int64]], object],
    build: Callable[[list[object]], Estimator],
    part: Part,
    folds: int,
    seed: int,
    *,
    progress: Progress | None = None,
    title: str = "teacher",
) -> Estimator:
    """A model for each fold, fitted to the rows of the others, and what each says about the rows it has not seen.

    Returns:
        Their mean, with `own_rows`.

    Args:
        fit: from row numbers to a fitted classifier.
        build: from fitted classifiers to their mean.
        part: the rows; those without a label are left out.
        folds: how many, 2 or more.
        seed: of the split.
        progress: told by fold.
        title: what it is called there.

    Raises:
        UsageError: folds below 2.
        LimbeckError: fewer different rows than folds, or the rows of some folds are of one class.
    """
    progress = progress or Silent()
    held = fold_rows(part, folds, seed)
    members, answers = [], []
    progress.start(f"{title}, {folds} folds", folds)
    for number, rows in enumerate(held):
        others = np.sort(np.concatenate(held[:number] + held[number + 1 :]))
        members.append(fit(others))
        answers.append(build(members[-1:]).log_probs(part.inputs[rows]))
        progress.at(number + 1)
    progress.end()
    rows = np.concatenate(held)
    order = np.argsort(rows)
    rows = rows[order]
    model = build(members)
    model.own_rows = OwnRows(part.ids[rows], part.row_hashes[rows], np.concatenate(answers)[order])
    return model


def out_of_fold(
    estimator: object, part: Part, folds: int = 3, seed: int = 0, *, progress: Progress | None = None
) -> EstimatorTeacher:
    """Fit a classifier of one's own on folds: the mean teaches, and no row is answered by what has seen it.

    `distill` and `extract` know the rows of the part, or of another that holds some of them, by id and content; by
    `answer`, which gets inputs alone, the teacher is the mean.

    It is cloned and fitted to labels as numbers, 0 … k − 1; to a table's rows as a pandas frame with texts for
    categories, to other rows as float32 of shape (n, features). A `random_state` that is None is set to the seed.

    Args:
        estimator: an unfitted classifier that scikit-learn can clone; a fitted one counts as unfitted.
        part: the rows; those without a label are left out.
        folds: how many, 2 or more.
        seed: of the split, and of the estimator where it has none.
        progress: told by fold.

    Raises:
        UsageError: folds below 2, or what is no estimator.
        LimbeckError: too few rows, or the estimator does not take them.
    """
    from sklearn.base import clone

    check_part(part, "part")
    check_seed(seed)
    check_labels(part)
    name = type(estimator).__name__
    try:
        settings = {
            key: seed
            for key, value in clone(estimator).get_params().items()
            if (key == "random_state" or key.endswith("__random_state")) and value is None
        }
    except (TypeError, AttributeError, RuntimeError) as error:
        raise UsageError(f"{name} cannot be cloned ({' '.join(str(error).split())[:120]}): give a classifier") from None

    def fit(rows: npt.NDArray[np.int64]) -> object:
        one = clone(estimator).set_params(**settings)
        try:
            one.fit(_features(part, rows), part.labels[rows])
        except MemoryError:
            raise
        except Exception as error:  # every library has its own for rows that it does not take
            reason = " ".join(str(error).split())[:200]
            raise LimbeckError(
                f'{name} cannot be fitted to part "{part.name}": {reason}; text columns and missing values need a '
                "pipeline that encodes and fills them"
            ) from error
        return one

    def build(members: Sequence[object]) -> Estimator:
        return Estimator(members, part.inputs.shape[1:], part.classes, form=part.form, labels=True)

    return EstimatorTeacher(fit_folds(fit, build, part, folds, seed, progress=progress, title=name))


def _features(part: Part, rows: npt.NDArray[np.int64]) -> Any:
    """What an estimator of one's own is fitted to."""
    if isinstance(part.form, TableForm):
        from limbeck.data.table_rows import to_frame

        return to_frame(part.inputs[rows], part.form)
    return features_of(part.inputs[rows], part.form)


def _mixed(ids: npt.NDArray[np.int64], hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """One key for an id and a hash, to look rows up by; what is found is compared in full."""
    return hashes ^ (ids.astype(np.uint64) * _ODD)


def check_labels(part: Part) -> None:
    """There are rows of two classes to be fitted to.

    Raises:
        LimbeckError: there are not.
    """
    found = np.unique(part.labels[part.labels >= 0])
    if len(found) < 2:
        what = (
            "no labelled rows" if not len(found) else f'labelled rows of one class alone ("{part.classes[found[0]]}")'
        )
        raise LimbeckError(f'part "{part.name}" has {what}: a classifier is fitted to two classes or more')


def memorised(
    knowledge_log_probs: Array,
    labels: Array,
    validation_log_probs: Array,
    validation_labels: Array,
    *,
    remedy: str = "set folds = 3, so that each row is answered by a model that has not seen it",
) -> str | None:
    """A warning where a teacher knows the labels of its own rows far better than those of others.

    That is where it agrees with more of them by 3 points, and errs less than half as often.

    Args:
        knowledge_log_probs: on the rows that it was fitted to, shape (n, classes).
        labels: shape (n,), −1 for none.
        validation_log_probs: on rows that it has not seen, shape (m, classes).
        validation_labels: shape (m,), −1 for none.
        remedy: what the sentence ends with.

    Returns:
        A sentence, or None where there is nothing to say.
    """
    own, others = np.asarray(labels) >= 0, np.asarray(validation_labels) >= 0
    if not own.any() or not others.any():
        return None
    here = accuracy(knowledge_log_probs[own], labels[own])
    there = accuracy(validation_log_probs[others], validation_labels[others])
    if here - there <= 0.03 or 1 - here >= (1 - there) / 2:
        return None
    return (
        f"the teacher agrees with {here:.1%} of the labels on its training rows, but with {there:.1%} on validation "
        f"rows: it has memorised its rows, and teaches little there that the labels do not say; {remedy}"
    )
