"""Encoders as folders: what Hugging Face's library reads, with model.json beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck.artifacts import SUMS, read_checked
from limbeck.data.form import TextForm, form_from_json
from limbeck.errors import LimbeckError
from limbeck.files import DamagedFileError, write_bytes
from limbeck.models.encoder import Encoder, positions_of
from limbeck.models.saving import DESCRIPTION, WEIGHTS, describe, read_description

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
FILES = (CONFIG, WEIGHTS, TOKENIZER, TOKENIZER_CONFIG)
"""What `AutoModelForSequenceClassification.from_pretrained` and `AutoTokenizer.from_pretrained` read."""


def save_encoder(
    folder: Path | str, model: Encoder, class_names: Sequence[str], details: Mapping[str, Any] | None = None
) -> None:
    """Write an encoder into a folder that the library transformers reads without limbeck.

    Args:
        folder: made if it is not there.
        model: the encoder.
        class_names: in the order of the logits.
        details: more that model.json should say, such as the artifact's identity.
    """
    folder = Path(folder)
    write_network(folder, model.network, model.tokens)
    describe(folder, model, class_names, **(details or {}))


def write_network(folder: Path, network: Any, tokens: Any) -> None:
    """Write a network's config.json and weights and its tokenizer, each atomically and with the same bytes each time.

    Args:
        folder: made if it is not there.
        network: a transformers model.
        tokens: its `TextTokens`.
    """
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    # Tied weights are one tensor under several names, of which transformers expects the first alone.
    tied = set(getattr(network, "all_tied_weights_keys", None) or ())
    arrays = {
        name: tensor.detach().contiguous().cpu().numpy()
        for name, tensor in network.state_dict().items()
        if name not in tied
    }
    network.config.architectures = [type(network).__name__]
    write_bytes(folder / CONFIG, network.config.to_json_string(use_diff=True).encode())
    write_bytes(folder / WEIGHTS, save(arrays, metadata={"format": "pt"}))
    write_bytes(folder / TOKENIZER, tokens.to_json_text().encode())
    config = json.dumps(tokens.config(), indent=1, ensure_ascii=False)
    write_bytes(folder / TOKENIZER_CONFIG, (config + "\n").encode())


def load_encoder(folder: Path | str) -> tuple[Encoder, tuple[str, ...]]:
    """An encoder that was saved, and the names of its classes; digests are checked where there are any.

    Raises:
        LimbeckError: there is none, it is damaged, or transformers is missing.
    """
    folder = Path(folder)
    description = read_description(folder)
    if (folder / SUMS).exists():
        for name in FILES:
            read_checked(folder, name)
    form, names = form_from_json(description.get("form")), tuple(description["classes"])
    if not isinstance(form, TextForm):
        raise DamagedFileError(folder / DESCRIPTION, "it is of an encoder, and does not say what texts it reads")
    return open_encoder(folder, names, form, description["settings"].get("max_length"))[0], names


def open_encoder(
    folder: Path, classes: Sequence[str] | None = None, form: TextForm | None = None, max_length: int | None = None
) -> tuple[Encoder, tuple[str, ...]]:
    """A sequence classifier in a Hugging Face folder, and the names of its classes.

    Args:
        folder: the model's and its tokenizer's.
        classes: the names that its answers are to have, in this order; None for those that it says itself.
        form: the columns that its texts come from; one named "text" by default.
        max_length: tokens to which texts are cut; by default as many as it takes.

    Raises:
        LimbeckError: there is no such model, tokenizer and model do not fit, it has other classes, or such that do not
            exclude each other.
    """
    from limbeck.encoders.finding import load_classifier, read_config
    from limbeck.encoders.labels import check_problem, class_order, labels_of
    from limbeck.encoders.tokens import TextTokens

    config = read_config(folder, any_type=True)
    check_problem(config, str(folder))
    if classes is not None:
        class_order(config, classes, str(folder))
    network, fresh = load_classifier(folder, classes, None, any_type=True)
    if fresh:
        for_classes = f" for {len(classes)} classes" if classes else ""
        raise LimbeckError(
            f"{folder} has no classifier{for_classes}: it has to be fine-tuned first, as a "
            '[[teacher]] with model = { kind = "encoder", from = … }'
        )
    names = tuple(classes or labels_of(network.config) or map(str, range(network.config.num_labels)))
    tokens = TextTokens.read(folder, max_length, positions_of(network.config))
    tokens.fits(network.config)
    return Encoder(network, tokens, len(names), form or TextForm()).eval(), names
