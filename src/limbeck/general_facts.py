"""What results say of encoders that were distilled without a task, and of the heads that their teachers were given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck.artifacts import read_checked
from limbeck.general_making import HISTORY, SCORES
from limbeck.model_stage import ModelStage
from limbeck.models.saving import WEIGHTS, read_description
from limbeck.rows import row_label
from limbeck.stages import Workshop

HEAD = ("encoder", "layers", "parameters", "minutes", "loss", "masked tokens right", "cross-entropy", "cosine")


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


def scores_in(folder: Path) -> dict[str, Any] | None:
    """The scores on texts that were held out; None where there were none."""
    return json.loads(read_checked(folder, SCORES)) if (folder / SCORES).exists() else None


def general_lines(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """What `HEAD` is over: a line for each."""
    return [
        [
            row_label(row),
            str(row["layers"]),
            f"{row['parameters']:,}",
            "–" if row["train_seconds"] is None else f"{row['train_seconds'] / 60:.1f}",
            f"{row['losses'][-1]:.4g}",
            *(_score(row["scores"], name) for name in ("accuracy", "cross_entropy", "cosine")),
        ]
        for row in rows
    ]


def _score(scores: Mapping[str, Any] | None, name: str) -> str:
    value = (scores or {}).get(name)
    if value is None:
        return "–"
    return f"{value:.2%}" if name == "accuracy" else f"{value:.3g}"
