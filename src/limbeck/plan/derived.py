"""Models that are made from a trained one without training: biases corrected, trees that answer otherwise or pruned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from limbeck.artifacts import Identity
from limbeck.errors import LimbeckError
from limbeck.plan.model_stage import BiasCorrection, ModelStage, TreeForm
from limbeck.plan.planner import Planner
from limbeck.recipe import SoftTree, Student
from limbeck.trees import Predict

BIAS_VERSION, TREE_FORM_VERSION = 2, 1


def derived(planner: Planner, student: Student, stage: ModelStage) -> list[ModelStage]:
    """What the results show beside a student, or its baseline, that is made from it.

    Args:
        planner: of the run.
        student: as in the recipe.
        stage: what became of it.
    """
    return [*_corrected(planner, student, stage), *_tree_forms(student, stage)]


def _corrected(planner: Planner, student: Student, stage: ModelStage) -> Iterator[ModelStage]:
    """With the biases of the classes that it never saw raised; one for each way."""
    select = planner.transfer(student.transfer).select
    for rows in student.bias:
        assert select is not None
        on_validation = rows == "validation"
        judge = planner.trial_like(student, stage, refit=False) if on_validation and stage.rows.refit else stage
        part = planner.split.validation if on_validation else planner.split.test
        named = part.class_numbers([*select.without, *select.only])
        missing = named if select.without else [c for c in range(len(part.classes)) if c not in named]
        if not missing:
            raise LimbeckError(
                f"student.{student.name}.bias: transfer set {student.transfer} has rows of all classes: leave bias "
                "out, or select fewer classes"
            )
        identity = Identity(
            kind="student",
            version=BIAS_VERSION,
            settings={"bias": rows, "missing": missing},
            inputs={
                "student": stage.identity.key, "judge": judge.identity.key,
                "rows": part.inputs_hash, "labels": part.labels_hash,
            },
        )  # fmt: skip
        yield _made_from(stage, identity, BiasCorrection(stage, judge, rows, part, tuple(missing)), {"bias": rows})


def _tree_forms(student: Student, stage: ModelStage) -> Iterator[ModelStage]:
    """A soft decision tree's other ways of answering, and the tree pruned."""
    if not isinstance(student.model, SoftTree):
        return
    ways: list[tuple[Predict, float | None]] = [(way, None) for way in student.also_predict or []]
    if student.prune is not None:
        assert stage.model is not None
        ways.append((stage.model["predict"], student.prune))
    for predict, prune in ways:
        identity = Identity(
            kind="student",
            version=TREE_FORM_VERSION,
            settings={"predict": predict, "prune": prune},
            inputs={"student": stage.identity.key},
        )
        variant = {"predict": predict} if prune is None else {"pruned": prune}
        yield _made_from(stage, identity, TreeForm(stage, predict, prune), variant)


def _made_from(
    stage: ModelStage, identity: Identity, made: BiasCorrection | TreeForm, variant: Mapping[str, Any]
) -> ModelStage:
    return replace(stage, identity=identity, made=made, variant={**stage.variant, **variant}, recordings=())
