"""The names of a Hugging Face classifier's classes, beside those of the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limbeck.errors import LimbeckError

SINGLE = "single_label_classification"
"""What transformers calls a model whose logits are of classes of which each text has one."""


def name_classes(config: Any, classes: Sequence[str]) -> None:
    """Put the classes' names, in the order of the logits, into a model's config, and that a text has one of them."""
    config.id2label = dict(enumerate(classes))
    config.label2id = {name: number for number, name in enumerate(classes)}
    config.problem_type = SINGLE


def labels_of(config: Any) -> tuple[str, ...] | None:
    """The names of a model's classes in the order of its logits; None where nobody gave them any (LABEL_0, …)."""
    named = {int(number): str(name) for number, name in config.id2label.items()}
    labels = tuple(named[number] for number in sorted(named))
    nameless = all(label == f"LABEL_{number}" for number, label in enumerate(labels))
    return None if nameless or len(set(labels)) < len(labels) else labels


def check_problem(config: Any, where: str) -> None:
    """Refuse a teacher whose answers are no probabilities of classes of which each text has one.

    Raises:
        LimbeckError: it is made for several labels a text, or for a quantity.
    """
    problem = config.problem_type
    if problem not in (None, SINGLE):
        raise LimbeckError(
            f'{where}: its config.json says problem_type = "{problem}", and here a text has one class: take '
            "a teacher of that sort, or fine-tune it"
        )


def class_order(config: Any, classes: Sequence[str], where: str) -> tuple[int, ...]:
    """Which of a teacher's logits belongs to each class of the data.

    Args:
        config: of a teacher that is asked as it is.
        classes: the data's, by name.
        where: who the teacher is, for the message.

    Returns:
        One number for each of `classes`; 0, 1, … where the teacher's classes have no names.

    Raises:
        LimbeckError: the teacher has other classes, or another number of them.
    """
    labels = labels_of(config)
    named = list(map(str, config.id2label.values()))
    if twice := next((name for name in named if named.count(name) > 1), None):
        raise LimbeckError(
            f'{where}: its config.json calls several classes "{twice}", and nobody can tell which is which: mend '
            "id2label and label2id there"
        )
    if labels is None:
        if config.num_labels != len(classes):
            raise LimbeckError(
                f"{where}: it tells {config.num_labels} classes apart, and the data have {len(classes)} "
                f"({_listed(classes)}): take a teacher of these classes, or fine-tune it on them"
            )
        return tuple(range(len(classes)))
    if set(labels) != set(classes):
        raise LimbeckError(
            f"{where}: its classes are {_listed(labels)}, and the data's are {_listed(classes)}: "
            "name the data's labels as the teacher does, or fine-tune it on them"
        )
    return tuple(labels.index(name) for name in classes)


def _listed(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(f'"{name}"' for name in names[:most])
    return shown if len(names) <= most else f"{shown}, … ({len(names)} in all)"
