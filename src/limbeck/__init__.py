"""Limbeck: knowledge distillation. A large model, or an ensemble, into a small fast one that keeps its accuracy."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from limbeck.errors import LimbeckError, UsageError

if TYPE_CHECKING:
    from limbeck.data import Dataset, Part, Split, ViewSettings, load_dataset
    from limbeck.distillation import Distilled, distill, evaluate, extract, teach
    from limbeck.exporting import Exported, export, export_module, export_onnx
    from limbeck.initial.recipe import write_recipe
    from limbeck.knowledge import Knowledge
    from limbeck.models import MLP, ConvNet, SoftDecisionTree, build_model, load_model, save_model
    from limbeck.objectives import Objective
    from limbeck.road import run
    from limbeck.train_settings import TrainSettings
    from limbeck.training import predict_log_probs, train
    from limbeck.trees import TreeArrays

__version__ = "0.1.0"

# Loaded when first asked for: torch takes seconds, and `limbeck --help` should not.
_HOMES = {
    "Dataset": "limbeck.data",
    "Part": "limbeck.data",
    "Split": "limbeck.data",
    "ViewSettings": "limbeck.data",
    "load_dataset": "limbeck.data",
    "Distilled": "limbeck.distillation",
    "distill": "limbeck.distillation",
    "evaluate": "limbeck.distillation",
    "extract": "limbeck.distillation",
    "teach": "limbeck.distillation",
    "Exported": "limbeck.exporting",
    "export": "limbeck.exporting",
    "export_module": "limbeck.exporting",
    "export_onnx": "limbeck.exporting",
    "write_recipe": "limbeck.initial.recipe",
    "Knowledge": "limbeck.knowledge",
    "MLP": "limbeck.models",
    "ConvNet": "limbeck.models",
    "SoftDecisionTree": "limbeck.models",
    "build_model": "limbeck.models",
    "load_model": "limbeck.models",
    "save_model": "limbeck.models",
    "Objective": "limbeck.objectives",
    "run": "limbeck.road",
    "TrainSettings": "limbeck.train_settings",
    "predict_log_probs": "limbeck.training",
    "train": "limbeck.training",
    "TreeArrays": "limbeck.trees",
}

__all__ = [
    "MLP",
    "ConvNet",
    "Dataset",
    "Distilled",
    "Exported",
    "Knowledge",
    "LimbeckError",
    "Objective",
    "Part",
    "SoftDecisionTree",
    "Split",
    "TrainSettings",
    "TreeArrays",
    "UsageError",
    "ViewSettings",
    "__version__",
    "build_model",
    "distill",
    "evaluate",
    "export",
    "export_module",
    "export_onnx",
    "extract",
    "load_dataset",
    "load_model",
    "predict_log_probs",
    "run",
    "save_model",
    "teach",
    "train",
    "write_recipe",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
