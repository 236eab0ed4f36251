"""Models from the Hugging Face hub, kept in its own cache; without a network, those that are there already."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from limbeck.encoders.library import need_transformers
from limbeck.errors import LimbeckError
from limbeck.quiet import quiet

CONFIG = "config.json"
TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")
_NAME = re.compile(r"(\w[\w.-]*/)?\w[\w.-]{0,95}", re.ASCII)
_BY_FOLDER = "get it where there is one, and give its folder as a path"


def is_hub_name(given: str) -> bool:
    """Whether this can be the name of a model on the hub: "name" or "organisation/name"."""
    return _NAME.fullmatch(given) is not None


def downloaded(name: str, check: Callable[[Path], None], say: Callable[[str], None] | None = None) -> Path:
    """The folder of a model on the hub, in the hub's cache ($HF_HOME): config, safetensors weights, tokenizer.

    Args:
        name: "name" or "organisation/name".
        check: told the folder when config.json is there alone, before the weights are fetched; raises what is wrong.
        say: told, in one line, that the model is being looked for.

    Raises:
        LimbeckError: there is no such model, it may not be read, or there is no network and it is not in the cache.
    """
    need_transformers("a model from the Hugging Face hub")
    if say is not None:
        say(f"looking for {name} on the Hugging Face hub")
    check(_snapshot(name, (CONFIG,)))
    return _snapshot(name, (CONFIG, *_WEIGHTS, *TOKENIZER_FILES))


def _snapshot(name: str, patterns: tuple[str, ...]) -> Path:
    import huggingface_hub
    from huggingface_hub import errors

    model = f'encoder "{name}" is no folder here, and'
    try:
        with quiet():
            return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(patterns)))
    except errors.GatedRepoError:
        problem = "on the hub it is for those who were let in: ask for that on its page and log in (`hf auth login`)"
        raise LimbeckError(f"{model} {problem}, or give a local folder") from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError):
        raise LimbeckError(f"{model} the hub has no such model: check the name or the path") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        if huggingface_hub.constants.HF_HUB_OFFLINE:
            problem = "HF_HUB_OFFLINE keeps it from being fetched from the hub: unset that"
            raise LimbeckError(f"{model} {problem}, or {_BY_FOLDER}") from None
        raise LimbeckError(f"{model} without a network it cannot be fetched from the hub: {_BY_FOLDER}") from None
    except (OSError, ValueError, RuntimeError) as error:  # the client's own, its transport's, a full disk
        said = " ".join(str(error).split())[:160] or type(error).__name__
        raise LimbeckError(f"{model} it cannot be fetched from the hub ({said}): try again, or {_BY_FOLDER}") from None
