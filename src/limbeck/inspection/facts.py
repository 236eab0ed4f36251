"""What an artifact or a run is, and whether it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.artifacts import Identity
from limbeck.errors import LimbeckError
from limbeck.files import read_json
from limbeck.inspection.encoder_facts import huggingface_facts, is_huggingface
from limbeck.inspection.knowledge_facts import knowledge_facts
from limbeck.inspection.model_facts import model_facts
from limbeck.inspection.onnx_facts import is_onnx, onnx_facts
from limbeck.inspection.run_facts import run_facts
from limbeck.knowledge.store import DESCRIPTION as KNOWLEDGE
from limbeck.models.saving import DESCRIPTION as MODEL
from limbeck.regression import REGRESSION, steps_to
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
