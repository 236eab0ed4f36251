"""A data set, and how validation and test rows are cut off it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from limbeck.data.part import Part
from limbeck.errors import UsageError


@dataclass(frozen=True)
class Split:
    """Three parts that share no row. `validation` has no rows where none were asked for."""

    train: Part
    validation: Part
    test: Part


@dataclass(frozen=True)
class Dataset:
    """A source's rows as it hands them out.

    Attributes:
        name: the source as it was given: "mnist", "idx:FOLDER".
        train: the training rows.
        test: the source's own test rows, or None where it has none.
        classes: the classes' names, in the order of the labels.
        notes: what was done to the source in reading it, a line each: damaged images that were left out.
    """

    name: str
    train: Part
    test: Part | None
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def split(
        self,
        *,
        validation: int | float = 0,
        test: float | None = None,
        seed: int = 0,
        labels: int | float | None = None,
    ) -> Split:
        """Cut validation rows, and test rows where the source has none of its own, off the training rows.

        The test rows are cut first, so that they stay the same whatever the validation is; then the
        validation from what is left. Both cuts are stratified by class; where that cannot be, because
        a class has a single row or a side would have fewer rows than there are classes, the rows are
        drawn plainly. Where only some rows have a label, both are cut from these. Rows keep the order of the
        source's file, and their row numbers in it as ids.

        Of the training rows that are left, `labels` may keep some labelled, and the others count as unlabelled (−1).
        These are drawn by class in proportion to the classes' sizes, but at least one of each. Of one seed and the
        same cuts, a larger number has all rows of a smaller one among its own.

        Args:
            validation: rows (an integer), or a fraction in (0, 1) of the rows left after the test is
                cut, rounded up; 0 for none.
            test: the fraction in (0, 1) to set aside, rounded up; only for a source without a test set.
            seed: decides, and nothing else does, which rows go where.
            labels: so many training rows keep their labels (an integer), or a fraction in (0, 1) of those that have
                one after the cuts, rounded up; None for all.

        Raises:
            UsageError: a validation that leaves nothing to train on, a fraction outside (0, 1), a test
                fraction that is missing or that is not wanted, more labels than there are or fewer than classes.
        """
        _check_seed(seed)
        labelled = self.train.labels >= 0
        # Choices and measurements need labels: where some rows have none, those are to train on.
        unlabelled = np.flatnonzero(~labelled) if labelled.any() else np.empty(0, np.int64)
        rows = np.setdiff1d(np.arange(len(self.train)), unlabelled)
        if self.test is not None:
            if test is not None:
                raise UsageError(
                    f"test = {test} was given, but {self.name} has a test set of its own "
                    f"({len(self.test)} rows): leave test out"
                )
            test_part = self.test
        else:
            rows, cut = _cut(rows, self._test_rows(test, len(rows)), self.train.labels, seed)
            test_part = self.train.take(cut).named("test")
        rows, cut = _cut(rows, self._validation_rows(validation, len(rows)), self.train.labels, seed)
        whole = self.train
        if labels is not None:
            kept = rows[self._labelled_rows(labels, whole.labels[rows], seed)]
            few = np.full(len(whole), -1, dtype=np.int64)
            few[kept] = whole.labels[kept]
            whole = replace(whole, labels=few)
        rows = np.union1d(rows, unlabelled)
        train = whole if len(rows) == len(whole) else whole.take(rows)
        return Split(train, self.train.take(cut).named("validation"), test_part)

    def _test_rows(self, test: float | None, available: int) -> int:
        if test is None:
            raise UsageError(
                f"{self.name} has no test set of its own: set test to the fraction of its {available} "
                "rows to set aside, for example test = 0.2"
            )
        if isinstance(test, bool) or not isinstance(test, int | float) or not 0 < test < 1:
            raise UsageError(f"test = {test!r} is not a fraction between 0 and 1, such as 0.2: change test")
        count = math.ceil(test * available)
        if count >= available:
            raise UsageError(
                f"test = {test} takes all {available} rows of {self.name} and leaves none to train on: "
                "ask for a smaller fraction"
            )
        return count

    def _validation_rows(self, validation: int | float, available: int) -> int:
        count = _count("validation", validation, available)
        if count >= available:
            raise UsageError(
                f"validation = {validation} takes {count} rows, but {self.name} has {available} training rows, "
                "and at least one must be left to train on: ask for fewer"
            )
        return count

    def _labelled_rows(self, wanted: int | float, labels: np.ndarray, seed: int) -> np.ndarray:
        """Which of some rows keep their labels, shape (n,); `labels` are theirs, shape (rows,)."""
        count = _count("labels", wanted, len(labels), some=True)
        if not (labels >= 0).any():
            raise UsageError(f"labels = {wanted} was given, but no row of {self.name} has a label: leave labels out")
        if count > len(labels):
            raise UsageError(
                f"labels = {wanted} were asked for, but {self.name} has {len(labels)} labelled training rows beside "
                "its validation and test rows: ask for fewer"
            )
        classes = len(np.unique(labels))
        if count < classes:
            raise UsageError(
                f"labels = {wanted} keeps {count} of {len(labels)} labels, but the training rows of {self.name} have "
                f"{classes} classes, expected at least one of each class: ask for {classes} or more"
            )
        return nested_order(labels, seed)[:count]


def nested_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """An order of rows of which every beginning is stratified.

    It starts with one row of each class. After that, a class's next row comes where the method of Webster and
    Sainte-Laguë gives its next seat to a party with as many votes as the class has rows.

    Args:
        labels: shape (n,).
        seed: decides which of a class's rows come first.

    Returns:
        Each row number once, shape (n,).
    """
    drawn = np.random.default_rng(seed).random(len(labels))
    by_class = np.lexsort((drawn, labels))
    _, starts, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    place = np.arange(len(labels)) - np.repeat(starts, sizes)  # of a row within its class
    share = np.where(place == 0, 0, (place + 0.5) / np.repeat(sizes, sizes))
    return by_class[np.lexsort((drawn[by_class], share))]


def _count(name: str, wanted: int | float, available: int, *, some: bool = False) -> int:
    """A number of rows, or a fraction of those that there are, rounded up, as a number; `some`: it may not be 0.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(wanted, bool) or not isinstance(wanted, int | float) or not (wanted > 0 if some else wanted >= 0):
        raise UsageError(
            f"{name} = {wanted!r} is neither a number of rows nor a fraction between 0 and 1: change {name}"
        )
    if isinstance(wanted, float) and wanted >= 1:
        raise UsageError(
            f"{name} = {wanted!r} is not a fraction between 0 and 1: give a fraction such as 0.1, or a whole number of "
            "rows"
        )
    return math.ceil(wanted * available) if isinstance(wanted, float) else wanted


def some_rows(part: Part, rows: np.ndarray, count: int | float, seed: int) -> np.ndarray:
    """Some of a part's rows at random, stratified by class as the cuts of `Dataset.split` are.

    Args:
        part: whose labels stratify.
        rows: the row numbers to draw from, shape (n,).
        count: how many, or a fraction in (0, 1) of them, rounded up.
        seed: decides which.

    Returns:
        Row numbers in rising order, shape (m,), int64.

    Raises:
        UsageError: there are fewer rows.
    """
    wanted = math.ceil(count * len(rows)) if isinstance(count, float) else count
    if wanted > len(rows):
        raise UsageError(
            f'rows = {count} of part "{part.name}" were asked for, but select leaves {len(rows)}: ask for fewer'
        )
    return rows if wanted == len(rows) else _cut(rows, wanted, part.labels, seed)[1]


def _cut(rows: np.ndarray, count: int, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The row numbers that stay and the `count` that are cut off, each in rising order."""
    if count == 0:
        return rows, rows[:0]
    from sklearn.model_selection import train_test_split  # takes half a second to import

    strata = labels[rows]
    classes, sizes = np.unique(strata, return_counts=True)
    can_stratify = sizes.min() > 1 and len(classes) <= min(count, len(rows) - count)
    kept, cut = train_test_split(rows, test_size=count, random_state=seed, stratify=strata if can_stratify else None)
    return np.sort(kept), np.sort(cut)


def _check_seed(seed: int) -> None:
    # numpy's legacy generator, which scikit-learn draws with, takes 32 bits.
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise UsageError(f"split seed = {seed!r} is not a whole number from 0 to {2**32 - 1}: change the seed")
