"""What sparse knowledge is and says, as `limbeck inspect` shows it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.artifacts import Identity, is_shard
from limbeck.files import read_header
from limbeck.knowledge.sparse_store import SparseKnowledge
from limbeck.knowledge.sparse_targets import TEMPERATURES, SparseTargets

_SAMPLE = 1000  # records, spread over all: how much is left outside is much the same everywhere


def sparse_facts(path: Path, description: Mapping[str, Any]) -> dict[str, str]:
    """Facts by name about an artifact of sparse knowledge, finished or not.

    Args:
        path: its folder.
        description: what its knowledge.json says.
    """
    shards = sorted(file for file in path.iterdir() if is_shard(file.name))
    size = sum(file.stat().st_size for file in path.iterdir())
    view, outputs = description["view"], description["outputs"]
    facts = {
        "key": Identity.from_json(description["identity"]).key,
        "rows": f"{description['rows']:,}, with {outputs:,} outputs",
        "classes": f"{description['classes']:,}",
        "teacher": description["teacher"],
        "part": description["part"],
        "view": "the inputs themselves" if view is None else ", ".join(f"{name} {view[name]}" for name in sorted(view)),
        "outputs": f"sparse: the {description['k']} most probable classes in {description['bits']} bits, tails at "
        f"temperatures {', '.join(f'{one:g}' for one in description['temperatures'])}",
        "shards": str(len(shards)),
        "bytes": f"{size:,}",
    }
    if path.suffix == ".part":
        done = sum(header["stop"] - header["start"] for header in map(read_header, shards))
        facts["recorded"] = f"{done:,} of {description['rows']:,} rows; the same work, done again, goes on"
        return facts
    if outputs:
        knowledge = SparseKnowledge.open(path)
        places = np.unique(np.linspace(0, knowledge.records - 1, _SAMPLE).round().astype(np.int64))
        facts["bytes"] = f"{size:,}, {size / outputs:.1f} an output"
        facts["outside"] = _outside(knowledge.batch(places))
    return facts


def _outside(targets: SparseTargets) -> str:
    """How much of the probability the classes that are not kept have, at each temperature."""
    said = []
    for temperature in TEMPERATURES:
        tail, kept = targets.tail(temperature), (targets.values / temperature).logsumexp(dim=1)
        said.append(f"{(tail - kept).sigmoid().mean():.1%} at T = {temperature:g}")
    return f"the classes that are kept: {', '.join(said)}"
