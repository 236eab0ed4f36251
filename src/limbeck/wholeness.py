"""Whether an artifact is whole, whatever it is."""

from __future__ import annotations

import json
from pathlib import Path

from limbeck.artifacts import damages, read_checked, wrong_key
from limbeck.files import DamagedFileError
from limbeck.knowledge.sparse_store import SparseKnowledge, is_sparse
from limbeck.knowledge.store import DESCRIPTION as KNOWLEDGE
from limbeck.knowledge.store import Knowledge
from limbeck.models.saving import DESCRIPTION as MODEL
from limbeck.regression import REGRESSION


def artifact_damages(path: Path) -> list[DamagedFileError]:
    """Everything that is wrong with what lies in a complete artifact's place, whatever it is; empty if it is whole."""
    found = damages(path)
    if found:
        return found
    try:
        if (path / KNOWLEDGE).exists():
            sparse = is_sparse(json.loads(read_checked(path, KNOWLEDGE)))
            knowledge = SparseKnowledge.open(path) if sparse else Knowledge.open(path)
            return [damage for _, damage in knowledge.damaged_shards()] + wrong_key(path, knowledge.description)
        described = REGRESSION if (path / REGRESSION).exists() else MODEL
        return wrong_key(path, json.loads(read_checked(path, described)))
    except DamagedFileError as damage:
        return [damage]
