"""Models that are made from a trained one: written as artifacts, and what became of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy.typing as npt
from torch import nn

from limbeck.artifacts import read_checked
from limbeck.bias import BIAS, best_bias, raise_bias
from limbeck.data import Part
from limbeck.files import write_json
from limbeck.models import SoftDecisionTree, ThresholdTree, TreeEnsemble, save_model
from limbeck.plan.model_stage import BiasCorrection, ModelStage, TreeForm
from limbeck.training import predict_log_probs
from limbeck.tree_forms import FORM, form_facts, tree_form


def make_corrected(stage: ModelStage, bias: BiasCorrection, part: Path, model: nn.Module, judge: nn.Module) -> str:
    """Write a student with raised biases.

    Args:
        stage: of the corrected student.
        bias: how.
        part: the folder.
        model: the student, changed here.
        judge: the model that the number is chosen by.

    Returns:
        A line about it.
    """
    log_probs = predict_log_probs(judge, bias.part.inputs)
    found = best_bias(log_probs, bias.part.labels, bias.missing)
    raise_bias(model, bias.missing, found.bias)
    write_json(part / BIAS, {"bias": found.bias, "errors": found.errors, "rows": len(bias.part)})
    save_model(part, model, stage.rows.train.classes, {"identity": stage.identity.as_json()})
    return f"{stage.title}: raised by {found.bias:.2f}, for {found.errors} errors in {len(bias.part)} {bias.on} rows"


def make_form(
    stage: ModelStage, form: TreeForm, part: Path, whole: nn.Module, inputs: npt.NDArray[Any], validation: Part
) -> None:
    """Write a soft decision tree that answers in another way, or pruned.

    Args:
        stage: of the tree.
        form: how.
        part: the folder.
        whole: the tree as it was trained.
        inputs: that it was trained on.
        validation: the rows that chose its epoch.
    """
    assert isinstance(whole, SoftDecisionTree)
    tree = tree_form(whole, form.predict, form.prune, inputs)
    write_json(part / FORM, form_facts(whole, tree, validation))
    save_model(part, tree, stage.rows.train.classes, {"identity": stage.identity.as_json()})


def form_numbers(stage: ModelStage, folder: Path) -> dict[str, float]:
    """What became of a tree that answers in another way or was pruned: leaves and errors; empty for others."""
    if not isinstance(stage.made, TreeForm):
        return {}
    found = json.loads(read_checked(folder, FORM))
    return {name: value for name, value in found.items() if value is not None}


def raised_by(stage: ModelStage, folder: Path) -> float | None:
    """By how much a model's biases were raised; None for those that were not."""
    if not isinstance(stage.made, BiasCorrection):
        return None
    return float(json.loads(read_checked(folder, BIAS))["bias"])


def is_tree(stage: ModelStage) -> bool:
    """Whether the model is a tree, or many."""
    return (stage.model or {}).get("kind") in (SoftDecisionTree.kind, ThresholdTree.kind, TreeEnsemble.kind)


def tree_size(tree: nn.Module) -> dict[str, int]:
    """Levels and leaves of a model that is a tree, trees and leaves of one that is many."""
    if isinstance(tree, TreeEnsemble):
        return {"trees": tree.trees, "leaves": tree.leaves}
    if isinstance(tree, ThresholdTree):
        return {"levels": tree.depth, "leaves": tree.leaves}
    assert isinstance(tree, SoftDecisionTree)
    return {"levels": tree.to_numpy().depth, "leaves": tree.leaf_count}
