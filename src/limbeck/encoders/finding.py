"""From what a recipe names as an encoder to a local Hugging Face folder that was looked through, and to its model."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from limbeck.data.sources import found_beside
from limbeck.devices import own_generators
from limbeck.encoders.hub import CONFIG, TOKENIZER_FILES, downloaded, is_hub_name
from limbeck.encoders.kinds import KINDS, check_type
from limbeck.encoders.labels import labels_of, name_classes
from limbeck.encoders.library import need_transformers
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import key_of, sha256_hex
from limbeck.quiet import quiet

FETCHED = ("minilm",)
"""Encoders that `limbeck fetch` gets."""

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_OF_NO_WEIGHT = ("transformers_version", "_name_or_path", "name_or_path")
_LAYER = re.compile(r"(^|\.)layer\.\d+\.")


def found_encoder(
    given: str, beside: Path | None, say: Callable[[str], None] | None = None, any_type: bool = False
) -> Path:
    """The local folder of an encoder.

    Args:
        given: a folder, beside the recipe or in the working folder; else "minilm", which is fetched into the user's
            cache; else a name on the Hugging Face hub, fetched into the hub's cache.
        beside: the recipe's folder.
        say: told, in one line, what is being fetched.
        any_type: as for `read_config`.

    Raises:
        UsageError: there is no such folder, and it cannot be a name.
        LimbeckError: the folder is no model that can be read, or the model could not be fetched.
    """
    path = found_beside(given, beside)
    if given and path.is_dir():
        folder = path
    elif given and path.exists():
        raise UsageError(
            f'encoder "{given}" is a file, expected the folder of a Hugging Face model: give the folder that it is in'
        )
    elif given in FETCHED:
        from limbeck.data.fetching import fetch

        folder = fetch(given, say=say)
    elif is_hub_name(given):
        folder = downloaded(given, check=partial(_check_config, any_type=any_type), say=say)
    else:
        raise UsageError(
            f'encoder "{given}" does not exist, expected a folder, "minilm" or a name on the Hugging Face hub: '
            "check the path"
        )
    _check_config(folder, any_type)
    _weights(folder)
    return folder


def read_config(folder: Path, any_type: bool = False) -> Any:
    """The config of a Hugging Face folder, as transformers has it.

    Args:
        folder: of the model.
        any_type: whether models of other types than BERT, RoBERTa and DistilBERT will do, which are asked as they are.

    Raises:
        LimbeckError: there is none, it cannot be read, it wants code of its own to be run, or it is of another type.
    """
    need_transformers("reading a Hugging Face model")
    _check_config(folder, any_type)
    from transformers import AutoConfig

    try:
        with quiet():
            return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of many kinds: whatever a setting of a wrong type leads to
        raise LimbeckError(f"{folder / CONFIG} cannot be read ({_said(error)}): get the model again") from None


def encoder_digest(folder: Path) -> str:
    """SHA-256 over what decides a model's answers: its config, the bytes of its weights and its tokenizer's files.

    Which version of the library wrote it, and from where, makes no difference, nor do a folder's other files.

    Raises:
        LimbeckError: a file is missing or cannot be read.
    """
    digests: dict[str, str] = {}
    present = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    try:
        for path in (folder / CONFIG, *present):
            value: Any = sha256_hex(path.read_bytes()) if path.suffix == ".model" else path.read_text(encoding="utf-8")
            if path.suffix == ".json":
                value = json.loads(value)
                if isinstance(value, dict):
                    value = {name: one for name, one in value.items() if name not in _OF_NO_WEIGHT}
            digests[path.name] = key_of(value)
        for path in _weights(folder):
            with path.open("rb") as file:
                digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise LimbeckError(f"{path} cannot be read ({_said(error)}): get the model again") from None
    return key_of(digests)


def load_classifier(
    folder: Path, classes: Sequence[str] | None, seed: int | None = None, any_type: bool = False
) -> tuple[Any, bool]:
    """A sequence classifier from a Hugging Face folder: float32, attention by PyTorch's fused kernel, evaluation mode.

    The folder's own head is kept where it tells as many classes apart, and these have no names or the same ones; its
    logits are put into the order of `classes`. Otherwise the last linear map is drawn anew, normal with the config's
    `initializer_range`, and so is whatever the head has that the folder lacks. A teacher that is asked as it is wants
    `limbeck.encoders.labels.class_order` first, which refuses classes that it does not know.

    Args:
        folder: of a checked model.
        classes: the data's, by name; None for the folder's own.
        seed: of the head's first weights; None for torch's global generator.
        any_type: as for `read_config`.

    Returns:
        The model, and whether its head is new.

    Raises:
        LimbeckError: the folder cannot be read, or its weights do not fit its config.
    """
    config = read_config(folder, any_type)
    labels = labels_of(config)
    order = None
    if classes is not None:
        other = config.num_labels != len(classes) or (labels is not None and set(labels) != set(classes))
        if not other and labels is not None:
            order = [labels.index(name) for name in classes]
        name_classes(config, classes)
    else:
        other = False
    network, fresh = _load("AutoModelForSequenceClassification", folder, config, seed)
    if not other and (order is None or order == sorted(order)):
        return network, fresh
    check_type(config.model_type, f"{folder}, whose classes are not the data's in their order")
    last = network.classifier.out_proj if config.model_type == "roberta" else network.classifier
    with torch.no_grad():
        if other and not fresh:
            with seeded(seed):
                last.weight.normal_(std=config.initializer_range)
            last.bias.zero_()
        elif order is not None and not fresh:
            last.weight.copy_(last.weight[order])
            last.bias.copy_(last.bias[order])
    return network, fresh or other


def load_masked(folder: Path, seed: int | None = None) -> tuple[Any, bool]:
    """A masked language model from a Hugging Face folder, and whether its head is new; otherwise as `load_classifier`.

    Raises:
        LimbeckError: the folder cannot be read, or its weights do not fit its config.
    """
    return _load("AutoModelForMaskedLM", folder, read_config(folder), seed)


def load_body(folder: Path) -> tuple[Any, bool]:
    """A model without a head from a Hugging Face folder, and whether its pooler is new, as where there is none.

    Raises:
        LimbeckError: the folder cannot be read, or its weights do not fit its config.
    """
    return _load("AutoModel", folder, read_config(folder), 0)


def saved_tensors(folder: Path, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Those of these tensors that the safetensors of a Hugging Face folder hold, in this order.

    Raises:
        LimbeckError: a file is missing or cannot be read.
    """
    from safetensors import safe_open

    there: dict[str, torch.Tensor] = {}
    for path in _weights(folder):
        if path.name == _INDEX:
            continue
        try:
            with safe_open(path, "pt") as file:
                there.update({name: file.get_tensor(name) for name in set(names).intersection(file.keys())})
        except Exception as error:  # its own SafetensorError, or the system's
            raise LimbeckError(f"{path} cannot be read ({_said(error)}): get the model again") from None
    return {name: there[name] for name in names if name in there}


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Draw from a generator of this seed and leave the global one as it was; with None, draw from the global one."""
    if seed is None:
        yield
        return
    with own_generators():
        torch.manual_seed(seed)
        yield


def _load(auto: str, folder: Path, config: Any, seed: int | None) -> tuple[Any, bool]:
    import transformers

    _weights(folder)
    try:
        with quiet(), seeded(seed):
            network, found = getattr(transformers, auto).from_pretrained(
                folder,
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                attn_implementation="sdpa" if config.model_type in KINDS else None,  # others may have none
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # so that they can be told in one line
                output_loading_info=True,
            )
    except Exception as error:  # a damaged file, a config of impossible numbers: of many kinds
        raise LimbeckError(f"{folder} cannot be read ({_said(error)}): get the model again") from None
    body = f"{network.base_model_prefix}."
    pooler = f"{body}pooler."
    problems = [
        *(
            f"{name} has the shape {tuple(there)}, expected {tuple(expected)}"
            for name, there, expected in sorted(found["mismatched_keys"])
            if name.startswith(body)
        ),
        *(
            f"{name} is missing"
            for name in sorted(found["missing_keys"])
            if name.startswith(body) and not name.startswith(pooler)
        ),
        *(f"{name} is not expected" for name in sorted(found["unexpected_keys"]) if _LAYER.search(name)),
    ]
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise LimbeckError(
            f"{folder}: its weights do not fit its config.json ({problems[0]}{more}): take both from the same model"
        )
    return network.eval(), bool(found["missing_keys"] or found["mismatched_keys"])


def _check_config(folder: Path, any_type: bool = False) -> None:
    path = folder / CONFIG
    if not path.is_file():
        raise LimbeckError(
            f"{folder} is no Hugging Face model: it has no config.json, expected the folder that save_pretrained wrote"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LimbeckError(f"{path} cannot be read ({_said(error)}): get the model again") from None
    if not isinstance(config, dict) or "model_type" not in config:
        raise LimbeckError(f"{path} names no model_type: it is no Hugging Face model's, get the model again")
    if config.get("auto_map"):
        raise LimbeckError(
            f"{path} wants code of the model's own to be run (auto_map): that is never done, take a model that "
            "transformers itself knows"
        )
    if any_type:
        return
    check_type(config["model_type"], str(path))
    positions = config.get("position_embedding_type") or "absolute"
    if positions != "absolute":
        raise LimbeckError(f'{path}: positions of type "{positions}" cannot be read, expected "absolute"')


def _weights(folder: Path) -> list[Path]:
    """The safetensors files of a folder, the index of several with them."""
    whole, index = folder / _WEIGHTS, folder / _INDEX
    if whole.is_file():
        return [whole]
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            shards = [folder / name for name in names]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise LimbeckError(f"{index} cannot be read ({_said(error)}): get the model again") from None
        for shard in shards:
            if shard.parent != folder or not shard.is_file():
                raise LimbeckError(f"{folder} lacks {shard.name}, which {_INDEX} names: get the model again")
        return [index, *shards]
    if list(folder.glob("pytorch_model*.bin")):
        raise LimbeckError(
            f"{folder} has its weights as a pickle (pytorch_model.bin), and only safetensors are read: where you trust "
            "it, open it with transformers and write it again with save_pretrained(folder)"
        )
    raise LimbeckError(f"{folder} has no weights: expected {_WEIGHTS}, as save_pretrained writes it")


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
