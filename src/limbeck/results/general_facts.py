"""What results say of encoders that were distilled without a task, and of the heads that their teachers were given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from limbeck.artifacts import read_checked
from limbeck.general_lines import scores_in
from limbeck.models.saving import WEIGHTS, read_description
from limbeck.plan.model_stage import ModelStage
from limbeck.stages.shelf import HISTORY
from limbeck.stages.workshop import Workshop


def general_rows(stages: Sequence[ModelStage], workshop: Workshop) -> list[dict[str, Any]]:
    """Of each, heads first: name and variant, layers, parameters, bytes, seconds, loss by epoch, and scores.

    Args:
        stages: of general distillation.
        workshop: has what they made.
    """
    found: dict[str, dict[str, Any]] = {}
    for stage in (one for general in stages for one in (*general.needs, general)):
        folder = workshop.folder(stage)
        assert stage.model is not None
        history = json.loads(read_checked(folder, HISTORY))
        found.setdefault(
            stage.identity.key,
            {
                "name": stage.name,
                "variant": dict(stage.variant),
                "layers": len(stage.model["layers"]),
                "parameters": read_description(folder)["parameters"],
                "bytes": (folder / WEIGHTS).stat().st_size,
                "train_seconds": workshop.seconds(stage),
                "losses": [epoch["loss"] for epoch in history["epochs"]],
                "scores": scores_in(folder),
            },
        )
    return list(found.values())
