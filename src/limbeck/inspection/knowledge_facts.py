"""What stored knowledge is and says, as `limbeck inspect` shows it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.artifacts import Identity, is_shard, read_checked
from limbeck.data import ViewSettings
from limbeck.data.synthetic import SETTINGS
from limbeck.familiarity import percent, row_facts
from limbeck.files import DamagedFileError, read_header, read_json
from limbeck.knowledge.sparse_facts import sparse_facts
from limbeck.knowledge.sparse_store import is_sparse
from limbeck.knowledge.store import DESCRIPTION as KNOWLEDGE
from limbeck.knowledge.store import Knowledge
from limbeck.metrics import class_similarity, most_alike, richest_rows, soft_targets
from limbeck.terminal import plain_table

# Soft targets at this temperature show which classes are alike; at 1 the top class hides the others.
ALIKE_TEMPERATURE = 4.0
TEMPERATURES = (1.0, 4.0, 20.0)
MOST_CLASSES, RICHEST = 20, 5

Described = tuple[dict[str, str], dict[str, str]]


def knowledge_facts(path: Path) -> Described:
    """What an artifact of knowledge holds: facts by name, and tables by title.

    Raises:
        DamagedFileError: its description cannot be read.
    """
    finished = path.suffix != ".part"
    description = json.loads(read_checked(path, KNOWLEDGE)) if finished else read_json(path / KNOWLEDGE)
    if not isinstance(description, dict) or "identity" not in description:
        raise DamagedFileError(path / KNOWLEDGE, "it does not describe knowledge")
    if is_sparse(description):
        return sparse_facts(path, description), {}
    shards = sorted(file for file in path.iterdir() if is_shard(file.name))
    facts = {
        "key": Identity.from_json(description["identity"]).key,
        "rows": f"{description['rows']:,}",
        "classes": f"{len(description['classes'])}: {', '.join(description['classes'][:20])}",
        "teacher": description["teacher"],
        "part": description["part"],
        "view": _view(description["view"]),
        "outputs": f"{description['outputs']}, log-probabilities at temperature 1 as {description['dtype']}",
        "shards": str(len(shards)),
        "bytes": f"{sum(file.stat().st_size for file in path.iterdir()):,}",
    }
    if finished:
        values = Knowledge.open(path).log_probs().astype(np.float32)
        pairs = most_alike(values, ALIKE_TEMPERATURE, description["classes"])
        tables = _soft_targets(values, description["classes"])
        facts |= _how_sure(values, description["classes"])
        facts["most alike"] = ", ".join(f"{a} and {b} ({value:.3f})" for a, b, value in pairs)
    else:
        done = sum(header["stop"] - header["start"] for header in map(read_header, shards))
        tables = {}
        facts["recorded"] = f"{done:,} of {description['rows']:,} rows; the same command goes on"
    return facts, tables


def _how_sure(log_probs: npt.NDArray[Any], classes: Sequence[str]) -> dict[str, str]:
    """How sure the teacher is of the rows, and how often it chooses each class."""
    found = row_facts(log_probs, np.full(len(log_probs), -1))
    low, middle, high = (found[name] for name in ("below_half", "below_nine_tenths", "at_least_99"))
    sure = f"{percent(found['confidence'])} on the average, entropy {found['entropy']:.3g} nats"
    shares = f"{low:.1%} of rows below 50%, {middle:.1%} below 90%, {high:.1%} at least 99%"
    named = sorted(zip(found["class_shares"], classes, strict=True), key=lambda one: -one[0])[:MOST_CLASSES]
    return {
        "how sure": f"{sure}; {shares}",
        "its classes": ", ".join(f"{name} {share:.1%}" for share, name in named),
    }


def _soft_targets(log_probs: npt.NDArray[Any], classes: list[str]) -> dict[str, str]:
    """Which classes are alike, which rows have most to say, and what temperature makes of those."""
    found = {}
    if len(classes) <= MOST_CLASSES:
        similarity = np.nan_to_num(class_similarity(log_probs, ALIKE_TEMPERATURE))
        found[f"mean soft targets at T = {ALIKE_TEMPERATURE:g}, in per cent, by the teacher's class"] = plain_table(
            ["", *classes], [[name, *_per_cent(row)] for name, row in zip(classes, similarity, strict=True)]
        )
    rows = richest_rows(log_probs, log_probs.argmax(axis=1), ALIKE_TEMPERATURE, RICHEST)
    said = []
    for row in rows:
        for temperature in TEMPERATURES:
            targets = soft_targets(log_probs[row : row + 1], temperature)[0]
            top = np.argsort(-targets, kind="stable")[:3]
            named = ", ".join(f"{classes[c]} {targets[c]:.0%}" for c in top)
            said.append([f"row {row}" if temperature == TEMPERATURES[0] else "", f"T = {temperature:g}", named])
    return found | {"the richest soft targets": plain_table(["row", "temperature", "most probable"], said)}


def _per_cent(values: npt.NDArray[Any]) -> list[str]:
    return [f"{100 * value:.1f}" for value in values]


def _view(view: dict[str, Any] | None) -> str:
    if view is None:
        return "the inputs themselves"
    made = [view["rows"]] if "rows" in view else []
    numbers = SETTINGS[view["rows"]] if made else tuple(asdict(ViewSettings()))
    settings = [f"{name} {view[name]:g}" for name in numbers if made or view[name]]
    return f"number {view['number']} ({', '.join([*made, *settings])})"
