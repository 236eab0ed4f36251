"""What a run makes of one set of data: its teachers, what they know, its students, and what the results show of it.

A run has one course; of a recipe with tasks, one for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from limbeck.data import Part, Split
from limbeck.models import build_model
from limbeck.plan.derived import derived
from limbeck.plan.model_stage import BiasCorrection, ModelStage
from limbeck.plan.planner import Planner
from limbeck.plan.starting import check_start
from limbeck.recipe import Student
from limbeck.stages.extraction_warnings import Warnings
from limbeck.stages.recordings import teacher_of
from limbeck.stages.workshop import Workshop


@dataclass(frozen=True)
class Entry:
    """A model that the results show.

    Attributes:
        stage: what it is.
        test: the rows that it is measured on.
        transfer: the name of its transfer set; a teacher has none.
        baseline: a student's.
        trials: how many settings were tried for it.
    """

    stage: ModelStage
    test: Part
    transfer: str | None = None
    baseline: ModelStage | None = None
    trials: int | None = None

    @property
    def id(self) -> str:
        """ROLE/NAME[-VARIANT]: its name in predictions/ and models/."""
        return self.stage.id


@dataclass(frozen=True)
class Course:
    """One set of data, and all that is planned for it.

    Attributes:
        planner: has recipe, data and stages.
        workshop: makes them.
    """

    planner: Planner
    workshop: Workshop

    @property
    def split(self) -> Split:
        """The data, cut."""
        return self.planner.split

    @property
    def task(self) -> str | None:
        """What the recipe calls it; None where it has no tasks."""
        return self.planner.task

    def all_stages(self) -> Iterator[ModelStage]:
        """Every model, as far as those before it are made: what is chosen hangs on them."""
        yield from self.planner.teachers()
        for plan in self.planner.students():
            yield from plan.made
            for stages in (plan.trials, plan.baselines):
                if stages:
                    yield (chosen := self._chosen(stages, plan.student))
                    yield from derived(self.planner, plan.student, chosen)
        yield from self.planner.references()

    def check_models(self) -> None:
        """Refuse what cannot be built or chosen from these data, before anything is written."""
        for plan in self.planner.students():
            derived(self.planner, plan.student, plan.trials[0])
        train = self.split.train
        for stage in self._all_model_stages():
            assert stage.model is not None
            if stage.start is not None:
                check_start(stage)
                continue
            with torch.device("meta"):  # shapes without numbers: costs nothing however large the model
                build_model(stage.model, train.inputs.shape[1:], len(train.classes), form=train.form)

    def extract(self) -> None:
        """Have the teachers record what they know, and say what is odd about it."""
        warnings = Warnings(self.workshop)
        for plan in self.planner.students():
            for stage in plan.trials:
                self.workshop.recordings.make_all(stage)
                warnings.about(stage)

    def distill(self) -> list[Entry]:
        """Make the students and all else that is trained; what the results will show of it, in order."""
        teachers, test = self.planner.teachers(), self.split.test
        some, entries = [stage for stage in teachers if "members" in stage.variant], []
        for stage in self.planner.members():
            self.workshop.model(stage)
            entries.append(Entry(stage, test))
        entries += [Entry(stage, test) for stage in teachers if stage not in some]
        for plan in self.planner.students():
            student = plan.student
            chosen = self._made(plan.trials, student)
            baseline = self._made(plan.baselines, student) if plan.baselines else None
            shown = [Entry(chosen, test, student.transfer, baseline, len(plan.trials))]
            if baseline is not None:
                shown.append(Entry(baseline, test, student.transfer, trials=len(plan.baselines)))
            entries += [*shown, *self._made_from(student, *shown)]
        for reference, transfer in zip(self.planner.references(), self._reference_transfers(), strict=True):
            self.workshop.model(reference)
            entries.append(Entry(reference, test, transfer))
        return entries + [Entry(stage, test) for stage in some]

    def _chosen(self, tried: Sequence[ModelStage], student: Student) -> ModelStage:
        """Of a student's trials, or its baseline's, the one that the results show."""
        chosen = self.workshop.choose(tried)
        refit = student.grid and self.planner.final_refit(student)
        return self.planner.refitted(student, chosen) if refit else chosen

    def _made(self, stages: Sequence[ModelStage], student: Student) -> ModelStage:
        chosen = self._chosen(stages, student)
        self.workshop.model(chosen)
        return chosen

    def _made_from(self, student: Student, entry: Entry, baseline: Entry | None = None) -> Iterator[Entry]:
        """What the recipe asks for that is made from the student, and likewise from its baseline."""
        ways = [derived(self.planner, student, shown.stage) for shown in (entry, baseline) if shown is not None]
        for stages in zip(*ways, strict=True):
            on_test = [isinstance(stage.made, BiasCorrection) and stage.made.on == "test" for stage in stages]
            for stage, waits in zip(stages, on_test, strict=True):
                for needed in stage.needs:
                    if not self.workshop.is_done(needed):
                        self.workshop.model(needed)
                if not waits:  # test rows are for evaluation
                    self.workshop.model(stage)
            # On the rows that a number was chosen on, no verdict.
            beside = stages[1] if len(stages) > 1 and not on_test[0] else None
            yield Entry(stages[0], entry.test, entry.transfer, beside, entry.trials)
            if baseline is not None:
                yield Entry(stages[1], baseline.test, baseline.transfer, trials=baseline.trials)

    def _reference_transfers(self) -> list[str]:
        return [reference.transfer for part in self.planner.recipe.reference for reference in part.swept()]

    def _all_model_stages(self) -> list[ModelStage]:
        """Every model that is trained, or may be when the run has chosen."""
        stages = [*self.planner.teachers(), *self.planner.members()]
        stages += self.planner.references()
        for plan in self.planner.students():
            stages += [teacher_of(plan.trials[0]), *plan.trials, *plan.baselines]
            if plan.student.grid and self.planner.final_refit(plan.student):
                for trial in plan.student.trials():
                    stages.append(self.planner.student_stage(trial, True))
                    stages += [self.planner.baseline_stage(trial, True)] if trial.baseline else []
        return [stage for stage in stages if stage.is_trained]
