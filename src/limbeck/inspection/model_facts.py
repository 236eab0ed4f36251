"""What a saved model is, as `limbeck inspect` shows it: of a mean, its members, too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limbeck.artifacts import SUMS, Identity, read_checked
from limbeck.bias import BIAS
from limbeck.errors import LimbeckError
from limbeck.evaluation import parameter_count
from limbeck.files import DamagedFileError, read_json
from limbeck.general_lines import score_facts
from limbeck.inspection.encoder_facts import begun_with, encoder_sizes
from limbeck.models.encoder import Encoder
from limbeck.models.mean import MeanModel
from limbeck.models.opening import open_model, saved_files
from limbeck.models.saving import MASKED, WEIGHTS, read_description
from limbeck.stages.teacher_making import FITTED
from limbeck.teachers.out_of_fold import OWN_ROWS, OwnRows
from limbeck.terminal import plain_table
from limbeck.tree_forms import FORM

_ENCODERS = (Encoder.kind, MASKED)


def model_facts(path: Path) -> tuple[str, dict[str, str], dict[str, str]]:
    """What a saved model is: its kind of artifact ("model" if it is none), facts by name, and tables by title.

    Raises:
        LimbeckError: its description cannot be read.
    """
    description = read_description(path)
    of_mean = description["kind"] == MeanModel.kind
    left_out = ("members", "weights", "mean") if of_mean else ("members",)
    settings = ", ".join(f"{name} {value}" for name, value in description["settings"].items() if name not in left_out)
    members = description["settings"].get("members") or []
    facts = {
        "model": f"{description['kind']} ({settings or f'of {len(members)} models'})"
        if settings or members
        else description["kind"],
        **_taken(description),
        **_classes(description),
        "bytes": _size(path),
        **(encoder_sizes(path) if description["kind"] in _ENCODERS else {}),
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
        if description["kind"] in _ENCODERS:
            facts |= begun_with(identity.settings.get("model"), identity.inputs.get("start"))
        if identity.settings.get("objective"):
            facts["objective"] = ", ".join(f"{name} {value}" for name, value in identity.settings["objective"].items())
        if identity.settings.get("train"):
            facts["training"] = ", ".join(f"{name} {value}" for name, value in identity.settings["train"].items())
        if identity.inputs.get("folds"):
            facts["folds"] = ", ".join(key[:12] for key in identity.inputs["folds"])
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
    if description["kind"] == MASKED and (path / SUMS).exists():
        facts |= score_facts(path)
    tables = {}
    if of_mean and members:
        facts |= _combination(path, description)
        tables["its members"] = _members_table(path, description)
    return kind, facts, tables


def _taken(description: Mapping[str, Any]) -> dict[str, str]:
    """What one input is: a shape, or texts, which have none."""
    if description["kind"] not in _ENCODERS:
        return {"input shape": str(tuple(description["input_shape"]))}
    columns = (description.get("form") or {}).get("text") or ["text"]
    return {"inputs": f"texts ({' and '.join(map(str, columns))})"}


def _classes(description: Mapping[str, Any]) -> dict[str, str]:
    """Its classes, as far as there are any."""
    names = description["classes"]
    return {"classes": f"{len(names)}: {', '.join(names[:20])}"} if names else {}


def _combination(path: Path, description: Mapping[str, Any]) -> dict[str, str]:
    """Of what a mean is, and where its weights are from."""
    settings = description["settings"]
    identity = description.get("identity") or {}
    weights = "equal"
    if isinstance(settings.get("weights"), list):
        weights = "given"
    if (identity.get("settings") or {}).get("fitted"):
        weights = "fitted on the validation rows"
    if (path / FITTED).exists():
        found = read_json(path / FITTED)
        weights = (
            f"fitted on {found['rows']:,} validation rows: {found['errors']:,} errors there, "
            f"{found['errors_equal']:,} with equal ones"
        )
    return {"mean of": settings.get("mean", "probabilities"), "weights": weights}


def _members_table(path: Path, description: Mapping[str, Any]) -> str:
    keys, beside = description["settings"]["members"], path.resolve().parent
    weights = description["settings"].get("weights")
    if not isinstance(weights, list) or len(weights) != len(keys):
        weights = [1 / len(keys)] * len(keys)
    lines = [
        [str(key)[:12], *_member(beside / Path(str(key)).name), f"{weight:.3f}"]
        for key, weight in zip(keys, weights, strict=True)
    ]
    return plain_table(["member", "model", "seed", "parameters", "weight"], lines)


def _member(folder: Path) -> list[str]:
    """A member's kind, seed, and parameters (of a net; of what else there is, bytes)."""
    try:
        description = read_description(folder)
        seed = (description.get("identity") or {}).get("seed")
        if (folder / WEIGHTS).exists():
            size = f"{parameter_count(open_model(folder)[0]):,}"
        else:
            size = f"{sum(file.stat().st_size for file in saved_files(folder)):,} bytes"
    except LimbeckError:
        return ["not beside it", "–", "–"]
    return [str(description["kind"]), "–" if seed is None else str(seed), size]


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
