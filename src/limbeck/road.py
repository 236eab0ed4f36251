"""The road from a recipe to a report, as one run in one folder; the same call again continues it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.artifacts import ArtifactStore
from limbeck.data import Part, Split, ViewCache
from limbeck.devices import AUTO, asked_device, using_device
from limbeck.errors import LimbeckError, UsageError
from limbeck.fitting import check_seed
from limbeck.plan.general_stage import GeneralPlanner
from limbeck.plan.model_stage import ModelStage
from limbeck.plan.planner import Planner
from limbeck.progress import Progress, Silent
from limbeck.recipe import Recipe, load_recipe, recipe_name, settings_key
from limbeck.recipe.task import Task, of_task
from limbeck.regression import walked
from limbeck.results.outcome import Outcome, versions
from limbeck.results.parts import general_parts, run_parts, shown_parts
from limbeck.run_data import opened_split, opened_texts, rows_digest, run_split
from limbeck.run_folder import ARTIFACTS, RECIPE, RunFolder
from limbeck.stages.courses import Course, Entry
from limbeck.stages.extraction_warnings import OTHER_ROWS, split_warnings
from limbeck.stages.workshop import Workshop
from limbeck.threads import use_available_cores
from limbeck.wholeness import artifact_damages

CACHE = "cache"
STAGES = ("teach", "extract", "distill", "evaluate", "report")


def run(
    recipe: str | Path | Recipe,
    out: Path | str | None = None,
    *,
    seed: int = 0,
    sets: Sequence[str] = (),
    until: str = "report",
    fresh: bool = False,
    device: str = AUTO,
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
        device: where networks are trained and asked: "auto" for the first GPU where there is one, "cpu", "cuda",
            "cuda:1" and so on. Speed is measured on the processor.
        progress: told what happens.

    Returns:
        What results.json says; without "models" before evaluation.

    Raises:
        LimbeckError: for whatever a user can mend; what was there before is untouched.
    """
    if until not in STAGES:
        raise UsageError(f'until = "{until}": there are {", ".join(STAGES)}')
    with using_device(device):
        return Road.open(recipe, out, seed=seed, sets=sets, fresh=fresh, progress=progress).walk(until)


@dataclass
class Road:
    """One run: its recipe, its data, its plan, and the folders it works in.

    Attributes:
        split: the data; of a recipe with tasks, those of the first.
        further: those of the other tasks.
        texts: with tasks, what is distilled on without one, and what is held out of it.
        courses: what is planned for each task; one where the recipe has none.
        generals: the encoders that are distilled without a task.
    """

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
    further: Sequence[Split] = ()
    texts: tuple[Part, Part] | None = None

    def __post_init__(self) -> None:
        self.store = ArtifactStore(self.folder.path.parent / ARTIFACTS)
        cache = ViewCache(self.folder.path.parent / CACHE)
        self.workshop = Workshop(self.store, cache, self.progress)
        self.courses = self._planned_courses()
        self.planner = self.courses[0].planner
        generals = self.planner.generals
        self.generals = [] if generals is None else generals.stages()
        about = {
            "recipe": self.name,
            "settings": settings_key(self.recipe),
            "seed": self.seed,
            "versions": versions(self.recipe),
            "rows": {course.task or "data": rows_digest(course.split) for course in self.courses},
        }
        changes = "".join(f" --set {shlex.quote(change)}" for change in self.sets)
        device = "" if asked_device() == AUTO else f" --device {asked_device()}"
        command = (
            f"limbeck run {self.given} --out {shlex.quote(str(self.folder.path))} --seed {self.seed}{changes}{device}"
        )
        self.outcome = Outcome(
            about,
            command,
            self.courses,
            self.folder,
            self.workshop,
            self.recipe.claim,
            self.planner.regressions(),
            self.generals,
            self.beside,
        )

    def _planned_courses(self) -> list[Course]:
        """One course, or one for each task, which share what is distilled without one."""
        texts, held_out = self.texts or (self.split.train, self.split.validation)
        say = self.progress.line
        generals = GeneralPlanner(self.recipe, texts, held_out, self.seed, self.beside, say)
        if self.recipe.task is None:
            planner = Planner(self.recipe, self.split, self.seed, self.beside, say, generals=generals)
            return [Course(planner, self.workshop)]
        courses = []
        for task, split in zip(self.recipe.task, (self.split, *self.further), strict=True):
            try:
                planner = Planner(
                    of_task(self.recipe, task), split, self.seed, self.beside, say, task=task.name, generals=generals
                )
            except LimbeckError as error:
                raise type(error)(f"task.{task.name}: {error}") from None
            courses.append(Course(planner, self.workshop))
        return courses

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
        beside = Path(recipe).parent if isinstance(recipe, str | Path) and Path(recipe).suffix == ".toml" else None
        say = progress.line if progress else None
        if checked.task is None:
            splits = [opened_split(checked.data, beside, say)]
        else:
            splits = [_of_task(task, beside, say) for task in checked.task]
        texts = opened_texts(checked.data, beside, say, splits) if checked.task and checked.general else None
        use_available_cores()
        given = shlex.quote(str(folder.path / RECIPE if isinstance(recipe, Recipe) else recipe))
        # A fresh run that was cut off is gone on with, not begun once more.
        fresh = fresh and not folder.fresh_is_under_way(checked, seed)
        road = cls(
            name, given, checked, seed, splits[0], folder, progress or Silent(), sets, fresh, beside, splits[1:], texts
        )
        for course in road.courses:
            course.check_models()
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
            self.outcome.write_run(self._planned_parts(), {})
            self._warn()
            for stage in (stage for course in self.courses for stage in course.planner.teachers()):
                self.workshop.model(stage)
            if reached >= STAGES.index("extract"):
                for course in self.courses:
                    course.extract()
            if reached >= STAGES.index("distill"):
                entries = self._distill()
                parts = {**self._planned_parts(), **self._shown_parts(entries)}
                self.outcome.write_run(parts, self._plans(entries))
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
        """Every model of the run, as far as those before it are made."""
        yield from self.generals
        for course in self.courses:
            yield from course.all_stages()

    def _warn(self) -> None:
        for course in self.courses:
            for line in split_warnings(course.split, course.planner.teachers()):
                self.progress.line(line if course.task is None else f"task {course.task}: {line}")

    def _distill(self) -> list[Entry]:
        for stage in self.generals:  # those that nothing begins from are made, too
            self.workshop.model(stage)
        entries = [entry for course in self.courses for entry in course.distill()]
        for regression in self.outcome.regressions:
            walked(regression, self.store, self.progress)
        found: dict[str, Entry] = {}  # a sweep over what is asked of the teacher has one baseline
        for entry in entries:
            found.setdefault(entry.id, entry)
        return list(found.values())

    def _plans(self, entries: Sequence[Entry]) -> dict[str, dict[str, Any]]:
        stages = [*self.generals, *(entry.stage for entry in entries)]
        return {stage.id: self.workshop.plan(stage) for stage in stages if stage.is_trained}

    def _planned_parts(self) -> dict[str, str]:
        return run_parts([course.planner for course in self.courses], self.generals)

    def _shown_parts(self, entries: Sequence[Entry]) -> dict[str, str]:
        parts, known = dict[str, str](), general_parts(self.generals)
        for course in self.courses:
            of_course = [entry for entry in entries if entry.test is course.split.test]
            parts |= shown_parts(course.planner, [(entry.stage, entry.transfer) for entry in of_course], known)
        return parts

    def _set_old_aside(self) -> None:
        """Artifacts first, into the run, then the run: cut off in between, the same command goes on."""
        with self.folder.held():
            self.folder.take_in(self.store, self.folder.run_json().get("parts") or self._planned_parts())
            aside = self.folder.set_aside()
        self.progress.line(f"the run before was set aside as {aside}")


def _of_task(task: Task, beside: Path | None, say: Callable[[str], None] | None) -> Split:
    try:
        return opened_split(task.data, beside, say)
    except LimbeckError as error:
        raise type(error)(f"task.{task.name}.data: {error}") from None


__all__ = ["OTHER_ROWS", "STAGES", "Road", "run", "run_split"]
