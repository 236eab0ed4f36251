"""Which of the data's classes an estimator's columns are about."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.errors import LimbeckError

Array = npt.NDArray[Any]


def classes_of(estimator: Any) -> Array:
    """An estimator's `classes_`, shape (k,).

    Raises:
        LimbeckError: it has none, as it is not fitted or no classifier; or it has several outputs.
    """
    name = type(estimator).__name__
    classes = None
    with contextlib.suppress(AttributeError):
        classes = estimator.classes_
    if classes is None:
        raise LimbeckError(f"{name} has no classes_: expected a classifier that is fitted; call its fit first")
    if isinstance(classes, list) and any(isinstance(one, np.ndarray) for one in classes):
        raise LimbeckError(f"{name} has {len(classes)} outputs: expected a classifier of one; give one for each output")
    return np.asarray(classes)


def align_classes(classes: Array, names: Sequence[str], *, partial: bool = False) -> npt.NDArray[np.int64]:
    """Which of the data's classes each column of an estimator's probabilities is about.

    Where the texts of the estimator's classes are the data's class names, as sets, columns go by name: the numbers 3
    and 3.0 have the text "3". Else, where they are exactly the numbers 0 … k − 1, they are positions.

    Args:
        classes: the estimator's `classes_`, shape (k,).
        names: the data's class names, in order.
        partial: they are labels, numbers from 0 to k − 1, and some may be missing.

    Returns:
        Shape (k,): column j belongs to names[found[j]].

    Raises:
        LimbeckError: a class that only one side has, named with both lists.
    """
    values = np.asarray(classes).ravel().tolist()
    numbers = [int(value) for value in values if _is_whole(value)]
    if partial and len(numbers) == len(values) and set(numbers) <= set(range(len(names))):
        return np.array(numbers, dtype=np.int64)
    texts = [str(int(value)) if _is_whole(value) else str(value) for value in values]
    if len(texts) == len(names) and set(texts) == set(names):
        place = {name: number for number, name in enumerate(names)}
        return np.array([place[text] for text in texts], dtype=np.int64)
    if sorted(numbers) == list(range(len(names))) and len(numbers) == len(values):
        return np.array(numbers, dtype=np.int64)
    raise LimbeckError(
        f"the teacher's classes are {listed(texts)}, but the data's are {listed(names)}: they must be the same, by "
        f"name or as the numbers 0 to {len(names) - 1} in the data's order"
    )


def _is_whole(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and value == int(value)


def one_hot(predicted: object, classes: Array) -> Array:
    """What `predict` gave for n rows as probabilities, shape (n, k): all of it on the class.

    Raises:
        LimbeckError: it is none of the estimator's classes.
    """
    column = {value: number for number, value in enumerate(classes.ravel().tolist())}
    labels = np.asarray(predicted).ravel().tolist()
    unknown = [label for label in labels if label not in column]
    if unknown:
        raise LimbeckError(
            f"predict gave {unknown[0]!r}, which is none of the classes_ ({listed(list(map(str, column)))})"
        )
    answer = np.zeros((len(labels), len(column)))
    answer[np.arange(len(labels)), [column[label] for label in labels]] = 1
    return answer


def listed(names: Sequence[str]) -> str:
    """The first dozen, for a message."""
    return ", ".join(names[:12]) + (f", … ({len(names)} in all)" if len(names) > 12 else "")
