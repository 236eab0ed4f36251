"""What an artifact or a run is, and whether it is whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.artifacts import SUMS, Identity, damages, is_shard, read_checked, wrong_key
from limbeck.bias import BIAS
from limbeck.data import ViewSettings
from limbeck.errors import LimbeckError
from limbeck.files import DamagedFileError, read_header, read_json
from limbeck.knowledge.store import DESCRIPTION as KNOWLEDGE
from limbeck.knowledge.store import Knowledge
from limbeck.metrics import class_similarity, most_alike, richest_rows, soft_targets
from limbeck.models.mean import MeanModel
from limbeck.models.opening import mean_members, open_model, saved_files
from limbeck.models.saving import DESCRIPTION as MODEL
from limbeck.models.saving import read_description
from limbeck.onnx_facts import is_onnx, onnx_facts
from limbeck.regression import REGRESSION, steps_to
from limbeck.rows import kinds_of
from limbeck.run_folder import RECIPE, SEED, RunFolder
from limbeck.teachers.out_of_fold import OWN_ROWS, OwnRows
from limbeck.terminal import plain_table
from limbeck.tree_forms import FORM

# Soft targets at this temperature show which classes are alike; at 1 the top class hides the others.
ALIKE_TEMPERATURE = 4.0
TEMPERATURES = (1.0, 4.0, 20.0)
MOST_CLASSES, RICHEST = 20, 5


@dataclass(frozen=True)
class Inspection:
    """What a folder is: its kind, facts by name in the order in which to show them, and titled tables below them."""

    path: Path
    kind: str
    facts: dict[str, str]
    tables: dict[str, str] = field(default_factory=dict)


def inspect(path: Path | str) -> Inspection:
    """Describe an artifact, finished or not, wherever it lies, a run, or an ONNX file.

    Raises:
        LimbeckError: if it is none of these, or its description is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise LimbeckError(f"{path} does not exist: give the path of an artifact or of a run")
    if is_onnx(path):
        return Inspection(path, "ONNX model", onnx_facts(path))
    if (path / KNOWLEDGE).is_file():
        return _knowledge(path)
    if (path / MODEL).is_file():
        return _model(path)
    if (path / REGRESSION).is_file():
        return _regression(path)
    if RunFolder(path).is_run():
        return _run(path)
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
            knowledge = Knowledge.open(path)
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


def _knowledge(path: Path) -> Inspection:
    finished = path.suffix != ".part"
    description = json.loads(read_checked(path, KNOWLEDGE)) if finished else read_json(path / KNOWLEDGE)
    if not isinstance(description, dict) or "identity" not in description:
        raise DamagedFileError(path / KNOWLEDGE, "it does not describe knowledge")
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
        facts["most alike"] = ", ".join(f"{a} and {b} ({value:.3f})" for a, b, value in pairs)
    else:
        done = sum(header["stop"] - header["start"] for header in map(read_header, shards))
        tables = {}
        facts["recorded"] = f"{done:,} of {description['rows']:,} rows; the same command goes on"
    return Inspection(path, "knowledge" if finished else "unfinished knowledge", facts, tables)


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
    numbers = ("swap", "spread", "noise") if made else tuple(asdict(ViewSettings()))
    settings = [f"{name} {view[name]:g}" for name in numbers if view.get(name)]
    return f"number {view['number']} ({', '.join([*made, *settings])})"


def _model(path: Path) -> Inspection:
    description = read_description(path)
    settings = ", ".join(f"{name} {value}" for name, value in description["settings"].items() if name != "members")
    members = description["settings"].get("members") or []
    facts = {
        "model": f"{description['kind']} ({settings or f'of {len(members)} models'})"
        if settings or members
        else description["kind"],
        "input shape": str(tuple(description["input_shape"])),
        "classes": f"{len(description['classes'])}: {', '.join(description['classes'][:20])}",
        "bytes": _size(path),
    }
    if members:
        facts["members"] = ", ".join(str(key)[:12] for key in members)
    if (path / OWN_ROWS).exists():
        rows = OwnRows.load(path / OWN_ROWS).log_probs
        facts["out of fold"] = f"{len(rows):,} rows, each answered by what has not been fitted to it"
    kind = "model"
    if "identity" in description:
        identity = Identity.from_json(description["identity"])
        kind = identity.kind
        facts = {"key": identity.key, **facts}
        if identity.seed is not None:
            facts["seed"] = str(identity.seed)
        if identity.settings.get("objective"):
            facts["objective"] = ", ".join(f"{name} {value}" for name, value in identity.settings["objective"].items())
        if identity.settings.get("train"):
            facts["training"] = ", ".join(f"{name} {value}" for name, value in identity.settings["train"].items())
        for name in ("folds", "select", "fresh_views", "targets", "snapshot_every"):
            if (value := identity.settings.get(name)) is not None:
                facts[name.replace("_", " ")] = _in_words(value)
        if "bias" in identity.settings:
            facts |= _raised(path, identity, description["classes"])
        if "predict" in identity.settings:
            facts |= _formed(path, identity)
        if identity.inputs.get("knowledge"):
            facts["knowledge"] = ", ".join(key[:12] for key in identity.inputs["knowledge"])
    history = path / "history.json"
    if history.exists():
        kept = read_json(history)
        row = kept["epochs"][kept["kept_epoch"] - 1]
        facts["kept epoch"] = f"{kept['kept_epoch']} of {len(kept['epochs'])}"
        if row["validation_accuracy"] is not None:
            facts["validation accuracy"] = f"{row['validation_accuracy']:.2%}"
    return Inspection(path, kind, facts)


def _size(path: Path) -> str:
    try:
        found = saved_files(path)
    except DamagedFileError:
        raise
    except LimbeckError:
        return "those of its members, which are not all beside it"
    return f"{sum(file.stat().st_size for file in found):,}" if found else "no weights yet"


def _raised(path: Path, identity: Identity, classes: list[str]) -> dict[str, str]:
    """Which biases were raised, by how much, and on which rows that was chosen."""
    missing = ", ".join(classes[number] for number in identity.settings["missing"])
    of = {"of student": identity.inputs["student"]}
    if not (path / BIAS).exists():
        return of
    found = json.loads(read_checked(path, BIAS))
    on = f"{found['rows']:,} {identity.settings['bias']} rows"
    return {**of, "biases raised": f"of {missing} by {found['bias']:.3g}, with {found['errors']:,} errors in {on}"}


def _formed(path: Path, identity: Identity) -> dict[str, str]:
    """Of a tree that answers in another way than it was trained to, or was pruned: what became of it."""
    facts = {"of student": identity.inputs["student"], "answers by": identity.settings["predict"]}
    if (path / FORM).exists():
        found = json.loads(read_checked(path, FORM))
        facts["leaves"] = str(found["leaves"])
        if found["validation_changed"] is not None:
            facts["validation rows of another class"] = f"{found['validation_changed']:,}"
    return facts


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(one)}" for name, one in value.items() if one not in (None, 0, []))
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


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


def _run(path: Path) -> Inspection:
    run = RunFolder(path).run_json()
    facts = (
        {"seed": (path / RECIPE).read_text(errors="replace").partition("\n")[0].removeprefix(SEED)} if not run else {}
    )
    if run:
        facts = {"recipe": run["recipe"], "seed": str(run["seed"]), "command": run["command"]}
        facts["versions"] = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        facts |= {name: key for name, key in run["parts"].items() if not name.startswith("knowledge/")}
        recorded = {key for name, key in run["parts"].items() if name.startswith("knowledge/")}
        facts["knowledge"] = f"{len(recorded)} artifacts"
    finished = RunFolder(path).is_finished()
    facts["state"] = "complete" if finished else "unfinished: the same command goes on"
    return Inspection(path, "run", facts)
