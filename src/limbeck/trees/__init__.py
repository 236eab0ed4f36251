"""Soft decision trees to be read: as plain arrays, as text, as a drawing and a page, explained, and pruned."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from limbeck.trees.arrays import Predict, TreeArrays
from limbeck.trees.explanation import Explanation, explain
from limbeck.trees.pruning import Pruned, changed, prune
from limbeck.trees.text import to_text

if TYPE_CHECKING:
    from limbeck.trees.drawing import Drawing, draw
    from limbeck.trees.page import render_page

# Loaded when first asked for: pictures and pages need the report's libraries, trees do not.
_HOMES = {"Drawing": "limbeck.trees.drawing", "draw": "limbeck.trees.drawing", "render_page": "limbeck.trees.page"}

__all__ = [
    "Drawing",
    "Explanation",
    "Predict",
    "Pruned",
    "TreeArrays",
    "changed",
    "draw",
    "explain",
    "prune",
    "render_page",
    "to_text",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
