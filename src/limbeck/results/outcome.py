"""From trained stages to what a run leaves behind: run.json, predictions, results.json and the page."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from limbeck import __version__
from limbeck.data import Part, TableForm
from limbeck.devices import CPU, on_device
from limbeck.evaluation import ROW_FIELDS, Asked, Cost, measure_costs, result_row
from limbeck.files import DamagedFileError, read_tensors, write_bytes, write_json, write_tensors
from limbeck.knowledge import combined
from limbeck.metrics import auc, errors
from limbeck.models import encoder
from limbeck.models.mean import MeanModel
from limbeck.plan.given_teacher import PredictionsModel
from limbeck.plan.model_stage import ModelStage
from limbeck.recipe import Claim, Recipe
from limbeck.recipe.settings import Encoder
from limbeck.recipe.task import TASK
from limbeck.regression import RegressionStage, steps_to, walked
from limbeck.report import render_report
from limbeck.report.claims import measured
from limbeck.results.general_facts import general_rows
from limbeck.results.known import known_ensembles, known_parts
from limbeck.results.retention import of_one_task, retention
from limbeck.results.tasks_page import tasks_page
from limbeck.rows import ERRORS_ON, row_id
from limbeck.run_folder import RUN, RunFolder
from limbeck.stages.courses import Course, Entry
from limbeck.stages.derived_making import form_numbers, is_tree, raised_by, tree_size
from limbeck.stages.workshop import Workshop
from limbeck.threads import thread_count
from limbeck.training import predict_log_probs

Array = npt.NDArray[Any]


@dataclass
class Outcome:
    """Writes what came of a run into its folder.

    Attributes:
        about: what results.json says before its rows: recipe, settings, seed, versions, and a digest of the data.
        command: which makes the run again.
        courses: the data and plans of each task; test rows are read here and nowhere else.
        folder: of the run.
        workshop: has the models.
        claims: what a paper reports of them.
        regressions: linear nets of several depths.
        generals: encoders that were distilled without a task.
        beside: the recipe's folder, where it lies in one.
    """

    about: dict[str, Any]
    command: str
    courses: Sequence[Course]
    folder: RunFolder
    workshop: Workshop
    claims: Sequence[Claim] = ()
    regressions: Sequence[RegressionStage] = ()
    generals: Sequence[ModelStage] = ()
    beside: Path | None = None

    @property
    def tasks(self) -> list[str]:
        """What the recipe calls its tasks; empty where it has none."""
        return [course.task for course in self.courses if course.task is not None]

    def write_run(self, parts: Mapping[str, str], plans: Mapping[str, Mapping[str, Any]]) -> None:
        """run.json: what the run is made of, and what its numbers depend on.

        Args:
            parts: the key of each artifact, by name.
            plans: of each model's training, by name: its precision, and the device where that is not the processor.
        """
        self.folder.reopen()
        about = {
            "command": self.command,
            "threads": thread_count(),
            "precision": {name: plan["precision"] for name, plan in plans.items()},
            "device": {name: plan["device"] for name, plan in plans.items() if plan["device"] != CPU},
            "parts": dict(parts),
            "folders": self.folder.ways_to(*(place for place in (self.beside, Path.cwd()) if place is not None)),
        }
        write_json(self.folder.path / RUN, {**self.about, **about})

    def evaluate(self, entries: Sequence[Entry]) -> dict[str, Any]:
        """results.json: every model on the test rows."""
        before = self.folder.results() or {"models": []}
        same = {key: before.get(key) for key in self.about} == self.about
        known = {row_id(row): row for row in before["models"] if same}
        predictions = {entry.id: self._predictions(entry) for entry in entries if self._has_test(entry)}
        costs = self._costs(entries, known)
        curves = {entry.id: curve for entry in entries if (curve := self._curve(entry))}
        of_stage = {entry.stage.identity.key: predictions[entry.id] for entry in entries if entry.id in predictions}
        rows = []
        for entry in entries:
            stage = entry.stage
            teacher, baseline = stage.teacher, entry.baseline
            if entry.id not in predictions:
                named = {"role": stage.role, "name": stage.name, "variant": dict(stage.variant), "metrics": {}}
                rows.append({**dict.fromkeys(ROW_FIELDS), **named, "data": stage.variant.get(TASK)})
                continue
            rows.append(
                result_row(
                    stage.role,
                    stage.name,
                    predictions[entry.id],
                    entry.test.labels,
                    data=stage.variant.get(TASK),
                    variant=dict(stage.variant),
                    teacher=teacher.name if teacher and stage.role == "student" else None,
                    transfer=entry.transfer,
                    cost=costs[entry.id],
                    train_seconds=self.workshop.seconds(stage),
                    trials=entry.trials,
                    chosen=dict(stage.tried) or None,
                    teacher_log_probs=of_stage.get(teacher.identity.key) if teacher else None,
                    baseline_log_probs=of_stage[baseline.identity.key] if baseline else None,
                    metrics_by_name=self._metrics(entry, predictions[entry.id], curves.get(entry.id)),
                )
            )
        rows += [self._regression_row(stage) for stage in self.regressions]
        labels = {entry.id: entry.test.labels for entry in entries}
        correct = {name: p.argmax(axis=1) == labels[name] for name, p in predictions.items()}
        stages = [entry.stage for entry in entries]
        taught = [(entry.stage, entry.transfer) for entry in entries if entry.transfer and not entry.stage.made]
        results = {
            **self.about,
            "models": rows,
            "claims": measured(self.claims, rows, correct),
            "curves": curves,
            "ensembles": self._ensembles(entries, predictions),
            "parts": known_parts(taught, stages, self.workshop),
        }
        if self.generals:
            results["general"] = general_rows(self.generals, self.workshop)
        if self.tasks:
            results["tasks"] = retention(rows, {str(course.task): len(course.split.test) for course in self.courses})
        self.folder.write_results(results)
        links = [*(entry.stage for entry in entries), *self.generals]
        self.folder.link_models({stage.id: self.workshop.folder(stage) for stage in links})
        return results

    def _ensembles(self, entries: Sequence[Entry], predictions: Mapping[str, Array]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for course in self.courses:
            test = course.split.test
            stages = [entry.stage for entry in entries if entry.test is test]
            found |= known_ensembles(stages, predictions, test.labels, self.workshop)
        return found

    def report(self, entries: Sequence[Entry], results: dict[str, Any]) -> None:
        """report.html, and of several tasks a page for each, to which it leads; with them the run is finished."""
        histories = {entry.id: self.workshop.history(entry.stage) for entry in entries}
        descents = [(stage.name, stage.variant, self._walked(stage)) for stage in self.regressions]
        pages: list[str] = []
        for course in self.courses:
            test = course.split.test
            shown = [entry for entry in entries if entry.test is test]
            of_course = results if course.task is None else of_one_task(results, course.task)
            page = render_report(
                of_course,
                self.folder.run_json(),
                {entry.id: self._predictions(entry) for entry in shown if self._has_test(entry)},
                {entry.id: history for entry in shown if (history := histories[entry.id]) is not None},
                test.inputs,
                test.labels,
                list(test.classes),
                descents=descents if course is self.courses[0] else (),
                form=test.form,
            )
            path = self.folder.report
            if course.task is not None:
                path = self.folder.page(course.task)
                pages.append(path.name)
            write_bytes(path, page.encode())
        if self.tasks:
            whole = tasks_page(results, {task: self.folder.page(task).name for task in self.tasks})
            write_bytes(self.folder.report, whole.encode())
        self.folder.seal(pages)

    def _has_test(self, entry: Entry) -> bool:
        """Whether it can be measured: a file of predictions may have none for the test rows.

        It has none where ids say nothing of them: those of a test set of its own mostly count from 0, as the training
        rows' do, and what the file says of an id is of the training row.
        """
        files = [asked.given for asked in entry.stage.asked if isinstance(asked.given, PredictionsModel)]
        if not files:
            return True
        split = next(course.split for course in self.courses if course.split.test is entry.test)
        if np.isin(entry.test.ids, np.concatenate([split.train.ids, split.validation.ids])).any():
            return False
        return all(file.own_rows.answers_for(entry.test)[0].all() for file in files)

    def _curve(self, entry: Entry) -> list[tuple[int, int]]:
        """(epoch, test errors), where the weights were kept."""
        test = entry.test
        return [
            (epoch, errors(predict_log_probs(model, test.inputs), test.labels))
            for epoch, model in self.workshop.snapshots(entry.stage)
        ]

    def _metrics(self, entry: Entry, log_probs: Array, curve: Sequence[tuple[int, int]] | None) -> dict[str, float]:
        """What is of interest about some rows only: errors on classes left out, raised biases, validation errors."""
        found: dict[str, float] = {}
        stage, test = entry.stage, entry.test
        labels, classes = test.labels, test.classes
        taught = stage.made.student if stage.made else stage
        for number in (taught.identity.settings.get("select") or {}).get("without", ()):
            wrong = log_probs[labels == number].argmax(axis=1) != number
            found[f"{ERRORS_ON}{classes[number]}"] = int(np.count_nonzero(wrong))
        if (bias := raised_by(stage, self.workshop.folder(stage))) is not None:
            found["bias_raised"] = bias
        if (wrong := self.workshop.validation_errors(stage)) is not None:
            found["validation_errors"] = wrong
        found |= tree_size(self.workshop.model(stage)) if is_tree(stage) else {}
        found |= form_numbers(stage, self.workshop.folder(stage))
        if isinstance(test.form, TableForm) and len(np.unique(labels)) > 1:
            found["auc"] = auc(log_probs, labels)
        if curve:
            found["errors_above_fewest"] = curve[-1][1] - min(wrong for _, wrong in curve)
        return found

    def _walked(self, stage: RegressionStage) -> dict[str, Any]:
        return walked(stage, self.workshop.store, self.workshop.progress)

    def _regression_row(self, stage: RegressionStage) -> dict[str, Any]:
        found = self._walked(stage)
        losses = found["losses"]
        metrics = {"loss": losses[-1], "excess_loss": losses[-1] - found["least"]} if losses else {}
        steps = steps_to(losses, found["least"]) if losses else None
        return {
            **dict.fromkeys(ROW_FIELDS),
            "role": "reference",
            "name": stage.name,
            "data": stage.source,
            "variant": stage.variant,
            "parameters": stage.task.inputs.shape[1] + stage.depth - 1,
            "trials": len(found["trials"]),
            "chosen": {"learning_rate": found["learning_rate"]} if losses else None,
            "metrics": metrics if steps is None else {**metrics, "steps": steps},
        }

    def _predictions(self, entry: Entry) -> Array:
        path = self.folder.prediction(entry.id)
        header = {
            "model": entry.stage.identity.key,
            "weights": self.workshop.weights_digest(entry.stage),
            "test": entry.test.inputs_hash,
        }
        try:
            tensors, found = read_tensors(path)
            if {name: found.get(name) for name in header} == header:
                return tensors["log_probs"]
        except (FileNotFoundError, DamagedFileError):
            pass
        log_probs = self._answers(entry.stage, entry.test)
        write_tensors(path, {"log_probs": log_probs}, header)
        return log_probs

    def _answers(self, stage: ModelStage, test: Part) -> Array:
        """What a model says about the test rows; a file of predictions is looked up."""
        if isinstance(stage.given, PredictionsModel):
            return stage.given.own_rows.answers_for(test)[1]
        if stage.members and not _can_be_asked(stage):
            mean = self.workshop.model(stage)
            assert isinstance(mean, MeanModel)
            said = [self._answers(member, test) for member in stage.members]
            return combined(said, 1.0, weights=mean.weights, mean=mean.mean)
        model = self.workshop.model(stage)
        if (
            isinstance(model, encoder.Encoder)
            and (cut := encoder.truncation(model, [("test texts", test.inputs)])) is not None
        ):
            self.workshop.progress.line(f"{stage.title}: {cut}")
        return predict_log_probs(on_device(model), test.inputs)

    def _costs(self, entries: Sequence[Entry], known: Mapping[str, Mapping[str, Any]]) -> dict[str, Cost | None]:
        """By id; None of what cannot be asked. What was measured before is known."""
        costs: dict[str, Cost | None] = {}
        asked: dict[str, Asked] = {}
        for entry in entries:
            stage, row = entry.stage, known.get(entry.id)
            if not _can_be_asked(stage):
                costs[entry.id] = None
            elif row is not None:
                costs[entry.id] = Cost(**{name: row[name] for name in Cost.__dataclass_fields__})
            else:
                opened = partial(self.workshop.model, stage)
                asked[entry.id] = Asked(opened, self.workshop.file_bytes(stage), entry.test.inputs)
        return costs | dict(zip(asked, measure_costs(list(asked.values())), strict=True))


def _can_be_asked(stage: ModelStage) -> bool:
    """Whether a model answers for any rows, as a file of predictions, and a mean with one, does not."""
    return not any(isinstance(asked.given, PredictionsModel) for asked in stage.asked)


def versions(recipe: Recipe) -> dict[str, str]:
    """What decides numbers: limbeck, python, torch, numpy, scikit-learn; and what else the recipe's models need."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    needed = {"lightgbm" for teacher in recipe.teacher if teacher.kind == "lightgbm"}
    needed |= {"onnxruntime" for teacher in recipe.teacher if str(teacher.from_).endswith(".onnx")}
    models = [part.model for part in (*recipe.teacher, *recipe.student, *recipe.reference, *(recipe.general or ()))]
    if any(isinstance(model, Encoder) for model in models):
        needed |= {"tokenizers", "transformers"}
    for name in sorted(needed):
        with contextlib.suppress(PackageNotFoundError):  # whoever needs it says so
            found[name] = version(name)
    return {
        "limbeck": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scikit-learn": version("scikit-learn"),
        **found,
    }
