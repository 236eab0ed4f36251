"""The road from a recipe to a report, as one run in one folder; the same call again continues it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from limbeck import __version__
from limbeck.artifacts import (
    ArtifactStore,
    DamagedFileError,
    read_tensors,
    write_bytes,
    write_json,
    write_tensors,
)
from limbeck.data import Split, ViewCache, load_dataset, shared_rows
from limbeck.errors import LimbeckError, UsageError
from limbeck.evaluation import Cost, measure_cost, model_id, result_row
from limbeck.models import build_model
from limbeck.models.saving import WEIGHTS
from limbeck.plan import ModelStage, Planner
from limbeck.precision import resolve_precision
from limbeck.progress import Progress, Silent
from limbeck.recipe import Recipe, Student, dump_recipe, load_recipe, recipe_name
from limbeck.report import render_report
from limbeck.run_folder import RECIPE, RUN, RunFolder
from limbeck.stages import Model, Workshop
from limbeck.threads import thread_count, use_available_cores
from limbeck.training import predict_log_probs

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

    def __post_init__(self) -> None:
        self.planner = Planner(self.recipe, self.split, self.seed)
        self.store = ArtifactStore(self.folder.path.parent / "artifacts")
        cache = ViewCache(self.folder.path.parent / "cache")
        self.workshop = Workshop(self.store, cache, self.progress)

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
        if seed < 0 or seed > 2**31 - 1:
            raise UsageError(f"seed = {seed} is not a whole number from 0 to {2**31 - 1}: change the seed")
        name = "recipe" if isinstance(recipe, Recipe) else recipe_name(recipe)
        checked = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, sets)
        folder = RunFolder(Path(out) if out is not None else Path("runs") / name)
        folder.check(dump_recipe(checked), seed, fresh)
        data = checked.data
        dataset = load_dataset(data.source)
        split = dataset.split(validation=data.validation, test=data.test, seed=data.split_seed)
        if not (split.validation.labels >= 0).all() or not (split.test.labels >= 0).all():
            raise LimbeckError(f"{data.source}: validation and test rows need labels: leave rows without labels out")
        use_available_cores()
        given = shlex.quote(str(folder.path / RECIPE if isinstance(recipe, Recipe) else recipe))
        road = cls(name, given, checked, seed, split, folder, progress or Silent(), sets, fresh)
        road._check_models()
        return road

    def walk(self, until: str = "report") -> dict[str, Any]:
        """Make what is not made yet, as far as a stage; a fresh run sets the old one aside first."""
        if self.fresh and self.folder.path.exists():
            self._set_old_aside()
        self.fresh = False
        with self.folder.held():
            self.folder.begin(dump_recipe(self.recipe), self.seed)
            if until == "report" and (finished := self._finished()) is not None:
                return finished
            self._warn()
            results: dict[str, Any] = {"recipe": self.name, "seed": self.seed, "versions": versions()}
            reached = STAGES.index(until)
            for stage in self.planner.teachers():
                self.workshop.model(stage)
            if reached >= STAGES.index("extract"):
                self._extract()
            if reached >= STAGES.index("distill"):
                entries = self._distill()
                self._write_run(entries)
                if reached >= STAGES.index("evaluate"):
                    results = self._evaluate(entries, results)
                if reached >= STAGES.index("report"):
                    self._report(entries, results)
            return results

    def _finished(self) -> dict[str, Any] | None:
        """The results of a run that is all there, once what is damaged in its artifacts has been made again."""
        results = self.folder.results()
        if results is None or results.get("versions") != versions():
            return None
        mended = 0
        for plan in self.planner.students():
            for tried in (plan.trials, plan.baselines):
                for stage in self._tried_and_chosen(tried, plan.student):
                    teacher = self.teacher_of(stage, plan.student.teacher)
                    if not (self.workshop.is_done(teacher) and self.workshop.is_done(stage)):
                        return None
                    mended += self.workshop.mend(teacher, teacher) + self.workshop.mend(stage, teacher)
        if self.folder.damages() or not self.folder.is_finished():
            return None
        self.progress.line(
            f"{mended} damaged artifacts made again" if mended else f"nothing to do: {self.folder.path} is complete"
        )
        return results

    def _tried_and_chosen(self, tried: Sequence[ModelStage], student: Student) -> Iterator[ModelStage]:
        yield from tried
        if tried and student.grid and self.planner.final_refit(student):
            yield self._chosen(tried, student)

    def _chosen(self, tried: Sequence[ModelStage], student: Student) -> ModelStage:
        """Of a student's trials, or its baseline's, the one that the results show."""
        chosen = self.workshop.choose(tried, self.teacher_of(tried[0], student.teacher))
        refit = student.grid and self.planner.final_refit(student)
        return self.planner.refitted(student, chosen) if refit else chosen

    def _warn(self) -> None:
        shared = shared_rows(self.split.validation, self.split.train)
        if len(shared):
            self.progress.line(
                f"{len(shared)} of {len(self.split.validation)} validation rows are also training rows: "
                "choices made on them favour what remembers"
            )
        shared = shared_rows(self.split.test, self.split.train)
        if len(shared):
            self.progress.line(
                f"{len(shared)} of {len(self.split.test)} test rows are also training rows: "
                "test accuracy says more than it should"
            )

    def _extract(self) -> None:
        for student in self.recipe.student:
            for stage in self.planner.student(student).trials:
                refit = stage.rows is self.planner.all_rows
                teacher = self.planner.teacher(student.teacher, refit)
                for recording in stage.recordings:
                    title = f"knowledge of {teacher.name}, " + (
                        f"view {recording.view}" if recording.view else "inputs"
                    )
                    self.workshop.knowledge(recording, teacher, title)

    def _distill(self) -> list[Entry]:
        entries = [Entry(stage, None, None) for stage in self._final_teachers()]
        for plan in self.planner.students():
            student = plan.student
            pairs = []
            for stages in (plan.trials, plan.baselines):
                if not stages:
                    continue
                chosen = self._chosen(stages, student)
                teacher = self.teacher_of(chosen, student.teacher)
                self.workshop.model(chosen, teacher)
                pairs.append(Entry(chosen, teacher, student.transfer, len(stages)))
            entries += pairs
        return entries

    def _final_teachers(self) -> list[ModelStage]:
        # Where a teacher exists both on the split and refitted, the refitted one is what the report shows.
        shown: dict[str, ModelStage] = {}
        for stage in self.planner.teachers():
            shown.setdefault(stage.name, stage)
        return list(shown.values())

    def teacher_of(self, stage: ModelStage, name: str) -> ModelStage:
        """The teacher trained on the same rows as the stage."""
        return self.planner.teacher(name, refit=stage.rows is self.planner.all_rows)

    def _evaluate(self, entries: list[Entry], results: dict[str, Any]) -> dict[str, Any]:
        before = self.folder.results() or {"models": []}
        same = {key: before.get(key) for key in results} == results
        known = {model_id(row["role"], row["name"], row["variant"]): row for row in before["models"] if same}
        predictions = {entry.id: self._predictions(entry) for entry in entries}
        costs = {entry.id: self._cost(entry, known) for entry in entries}
        labels = self.split.test.labels
        by_teacher = {e.stage.name: predictions[e.id] for e in entries if e.stage.role == "teacher"}
        baselines = {e.stage.name: predictions[e.id] for e in entries if e.stage.role == "baseline"}
        rows = []
        for entry in entries:
            stage = entry.stage
            rows.append(
                result_row(
                    stage.role,
                    stage.name,
                    predictions[entry.id],
                    labels,
                    variant=dict(stage.variant),
                    teacher=entry.teacher.name if entry.teacher and stage.role == "student" else None,
                    transfer=entry.transfer,
                    cost=costs[entry.id],
                    train_seconds=self.workshop.seconds(stage),
                    trials=entry.trials,
                    teacher_log_probs=by_teacher[entry.teacher.name] if entry.teacher else None,
                    baseline_log_probs=baselines.get(stage.name) if stage.role == "student" else None,
                )
            )
        results = {**results, "models": rows}
        self.folder.write_results(results)
        self.folder.link_models({entry.id: self.workshop.folder(entry.stage) for entry in entries})
        return results

    def _predictions(self, entry: Entry) -> npt.NDArray[Any]:
        path = self.folder.prediction(entry.id)
        header = {"model": entry.stage.identity.key, "test": self.split.test.inputs_hash}
        try:
            tensors, found = read_tensors(path)
            if {name: found.get(name) for name in header} == header:
                return tensors["log_probs"]
        except (FileNotFoundError, DamagedFileError):
            pass
        model = self._model(entry)
        log_probs = predict_log_probs(model, self.split.test.inputs)
        write_tensors(path, {"log_probs": log_probs}, header)
        return log_probs

    def _cost(self, entry: Entry, known: dict[str, dict[str, Any]]) -> Cost:
        row = known.get(entry.id)
        if row is not None:
            return Cost(**{name: row[name] for name in Cost.__dataclass_fields__})
        size = (self.workshop.folder(entry.stage) / WEIGHTS).stat().st_size
        precision = resolve_precision("auto", getattr(self._model(entry), "kind", None))
        return measure_cost(self._model(entry), size, self.split.test.inputs, precision)

    def _model(self, entry: Entry) -> Model:
        return self.workshop.model(entry.stage, entry.teacher)

    def _report(self, entries: list[Entry], results: dict[str, Any]) -> None:
        test = self.split.test
        histories = {entry.id: self.workshop.history(entry.stage) for entry in entries}
        page = render_report(
            results,
            self.folder.run_json(),
            {entry.id: self._predictions(entry) for entry in entries},
            {name: history for name, history in histories.items() if history is not None},
            test.inputs,
            test.labels,
            list(test.classes),
        )
        write_bytes(self.folder.report, page.encode())

    def _write_run(self, entries: list[Entry]) -> None:
        parts: dict[str, Any] = {entry.id: entry.stage.identity.key for entry in entries}
        precision = {}
        for entry in entries:
            for recording in entry.stage.recordings:
                name = f"knowledge/{entry.teacher.name if entry.teacher else ''}-{entry.transfer}-view={recording.view}"
                parts[name] = recording.identity.key
            if entry.stage.model is not None:
                precision[entry.id] = resolve_precision(entry.stage.settings.precision, entry.stage.model["kind"])
        changes = "".join(f" --set {shlex.quote(change)}" for change in self.sets)
        command = f"limbeck run {self.given} --out {shlex.quote(str(self.folder.path))} --seed {self.seed}{changes}"
        write_json(
            self.folder.path / RUN,
            {
                "recipe": self.name,
                "command": command,
                "seed": self.seed,
                "versions": versions(),
                "threads": thread_count(),
                "precision": precision,
                "parts": parts,
            },
        )

    def _check_models(self) -> None:
        """Refuse what cannot be built from these data, before anything is written."""
        train = self.split.train
        for stage in self._all_model_stages():
            assert stage.model is not None
            with torch.device("meta"):  # shapes without numbers: costs nothing however large the model
                build_model(stage.model, train.inputs.shape[1:], len(train.classes))

    def _set_old_aside(self) -> None:
        stages = self._all_model_stages()
        aside = self.folder.set_aside()
        for stage in stages:
            for folder in (self.store.folder(stage.identity), self.store.part(stage.identity)):
                _move(folder, aside)
            for recording in stage.recordings:
                for folder in (self.store.folder(recording.identity), self.store.part(recording.identity)):
                    _move(folder, aside)

    def _all_model_stages(self) -> list[ModelStage]:
        """Every model that this run trains, or may train when it has chosen."""
        stages = self.planner.teachers()
        for plan in self.planner.students():
            stages += [self.teacher_of(plan.trials[0], plan.student.teacher), *plan.trials, *plan.baselines]
            if plan.student.grid and self.planner.final_refit(plan.student):
                for trial in plan.student.trials():
                    stages.append(self.planner.student_stage(trial, True))
                    stages += [self.planner.baseline_stage(trial, True)] if trial.baseline else []
        return [stage for stage in stages if stage.path is None]


@dataclass(frozen=True)
class Entry:
    """A model that the results show: its stage, its teacher, its transfer set, the settings tried for it."""

    stage: ModelStage
    teacher: ModelStage | None
    transfer: str | None
    trials: int | None = None

    @property
    def id(self) -> str:
        """ROLE/NAME[-VARIANT]: its name in predictions/ and models/."""
        return model_id(self.stage.role, self.stage.name, self.stage.variant)


def versions() -> dict[str, str]:
    """What decides numbers: limbeck, python, torch, numpy, scikit-learn."""
    from importlib.metadata import version

    return {
        "limbeck": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scikit-learn": version("scikit-learn"),
    }


def _move(folder: Path, aside: Path) -> None:
    if folder.exists():
        place = aside / "artifacts" / folder.parent.name / folder.name
        place.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(place)


__all__ = ["STAGES", "Road", "run"]
