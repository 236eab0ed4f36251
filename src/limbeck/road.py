"""The road from a recipe to a report, as one run in one folder; the same call again continues it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck.artifacts import ArtifactStore
from limbeck.data import Dataset, Part, Split, ViewCache, load_dataset, shared_rows
from limbeck.data.unlabelled import check_held_out
from limbeck.derived import derived
from limbeck.errors import LimbeckError, UsageError
from limbeck.fitting import check_seed
from limbeck.given_teacher import PredictionsModel, gives_hard_labels
from limbeck.inspection import artifact_damages
from limbeck.knowledge import Recording
from limbeck.model_stage import BiasCorrection, ModelStage
from limbeck.models import build_model
from limbeck.outcome import Entry, Outcome, versions
from limbeck.parts import planned_parts, shown_parts
from limbeck.plan import Planner
from limbeck.precision import resolve_precision
from limbeck.progress import Progress, Silent
from limbeck.recipe import Data, Recipe, Student, load_recipe, recipe_name, settings_key
from limbeck.recipe_teacher import ESTIMATORS
from limbeck.recordings import teacher_of
from limbeck.regression import walked
from limbeck.run_folder import ARTIFACTS, RECIPE, RunFolder
from limbeck.stages import Workshop
from limbeck.starting import check_start
from limbeck.teachers import answers_about, own_answers
from limbeck.teachers.out_of_fold import memorised
from limbeck.threads import use_available_cores

CACHE = "cache"
OTHER_ROWS = 'let it label rows that it was not fitted to, such as synthetic ones: views = { rows = "munge", … }'
STAGES = ("teach", "extract", "distill", "evaluate", "report")


def run(
    recipe: str | Path | Recipe,
    out: Path | str | None = None,
    *,
    seed: int = 0,
    sets: Sequence[str] = (),
    until: str = "report",
    fresh: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Walk the road from data to report, or as far as a stage; what is done already is not done again.

    Args:
        recipe: a bundled recipe's name, the path of a TOML file, or a recipe.
        out: the run's folder, by default `runs/RECIPE`; artifacts lie beside it.
        seed: of initialisation, order, dropout and views; never of the split.
        sets: changes to the recipe, `KEY=VALUE`.
        until: teach, extract, distill, evaluate or report.
        fresh: set the old run and its artifacts aside, and make all anew.
        progress: told what happens.

    Returns:
        What results.json says; without "models" before evaluation.

    Raises:
        LimbeckError: for whatever a user can mend; what was there before is untouched.
    """
    if until not in STAGES:
        raise UsageError(f'until = "{until}": there are {", ".join(STAGES)}')
    return Road.open(recipe, out, seed=seed, sets=sets, fresh=fresh, progress=progress).walk(until)


@dataclass
class Road:
    """One run: its recipe, its data, its plan, and the folders it works in."""

    name: str
    given: str
    recipe: Recipe
    seed: int
    split: Split
    folder: RunFolder
    progress: Progress = field(default_factory=Silent)
    sets: Sequence[str] = ()
    fresh: bool = False
    beside: Path | None = None

    def __post_init__(self) -> None:
        self.planner = Planner(self.recipe, self.split, self.seed, self.beside, self.progress.line)
        self.store = ArtifactStore(self.folder.path.parent / ARTIFACTS)
        cache = ViewCache(self.folder.path.parent / CACHE)
        self.workshop = Workshop(self.store, cache, self.progress)
        about = {
            "recipe": self.name,
            "settings": settings_key(self.recipe),
            "seed": self.seed,
            "versions": versions(self.recipe),
        }
        changes = "".join(f" --set {shlex.quote(change)}" for change in self.sets)
        command = f"limbeck run {self.given} --out {shlex.quote(str(self.folder.path))} --seed {self.seed}{changes}"
        self.outcome = Outcome(
            about, command, self.split, self.folder, self.workshop, self.recipe.claim, self.planner.regressions()
        )

    @classmethod
    def open(
        cls,
        recipe: str | Path | Recipe,
        out: Path | str | None = None,
        *,
        seed: int = 0,
        sets: Sequence[str] = (),
        fresh: bool = False,
        progress: Progress | None = None,
    ) -> Road:
        """Read recipe and data and check them; nothing is written yet."""
        check_seed(seed)
        name = "recipe" if isinstance(recipe, Recipe) else recipe_name(recipe)
        checked = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, sets)
        path = Path(out) if out is not None else Path("runs") / name
        # Artifacts lie beside the run: what is beside "." has to be known.
        folder = RunFolder(path.resolve() if path.name in ("", "..") else path)
        if folder.path.name in (ARTIFACTS, CACHE):
            raise LimbeckError(f"{path} is where runs keep their {folder.path.name}: give --out another name")
        folder.check(checked, seed, fresh)
        data = checked.data
        beside = Path(recipe).parent if isinstance(recipe, str | Path) and Path(recipe).suffix == ".toml" else None
        dataset = _dataset(data, beside, progress.line if progress else None)
        if progress is not None:
            for note in dataset.notes:
                progress.line(note)
        if len(dataset.classes) < 2:
            has = f"one class, {dataset.classes[0]}" if dataset.classes else "no labels"
            raise LimbeckError(f"{data.source} has {has}: a teacher and its students tell at least two classes apart")
        split = _split(dataset, data)
        if not (split.validation.labels >= 0).all() or not (split.test.labels >= 0).all():
            raise LimbeckError(f"{data.source}: validation and test rows need labels: leave rows without labels out")
        without = np.flatnonzero(dataset.train.labels < 0)
        if len(without):  # those that data.labels takes labels from are training rows, whatever they are like
            check_held_out(dataset.train.take(without).named(f"{data.source}, rows without labels"), split)
        use_available_cores()
        given = shlex.quote(str(folder.path / RECIPE if isinstance(recipe, Recipe) else recipe))
        # A fresh run that was cut off is gone on with, not begun once more.
        fresh = fresh and not folder.fresh_is_under_way(checked, seed)
        road = cls(name, given, checked, seed, split, folder, progress or Silent(), sets, fresh, beside)
        road._check_models()
        return road

    def walk(self, until: str = "report") -> dict[str, Any]:
        """Make what is not made yet, as far as a stage; a fresh run sets the old one aside first."""
        if self.fresh and self.folder.is_run():
            self._set_old_aside()
        with self.folder.held():
            if self.fresh:
                self.folder.begin_fresh()
            self.fresh = False
            self.folder.begin(self.recipe, self.seed)
            results = self.outcome.about
            reached = STAGES.index(until)
            if (finished := self._finished()) is not None:
                return finished if reached >= STAGES.index("evaluate") else results
            self.outcome.write_run(planned_parts(self.planner), {})
            self._warn()
            for stage in self.planner.teachers():
                self.workshop.model(stage)
            if reached >= STAGES.index("extract"):
                self._extract()
            if reached >= STAGES.index("distill"):
                entries = self._distill()
                shown = shown_parts(self.planner, [(entry.stage, entry.transfer) for entry in entries])
                parts = {**planned_parts(self.planner), **shown}
                self.outcome.write_run(parts, self._precisions(entries))
                if reached >= STAGES.index("evaluate"):
                    results = self.outcome.evaluate(entries)
                if reached >= STAGES.index("report"):
                    self.outcome.report(entries, results)
            return results

    def _finished(self) -> dict[str, Any] | None:
        """The results of a run that is all there, once what is damaged in its artifacts has been made again."""
        results = self.folder.results()
        if results is None or any(results.get(name) != value for name, value in self.outcome.about.items()):
            return None
        mended = 0
        for stage in self._all_stages():
            if not all(self.workshop.is_done(one) for one in (*stage.needs, stage)):
                return None
            mended += self.workshop.mend(stage)
        for regression in self.outcome.regressions:
            if not self.store.is_complete(regression.identity):
                return None
            if artifact_damages(self.store.folder(regression.identity)):
                walked(regression, self.store, self.progress)
                mended += 1
        if mended:
            self.progress.line(f"{mended} damaged {'artifact' if mended == 1 else 'artifacts'} made again")
        if mended or not self.folder.is_finished():
            return None  # what was made again may have come out otherwise: the rest is quickly done
        self.progress.line(f"nothing to do: {self.folder.path} is complete")
        return results

    def _all_stages(self) -> Iterator[ModelStage]:
        """Every model of the run, as far as those before it are made: what is chosen hangs on them."""
        yield from self.planner.teachers()
        for plan in self.planner.students():
            yield from plan.made
            for stages in (plan.trials, plan.baselines):
                if stages:
                    yield (chosen := self._chosen(stages, plan.student))
                    yield from derived(self.planner, plan.student, chosen)
        yield from self.planner.references()

    def _chosen(self, tried: Sequence[ModelStage], student: Student) -> ModelStage:
        """Of a student's trials, or its baseline's, the one that the results show."""
        chosen = self.workshop.choose(tried)
        refit = student.grid and self.planner.final_refit(student)
        return self.planner.refitted(student, chosen) if refit else chosen

    def _warn(self) -> None:
        for part, say in (
            (
                self.split.validation,
                "validation rows are also training rows: choices made on them favour what remembers",
            ),
            (self.split.test, "test rows are also training rows: test accuracy says more than it should"),
        ):
            shared = shared_rows(part, self.split.train)
            if len(shared):
                self.progress.line(f"{len(shared)} of {len(part)} {say}")
        for stage in self.planner.teachers():
            fitted_to = stage.identity.inputs.get("train")
            if stage.path is not None and fitted_to not in (None, stage.rows.hashes["train"]):
                self.progress.line(
                    f"teacher {stage.name} was trained on other rows than this run's training rows: if validation or "
                    "test rows were among them, it and its students look better than they are"
                )

    def _extract(self) -> None:
        told: set[str] = set()
        for plan in self.planner.students():
            for stage in plan.trials:
                self.workshop.recordings.make_all(stage)
                for teacher, recordings in stage.recorded():
                    if teacher.identity.key not in told:
                        told.add(teacher.identity.key)
                        if gives_hard_labels(teacher.given):
                            self.progress.line(
                                f"teacher {teacher.name} gives hard labels: they say no more than which class it takes"
                            )
                        self._warn_of_memory(teacher, recordings)

    def _warn_of_memory(self, teacher: ModelStage, recordings: Sequence[Recording]) -> None:
        """Say it where a teacher knows the labels of its training rows far better than those of others.

        Not of one that labels other rows as well, and of members that are alike of the first alone.
        """
        validation, recording = teacher.rows.validation, recordings[0]
        others = any(not (one.part.labels >= 0).any() for one in recordings)
        if not len(validation) or recording.view or others or teacher.variant.get("member", 1) > 1:
            return
        asked = self.workshop.answering(teacher)
        own = own_answers(asked, validation)
        if isinstance(teacher.given, PredictionsModel) and (own is None or not own[0].all()):
            return
        on_validation = answers_about(asked, validation.inputs, own)
        knowledge = self.workshop.recordings.opened(recording, teacher)
        can_be_refitted = (teacher.model or {}).get("kind") in ESTIMATORS and not teacher.folds
        said = memorised(
            knowledge.log_probs(),
            recording.part.labels,
            on_validation,
            validation.labels,
            **({} if can_be_refitted else {"remedy": OTHER_ROWS}),
        )
        if said is not None:
            self.progress.line(f"teacher {teacher.name}: {said}")

    def _distill(self) -> list[Entry]:
        teachers = self.planner.teachers()
        some, entries = [stage for stage in teachers if "members" in stage.variant], []
        for stage in self.planner.members():
            self.workshop.model(stage)
            entries.append(Entry(stage))
        entries += [Entry(stage) for stage in teachers if stage not in some]
        for plan in self.planner.students():
            student = plan.student
            chosen = self._made(plan.trials, student)
            baseline = self._made(plan.baselines, student) if plan.baselines else None
            shown = [Entry(chosen, student.transfer, baseline, len(plan.trials))]
            if baseline is not None:
                shown.append(Entry(baseline, student.transfer, trials=len(plan.baselines)))
            entries += [*shown, *self._made_from(student, *shown)]
        for reference, transfer in zip(self.planner.references(), self._reference_transfers(), strict=True):
            self.workshop.model(reference)
            entries.append(Entry(reference, transfer))
        entries += [Entry(stage) for stage in some]
        for regression in self.outcome.regressions:
            walked(regression, self.store, self.progress)
        found: dict[str, Entry] = {}  # a sweep over what is asked of the teacher has one baseline
        for entry in entries:
            found.setdefault(entry.id, entry)
        return list(found.values())

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
            yield Entry(stages[0], entry.transfer, beside, entry.trials)
            if baseline is not None:
                yield Entry(stages[1], baseline.transfer, trials=baseline.trials)

    def _made(self, stages: Sequence[ModelStage], student: Student) -> ModelStage:
        chosen = self._chosen(stages, student)
        self.workshop.model(chosen)
        return chosen

    def _reference_transfers(self) -> list[str]:
        return [reference.transfer for part in self.recipe.reference for reference in part.swept()]

    def _check_models(self) -> None:
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

    @staticmethod
    def _precisions(entries: Sequence[Entry]) -> dict[str, str]:
        trained = [entry for entry in entries if entry.stage.is_trained]
        return {
            entry.id: resolve_precision(entry.stage.settings.precision, str((entry.stage.model or {})["kind"]))
            for entry in trained
        }

    def _set_old_aside(self) -> None:
        """Artifacts first, into the run, then the run: cut off in between, the same command goes on."""
        with self.folder.held():
            self.folder.take_in(self.store, self.folder.run_json().get("parts") or planned_parts(self.planner))
            aside = self.folder.set_aside()
        self.progress.line(f"the run before was set aside as {aside}")

    def _all_model_stages(self) -> list[ModelStage]:
        """Every model that this run trains, or may train when it has chosen."""
        stages = [*self.planner.teachers(), *self.planner.members()]
        stages += self.planner.references()
        for plan in self.planner.students():
            stages += [teacher_of(plan.trials[0]), *plan.trials, *plan.baselines]
            if plan.student.grid and self.planner.final_refit(plan.student):
                for trial in plan.student.trials():
                    stages.append(self.planner.student_stage(trial, True))
                    stages += [self.planner.baseline_stage(trial, True)] if trial.baseline else []
        return [stage for stage in stages if stage.is_trained]


def test_rows(folder: Path) -> Part:
    """The test rows of a run, cut as its recipe says; raises what `run_split` does."""
    return run_split(folder).test


def run_split(folder: Path) -> Split:
    """The data of a run, cut as its recipe says.

    Raises:
        LimbeckError: the folder is no run, or its data are not there.
    """
    path = folder / RECIPE
    if not path.is_file():
        raise LimbeckError(f"{folder} is no run: there is no {RECIPE} in it")
    data = load_recipe(path).data
    command = shlex.split(RunFolder(folder).run_json().get("command", ""))
    given = Path(command[2]) if len(command) > 2 else path
    dataset = _dataset(data, given.parent if given.suffix == ".toml" else folder)
    return _split(dataset, data)


def _split(dataset: Dataset, data: Data) -> Split:
    return dataset.split(validation=data.validation, test=data.test, seed=data.split_seed, labels=data.labels)


def _dataset(data: Data, beside: Path | None, say: Callable[[str], None] | None = None) -> Dataset:
    return load_dataset(data.source, data.reading(), beside=beside, say=say)


__all__ = ["STAGES", "Road", "run"]
