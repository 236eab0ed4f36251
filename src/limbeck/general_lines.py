"""Encoders that were distilled without a task, as lines of a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck.artifacts import read_checked
from limbeck.rows import row_label

SCORES = "scores.json"
HEAD = ("encoder", "layers", "parameters", "minutes", "loss", "masked tokens right", "cross-entropy", "cosine")
_SCORES = ("accuracy", "cross_entropy", "cosine")


def general_lines(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """What `HEAD` is over: a line for each."""
    return [
        [
            row_label(row),
            str(row["layers"]),
            f"{row['parameters']:,}",
            "–" if row["train_seconds"] is None else f"{row['train_seconds'] / 60:.1f}",
            f"{row['losses'][-1]:.4g}",
            *(_score(row["scores"], name) for name in _SCORES),
        ]
        for row in rows
    ]


def scores_in(folder: Path) -> dict[str, Any] | None:
    """What such an artifact says of texts that were held out; None where there were none."""
    found: dict[str, Any] | None = None
    if (folder / SCORES).exists():
        found = json.loads(read_checked(folder, SCORES))
    return found


def score_facts(folder: Path) -> dict[str, str]:
    """The same in words, by name."""
    scores = scores_in(folder)
    if scores is None:
        return {}
    said = [(name, _score(scores, key)) for name, key in zip(HEAD[-3:], _SCORES, strict=True)]
    shown = ", ".join(f"{name} {value}" for name, value in said if value != "–")
    return {"held out": f"{scores['texts']:,} texts: {shown}"}


def _score(scores: Mapping[str, Any] | None, name: str) -> str:
    value = (scores or {}).get(name)
    if value is None:
        return "–"
    return f"{value:.2%}" if name == "accuracy" else f"{value:.3g}"
