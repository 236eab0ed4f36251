"""Which output of an ONNX model is the classes, and what it holds: probabilities, logits, or a label alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from limbeck.errors import LimbeckError
from limbeck.models.hard_labels import FLOOR, near_one_hot
from limbeck.models.onnx_inputs import Declared

Array = npt.NDArray[Any]

_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")
_LABELS = ("tensor(int64)", "tensor(int32)", "tensor(string)")
_PREFERRED = ("probabilities", "probabilit", "output_probability", "logits", "log_prob")
_TOLERANCE = 1e-3
_NEAR = 0.05  # sums this near to one are of probabilities, if of rounded ones


@dataclass(frozen=True)
class Answer:
    """The output that is asked.

    Attributes:
        output: its name.
        form: a matrix of numbers; maps from classes to probabilities, as sklearn-onnx's zipmap gives; or labels.
        classes: how many.
        label: of a matrix or maps, the output that names the class of each row, where there is one.
    """

    output: str
    form: Literal["matrix", "maps", "labels"]
    classes: int
    label: str | None = None


def choose(path: Path, outputs: Sequence[Declared], classes: int | None, named: str | None) -> Answer:
    """The output that is one number for each class, else maps of them, else a label.

    Args:
        path: the model's file, for messages.
        outputs: as the file declares them.
        classes: how many there are, where that is known.
        named: the output that the file's metadata name.

    Raises:
        LimbeckError: none is, or several may be; or the number of classes is not known.
    """
    matrices = [one for one in outputs if one.type in _FLOATS and _may_be_classes(one, classes)]
    exact = [one for one in matrices if one.shape and one.shape[-1] is not None]
    matrices = [one for one in matrices if one.name == named] or exact or matrices
    label = next((one.name for one in outputs if _is_label(one)), None)
    if matrices:
        ranks = [_rank(one) for one in matrices]
        best = [one for one, rank in zip(matrices, ranks, strict=True) if rank == min(ranks)]
        if len(best) > 1:
            raise LimbeckError(
                f"{path} gives {_shown(best)}, each of which may be the classes: name one of them "
                '"probabilities" or "logits", or export it alone'
            )
        count = classes or (best[0].shape[-1] if best[0].shape else None)
        return Answer(best[0].name, "matrix", _known(path, count), label)
    maps = [one for one in outputs if one.type.startswith("seq(map(")]
    if maps:
        return Answer(maps[0].name, "maps", _known(path, classes), label)
    if label is not None and not any(one.type in _FLOATS for one in outputs):
        return Answer(label, "labels", _known(path, classes))
    raise unfit(path, _shown(outputs), classes)


def unfit(path: Path, what: str, classes: int | None) -> LimbeckError:
    """That outputs are not classes."""
    expected = "each class" if classes is None else f"each of the {classes} classes"
    return LimbeckError(
        f"{path} gives {what}: expected one number for {expected}, shape (batch, {classes or 'classes'})"
    )


def what_it_gives(path: Path, values: Array) -> Literal["probabilities", "logits"]:
    """Whether rows are probabilities (not negative, sums of one) or logits, of which log-probabilities are a case.

    Args:
        path: the model's file, for messages.
        values: answers about real rows, shape (n, classes).

    Raises:
        LimbeckError: they are nearly probabilities.
    """
    values = values[np.isfinite(values).all(axis=1)]
    off = np.abs(values.sum(axis=1) - 1)
    if (values < 0).any() or not len(values) or (off > _NEAR).any():
        return "logits"
    if (off > _TOLERANCE).any():
        raise LimbeckError(
            f"{path} gives numbers that sum to {values[np.argmax(off)].sum():.4g}: expected probabilities, which sum "
            "to 1, or logits, which do not come near it; end the model in a softmax, or leave it out"
        )
    return "probabilities"


def log_probs_of_probabilities(path: Path, values: Array, tolerance: float = _TOLERANCE) -> npt.NDArray[np.float32]:
    """Logarithms of probabilities, those below FLOOR as FLOOR.

    Raises:
        LimbeckError: a row is negative or does not sum to one.
    """
    bad = (np.abs(values.sum(axis=1) - 1) > tolerance) | (values < 0).any(axis=1)
    if bad.any():
        row = values[np.argmax(bad)]
        raise LimbeckError(
            f"{path} gave probabilities before, and now numbers that sum to {row.sum():.4g} with {row.min():.4g} the "
            "least: expected probabilities for all rows"
        )
    return np.asarray(np.log(np.maximum(values.astype(np.float64), FLOOR)), dtype=np.float32)


def rounded(path: Path, values: Array) -> npt.NDArray[np.float32]:
    """Logarithms of probabilities that the file says to be such: of an int8 model, sums are only near to one."""
    return log_probs_of_probabilities(path, values, _NEAR)


def labels_alone(path: Path, found: Array, names: Sequence[str] | None, classes: int) -> npt.NDArray[np.float32]:
    """Log-probabilities of labels, shape (n,) or (n, 1): texts are names; numbers are, where all names are numbers.

    Raises:
        LimbeckError: a label is no class.
    """
    found = found.reshape(-1)
    by_name = names is not None and (found.dtype.kind not in "ui" or all(_is_whole(name) for name in names))
    known = [str(number) for number in range(classes)] if not by_name else list(names or ())
    return near_one_hot(_numbers(path, found, known), classes)


def matrix_of_maps(path: Path, maps: Sequence[Mapping[Any, float]], names: Sequence[str] | None, classes: int) -> Array:
    """What sklearn-onnx's zipmap gives as a matrix (n, classes), by the names of classes or their numbers.

    Raises:
        LimbeckError: the maps' classes are others.
    """
    keys = list(maps[0])
    by_text = {str(key): key for key in keys}
    order = [by_text.get(name) for name in names or ()]
    if None in order or len(order) != len(keys):
        if sorted(by_text) != sorted(str(number) for number in range(classes)):
            raise LimbeckError(
                f"{path} has the classes {_quoted(list(by_text))}, but the data have {_quoted(names or ())}: a teacher "
                "whose classes differ from the data's"
            )
        order = [by_text[str(number)] for number in range(classes)]
    return np.array([[row[key] for key in order] for row in maps], dtype=np.float32)


def check_order(path: Path, values: Array, labels: Array, names: Sequence[str] | None) -> None:
    """Whether a model's own labels say the same as its numbers in the order of the data's classes.

    Args:
        path: the model's file, for messages.
        values: shape (n, classes).
        labels: what it names, shape (n,) or (n, 1): texts or numbers.
        names: the data's classes; numbers may also be their places.

    Raises:
        LimbeckError: they do not, for more than half of the rows: the order of classes is another.
    """
    finite = np.isfinite(values).all(axis=1)
    values, labels = values[finite], labels.reshape(-1)[finite]
    if not len(values):
        return
    texts = [str(one) for one in labels]
    readings = [list(names)] if names is not None else []
    if labels.dtype.kind in "ui":
        readings.append([str(number) for number in range(values.shape[1])])
    for known in readings:
        places = [known.index(text) if text in known else -1 for text in texts]
        said = np.where(np.array(places) >= 0, values[np.arange(len(values)), places], -np.inf)
        # A threshold of its own or a tie may give some rows another label.
        if (said >= values.max(axis=1)).mean() >= 0.5:
            return
    if readings:
        known, largest = readings[0], values.argmax(axis=1)
        row = next((row for row, text in enumerate(texts) if text != known[largest[row]]), 0)
        raise LimbeckError(
            f'{path} says "{texts[row]}" where its numbers are largest for "{known[largest[row]]}" in the order of the '
            f"data's classes, {_quoted(known)}: a teacher whose classes or order differ from the data's; export it "
            "with the data's classes in their order"
        )


def _numbers(path: Path, found: Array, known: Sequence[str]) -> npt.NDArray[np.int64]:
    places = {text: number for number, text in enumerate(known)}
    numbers = np.array([places.get(str(one), -1) for one in found], dtype=np.int64)
    if (numbers < 0).any():
        raise LimbeckError(
            f'{path} gives the label "{found[np.argmax(numbers < 0)]}", expected one of the {len(known)} classes, '
            f"{_quoted(known)}"
        )
    return numbers


def _may_be_classes(one: Declared, classes: int | None) -> bool:
    if not one.shape:
        return True
    width = one.shape[-1]
    return len(one.shape) == 2 and (width is None or (width > 1 if classes is None else width == classes))


def _is_label(one: Declared) -> bool:
    return one.type in _LABELS and len(one.shape) <= 2 and one.shape[1:] in ((), (1,))


def _rank(one: Declared) -> int:
    return next((rank for rank, start in enumerate(_PREFERRED) if one.name.lower().startswith(start)), len(_PREFERRED))


def _known(path: Path, count: int | None) -> int:
    if count is None:
        raise LimbeckError(f"{path} does not say how many classes it has: give their names")
    return count


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _shown(outputs: Sequence[Declared]) -> str:
    return ", ".join(f'"{one.name}" of shape {one}' for one in outputs[:6]) + (", …" if len(outputs) > 6 else "")


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names[:12]) + (", …" if len(names) > 12 else "")
