"""What is damaged in an artifact, or in a run and the artifacts that it names."""

from __future__ import annotations

from pathlib import Path

from limbeck.artifacts import SUMS
from limbeck.errors import LimbeckError
from limbeck.files import DamagedFileError
from limbeck.inspection.encoder_facts import huggingface_facts, is_huggingface
from limbeck.inspection.facts import inspect
from limbeck.inspection.onnx_facts import is_onnx, onnx_facts
from limbeck.knowledge.store import DESCRIPTION as KNOWLEDGE
from limbeck.models.mean import MeanModel
from limbeck.models.opening import mean_members, open_model
from limbeck.models.saving import DESCRIPTION as MODEL
from limbeck.models.saving import read_description
from limbeck.regression import REGRESSION
from limbeck.rows import kinds_of
from limbeck.run_folder import RunFolder
from limbeck.wholeness import artifact_damages


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
