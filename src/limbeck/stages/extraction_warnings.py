"""What is odd about data and about teachers' knowledge, said while a run goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from limbeck.data import Part, Split, TextForm, shared_rows
from limbeck.knowledge import Recording
from limbeck.plan.given_teacher import PredictionsModel, gives_hard_labels
from limbeck.plan.model_stage import ModelStage
from limbeck.stages.workshop import Workshop
from limbeck.teachers import answers_about, own_answers
from limbeck.teachers.out_of_fold import memorised

OTHER_ROWS = 'let it label rows that it was not fitted to, such as synthetic ones: views = { rows = "munge", … }'
OTHER_TEXTS = (
    'let it label texts that it was not fitted to, beside these: parts = ["train", "file:more.txt"], or synthetic '
    'ones: views = { rows = "words", … }'
)


def split_warnings(split: Split, teachers: Sequence[ModelStage]) -> Iterator[str]:
    """A line about rows that are in two parts of the split, and about each teacher that was trained on other rows.

    Also one about equal rows with different labels.
    """
    for part, other, say in (
        (
            split.validation,
            split.train,
            "validation rows are also training rows: choices made on them favour what remembers",
        ),
        (split.test, split.train, "test rows are also training rows: test accuracy says more than it should"),
        (split.validation, split.test, "validation rows are also test rows: what is chosen on them suits the test"),
    ):
        shared = shared_rows(part, other)
        if len(shared):
            yield f"{len(shared)} of {len(part)} {say}"
    if count := _contradicting((split.train, split.validation, split.test)):
        yield f"{count} rows have the inputs of another row, and another label: no model can be right about both"
    for stage in teachers:
        fitted_to = stage.identity.inputs.get("train")
        if stage.path is not None and fitted_to not in (None, stage.rows.hashes["train"]):
            yield (
                f"teacher {stage.name} was trained on other rows than this run's training rows: if validation or "
                "test rows were among them, it and its students look better than they are"
            )


def _contradicting(parts: Sequence[Part]) -> int:
    """How many labelled rows have the inputs of a row of another class."""
    labels = np.concatenate([part.labels for part in parts])
    hashes = [part.wording_hashes if isinstance(part.form, TextForm) else part.row_hashes for part in parts]
    known = labels >= 0
    _, group = np.unique(np.concatenate(hashes)[known], return_inverse=True)
    labels = labels[known]
    lowest, highest = np.full(len(labels), len(parts[0].classes)), np.full(len(labels), -1)
    np.minimum.at(lowest, group, labels)
    np.maximum.at(highest, group, labels)
    return int((lowest[group] < highest[group]).sum())


@dataclass
class Warnings:
    """Says what is odd about teachers' knowledge, once for each teacher.

    Args:
        workshop: of the run.
    """

    workshop: Workshop
    _told: set[str] = field(default_factory=set)

    def about(self, stage: ModelStage) -> None:
        """Look at what a student learns from."""
        for teacher, recordings in stage.recorded():
            if teacher.identity.key not in self._told:
                self._told.add(teacher.identity.key)
                if gives_hard_labels(teacher.given):
                    self.workshop.progress.line(
                        f"teacher {teacher.name} gives hard labels: they say no more than which class it takes"
                    )
                self._of_memory(teacher, recordings)

    def _of_memory(self, teacher: ModelStage, recordings: Sequence[Recording]) -> None:
        """Say it where a teacher knows the labels of its training rows far better than those of others.

        Not of one that labels other rows or synthetic ones as well, and of members that are alike of the first alone.
        """
        validation, recording = teacher.rows.validation, recordings[0]
        others = any(not (one.labelled.labels >= 0).any() for one in recordings)
        if not len(validation) or recording.view or others or teacher.variant.get("member", 1) > 1:
            return
        asked = self.workshop.answering(teacher)
        own = own_answers(asked, validation)
        if isinstance(teacher.given, PredictionsModel) and (own is None or not own[0].all()):
            return
        on_validation = answers_about(asked, validation.inputs, own)
        knowledge = self.workshop.recordings.opened(recording, teacher)
        texts = isinstance(recording.part.form, TextForm)
        is_bootstrapped = teacher.selected is not None  # which excludes folds
        can_be_refitted = (
            teacher.model is not None and teacher.teacher is None and not teacher.folds and not is_bootstrapped
        )
        said = memorised(
            knowledge.log_probs(),
            recording.part.labels,
            on_validation,
            validation.labels,
            **({} if can_be_refitted else {"remedy": OTHER_TEXTS if texts else OTHER_ROWS}),
        )
        if said is not None:
            self.workshop.progress.line(f"teacher {teacher.name}: {said}")
