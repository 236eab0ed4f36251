"""What an artifact or a run is, and whether it is whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.artifacts import SUMS, Identity, damages, read_checked, wrong_key
from limbeck.encoder_facts import huggingface_facts, is_huggingface
from limbeck.errors import LimbeckError
from limbeck.files import DamagedFileError, read_json
from limbeck.knowledge.sparse_store import SparseKnowledge, is_sparse
from limbeck.knowledge.store import DESCRIPTION as KNOWLEDGE
from limbeck.knowledge.store import Knowledge
from limbeck.knowledge_facts import knowledge_facts
from limbeck.model_facts import model_facts
from limbeck.models.mean import MeanModel
from limbeck.models.opening import mean_members, open_model
from limbeck.models.saving import DESCRIPTION as MODEL
from limbeck.models.saving import read_description
from limbeck.onnx_facts import is_onnx, onnx_facts
from limbeck.regression import REGRESSION, steps_to
from limbeck.rows import kinds_of
from limbeck.run_facts import run_facts
from limbeck.run_folder import RunFolder


@dataclass(frozen=True)
class Inspection:
    """What a folder is: its kind, facts by name in the order in which to show them, and titled tables below them."""

    path: Path
    kind: str
    facts: dict[str, str]
    tables: dict[str, str] = field(default_factory=dict)


def inspect(path: Path | str) -> Inspection:
    """Describe an artifact, finished or not, wherever it lies, a run, an ONNX file, or a Hugging Face folder.

    Raises:
        LimbeckError: if it is none of these, or its description is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise LimbeckError(f"{path} does not exist: give the path of an artifact or of a run")
    if is_onnx(path):
        return Inspection(path, "ONNX model", onnx_facts(path))
    if (path / KNOWLEDGE).is_file():
        unfinished = "unfinished " if path.suffix == ".part" else ""
        return Inspection(path, f"{unfinished}knowledge", *knowledge_facts(path))
    if (path / MODEL).is_file():
        return Inspection(path, *model_facts(path))
    if (path / REGRESSION).is_file():
        return _regression(path)
    if is_huggingface(path):
        return Inspection(path, "Hugging Face folder", huggingface_facts(path))
    if RunFolder(path).is_run():
        return Inspection(path, "run", *run_facts(path))
    if path.suffix == ".part" and path.is_dir():
        kept = ", ".join(sorted(file.name for file in path.iterdir() if not file.name.startswith(".")))
        return Inspection(path, "unfinished artifact", {"key": path.stem, "files": kept or "none"})
    if path.is_file():
        raise LimbeckError(f"{path} is neither an artifact nor a run, and no .onnx file: give the path of one of these")
    raise LimbeckError(
        f"{path} is neither an artifact nor a run: expected {MODEL}, {KNOWLEDGE}, {REGRESSION} or recipe.toml in it"
    )


def verify(path: Path | str) -> list[DamagedFileError]:
    """Everything that is damaged in an artifact, or in a run and the artifacts it names; empty if all is whole.

    Raises:
        LimbeckError: if the path is neither.
    """
    path = Path(path)
    if is_onnx(path):
        onnx_facts(path)  # it has no digests: that it can be read is all that can be said
        return []
    if RunFolder(path).is_run():
        return _run_damages(path)
    if is_huggingface(path) and not any((path / name).exists() for name in (KNOWLEDGE, MODEL, REGRESSION, SUMS)):
        huggingface_facts(path)  # as of an ONNX file
        return []
    if (path / MODEL).is_file() and not (path / SUMS).exists() and "identity" not in read_description(path):
        return _model_damages(path)
    if not any((path / name).exists() for name in (KNOWLEDGE, MODEL, REGRESSION, SUMS)):
        return [_unfinished(path)] if inspect(path) else []
    if path.suffix == ".part":
        return [_unfinished(path)]
    return [damage for one in (path, *_members(path)) for damage in artifact_damages(one)]


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


def _members(path: Path) -> list[Path]:
    """Of a mean, the artifacts that it is of; those that are missing, or given elsewhere, are left out."""
    try:
        if (path / MODEL).exists() and read_description(path)["kind"] == MeanModel.kind:
            return mean_members(path)
    except LimbeckError:
        pass
    return []


def _unfinished(path: Path) -> DamagedFileError:
    return DamagedFileError(path, "it is unfinished")


def _model_damages(path: Path) -> list[DamagedFileError]:
    """Of a model that is saved but no artifact: its weights vouch for themselves."""
    try:
        open_model(path)
    except DamagedFileError as damage:
        return [damage]
    return []


def _run_damages(path: Path) -> list[DamagedFileError]:
    run = RunFolder(path)
    found = run.damages()
    parts = run.run_json().get("parts", {})
    for name, key in parts.items():
        # A run that was set aside has its artifacts with it; a teacher given by path may lie anywhere.
        roots = (path / "artifacts", path.parent / "artifacts")
        places = [root / kind / key for root in roots for kind in kinds_of(name)]
        beside, link = path.parent / "artifacts" / kinds_of(name)[0] / key, path / "models" / name
        there = next((place for place in (*places, link) if place.exists()), None)
        if there is not None:
            found += artifact_damages(there.resolve()) if (there / SUMS).exists() or there != link else []
        elif run.is_sealed() and not beside.with_name(f"{key}.part").is_dir():
            found.append(DamagedFileError(beside, f"it is missing ({name} of {path})"))
    return found


def _regression(path: Path) -> Inspection:
    found = read_json(path / REGRESSION)
    identity = Identity.from_json(found["identity"])
    tried = (f"{trial['learning_rate']:g}: {_loss(trial['loss'])}" for trial in found["trials"])
    facts = {
        "key": identity.key,
        "net": f"linear, depth {identity.settings['depth']}, l{identity.settings['power']} loss",
        "step size": _chosen_step(found),
        "tried": ", ".join(tried),
        "loss": f"{found['losses'][-1]:.5g} before step {len(found['losses'])}, the last" if found["losses"] else "–",
        "least loss": f"{found['least']:.5g}, of any linear function",
    }
    return Inspection(path, "regression", facts)


def _chosen_step(found: Mapping[str, Any]) -> str:
    if not found["losses"]:
        return "none: it diverged with each"
    why = (
        "the soonest close to the least loss"
        if steps_to(found["losses"], found["least"]) is not None
        else ("the lowest loss at the end; none came close to the least")
    )
    return f"{found['learning_rate']:g}, of those tried {why}"


def _loss(loss: float | None) -> str:
    return "diverged" if loss is None else f"{loss:.5g}"
