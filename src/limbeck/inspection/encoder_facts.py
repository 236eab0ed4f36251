"""What an encoder in a Hugging Face folder is, as its config and the head of its weights say: nothing is loaded."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limbeck.encoders.kinds import check_type
from limbeck.errors import LimbeckError
from limbeck.models.encoder_folder import CONFIG
from limbeck.models.saving import WEIGHTS

_SHOWN = 20  # classes
_LAYER = re.compile(r"(?:^|\.)layer\.(\d+)\.")
_HEADER_BYTES = 100_000_000  # the most that safetensors allows


def is_huggingface(path: Path) -> bool:
    """Whether a folder has a config of Hugging Face's library, whatever else it has."""
    return (path / CONFIG).is_file()


def huggingface_facts(path: Path) -> dict[str, str]:
    """Facts of a folder that is none of limbeck's, by name, in the order in which to show them.

    Raises:
        LimbeckError: its config or weights cannot be read.
    """
    config = _config(path / CONFIG)
    weights = sorted(path.glob("*.safetensors"))
    facts = {"type": _type(config)}
    shapes = {name: shape for file in weights for name, shape in _shapes(file).items()}
    facts |= _sizes(shapes)
    facts |= {"head": _head(shapes)} if shapes else {}
    if any(_is_classifier(name) for name in shapes) and isinstance(names := config.get("id2label"), Mapping):
        listed = list(map(str, names.values()))
        facts["classes"] = f"{len(listed)}: {', '.join(listed[:_SHOWN])}"
    if isinstance(positions := config.get("max_position_embeddings"), int):
        facts["positions"] = f"{positions:,}"
    facts["bytes"] = f"{sum(file.stat().st_size for file in weights):,}" if weights else "no weights (.safetensors)"
    fine_tuned = any(_is_classifier(name) for name in shapes)
    return facts | {"as a teacher": _as_teacher(path, config, bool(weights), fine_tuned)}


def encoder_sizes(path: Path) -> dict[str, str]:
    """Of a saved encoder: layers and width, vocabulary and parameters; empty where its weights are not there yet."""
    return _sizes(_shapes(path / WEIGHTS)) if (path / WEIGHTS).is_file() else {}


def begun_with(model: Any, start: str | None) -> dict[str, str]:
    """What an encoder was before it learnt, as its identity's settings say.

    Args:
        model: the settings of its model.
        start: the key of the encoder that it began with; None where it began with none of the run's.
    """
    if not isinstance(model, Mapping):
        return {}
    facts = {}
    layers, initial = model.get("layers"), model.get("initial")
    if initial == "random":
        facts["begun with"] = "random weights"
    elif isinstance(layers, list):
        of = "" if start is None else f" of {start[:12]}"
        facts["begun with"] = f"layer{'s' if len(layers) > 1 else ''} {', '.join(map(str, layers))}{of}"
    if model.get("vocabulary") == "transfer":
        facts["its vocabulary"] = "cut to the pieces that its transfer set uses"
    return facts


def _config(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise LimbeckError(f"{path} cannot be read ({reason}): get the model again") from None
    if not isinstance(found, Mapping) or not isinstance(found.get("model_type"), str):
        raise LimbeckError(f"{path} names no model_type: it is no Hugging Face model's, get the model again")
    return found


def _type(config: Mapping[str, Any]) -> str:
    built = config.get("architectures")
    named = f" ({', '.join(map(str, built))})" if isinstance(built, list) and built else ""
    return f"{config['model_type']}{named}"


def _sizes(shapes: Mapping[str, list[int]]) -> dict[str, str]:
    facts = {}
    layers = {int(found[1]) for name in shapes if (found := _LAYER.search(name))}
    words = next((shape for name, shape in shapes.items() if name.endswith("word_embeddings.weight")), None)
    if layers:
        facts["layers"] = str(len(layers)) + (f", of width {words[1]:,}" if words else "")
    if words:
        facts["vocabulary"] = f"{words[0]:,} pieces, {math.prod(words):,} parameters"
    facts["parameters"] = f"{sum(map(math.prod, shapes.values())):,}"
    return facts if shapes else {}


def _head(shapes: Mapping[str, list[int]]) -> str:
    if any(_is_classifier(name) for name in shapes):
        return "classifies texts"
    if any(name.startswith(("cls.predictions", "lm_head", "vocab_")) for name in shapes):
        return "fills in masked words"
    return "none: a classifier would begin anew"


def _is_classifier(name: str) -> bool:
    return name.startswith("classifier.")


def _as_teacher(path: Path, config: Mapping[str, Any], has_weights: bool, fine_tuned: bool) -> str:
    if config.get("auto_map"):
        return "no: it wants code of its own to be run, and that is never done"
    if not has_weights:
        return "no: write its weights as .safetensors, by transformers' save_pretrained"
    given = json.dumps(str(path), ensure_ascii=False)
    anew = f'model = {{ kind = "encoder", from = {given} }}'
    as_it_is = f"from = {given}"
    try:
        check_type(config["model_type"], str(path / CONFIG))
    except LimbeckError as error:
        return f"as it is: {as_it_is}; students cannot begin with its layers" if fine_tuned else f"no: {error}"
    return f"as it is: {as_it_is}; fine-tuned anew: {anew}" if fine_tuned else f"yes, to be fine-tuned: {anew}"


def _shapes(file: Path) -> dict[str, list[int]]:
    """The shape of each tensor, from the head of a safetensors file.

    Raises:
        LimbeckError: it is none.
    """
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            head = json.loads(opened.read(min(length, _HEADER_BYTES)))
        return {name: list(map(int, one["shape"])) for name, one in head.items() if name != "__metadata__"}
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError) as error:
        raise LimbeckError(f"{file} is no safetensors file ({type(error).__name__}): get the model again") from None
