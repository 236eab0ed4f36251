"""Where an encoder begins: whose layers and pieces of text it takes, checked before anything is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from limbeck.data import Part, TextForm
from limbeck.errors import LimbeckError, UsageError
from limbeck.models.encoder import Encoder, positions_of
from limbeck.models.encoder_folder import CONFIG
from limbeck.plan.model_stage import ModelStage, Start
from limbeck.recipe.settings import Encoder as EncoderSettings

START_VERSION = 2


def folder_start(given: str, beside: Path | None, say: Callable[[str], None] | None = None) -> Start:
    """A start from a Hugging Face model: a folder, a name that is fetched, or one on the hub.

    Raises:
        LimbeckError: there is no such model, or none that can be read.
    """
    from limbeck.encoders.finding import encoder_digest, found_encoder, read_config

    folder = found_encoder(given, beside, say)
    return Start(encoder_digest(folder), int(read_config(folder).num_hidden_layers), folder=folder)


def stage_start(teacher: ModelStage) -> Start | None:
    """A start from a teacher of the run; None if that is no encoder."""
    if isinstance(teacher.given, Encoder):
        return Start(teacher.identity.key, teacher.given.layers, stage=teacher)
    if teacher.path is not None and (teacher.path / CONFIG).is_file():
        from limbeck.encoders.finding import read_config

        return Start(teacher.identity.key, int(read_config(teacher.path).num_hidden_layers), stage=teacher)
    if teacher.start is None or teacher.model is None:
        return None
    return Start(teacher.identity.key, len(teacher.model["layers"]), stage=teacher)


def resolved(settings: EncoderSettings, start: Start, where: str, *, smaller: bool) -> dict[str, Any]:
    """A stage's model: the settings with layers by number, and without where they come from, which is the start's.

    Args:
        settings: of the recipe.
        start: what it begins with.
        where: they stand in the recipe, for messages.
        smaller: whether it is a student of what it begins with: by default it takes every other layer then (Sanh et al.
            2019, sec. 3), else all.

    Raises:
        UsageError: layers that there are not.
    """
    from limbeck.encoders.layers import chosen_layers

    by_default = list(range(0, start.layers, 2 if smaller else 1))
    asked = by_default if settings.layers is None else settings.layers
    try:
        layers = list(chosen_layers(asked, start.layers)) if isinstance(asked, int) else asked
    except LimbeckError as error:
        raise UsageError(f"{where}.layers: {error}") from None
    for layer in layers:
        if layer >= start.layers:
            raise UsageError(
                f"{where}.layers: found layer {layer}, expected numbers from 0 to {start.layers - 1}: the model has "
                f"{start.layers} layers"
            )
    return {**settings.model_dump(exclude={"from_"}), "layers": layers}


def with_texts(start: Start, settings: EncoderSettings, texts: Part) -> Start:
    """The start of an encoder that keeps the pieces of these texts, where its settings say so."""
    return replace(start, texts=texts) if settings.vocabulary == "transfer" else start


def check_texts(part: Part, where: str) -> None:
    """Refuse an encoder for rows that are no texts.

    Raises:
        UsageError: they are none.
    """
    if not isinstance(part.form, TextForm):
        raise UsageError(
            f"{where}: an encoder reads texts, and the data are none: name their column with data.text, or take a "
            'model of another kind, such as "mlp"'
        )


def check_no_texts(part: Part, kind: str, where: str) -> None:
    """Refuse a model that reads numbers for rows that are texts.

    Raises:
        UsageError: they are.
    """
    if isinstance(part.form, TextForm):
        raise UsageError(
            f'{where}: found kind "{kind}", which takes numbers, and the data are texts: expected "encoder"'
        )


def check_start(stage: ModelStage) -> None:
    """Refuse an encoder that cannot be cut as is asked for, or whose tokenizer is of another model.

    Raises:
        UsageError: its kind cannot be cut, or not so; it has no room for so many tokens.
        LimbeckError: tokenizer and model do not belong together.
    """
    start, model = stage.start, stage.model
    assert start is not None
    assert model is not None
    from limbeck.encoders.kinds import check_type

    try:
        check_type(model_type(start), f"{stage.role}.{stage.name}.model")
    except LimbeckError as error:
        raise UsageError(str(error)) from None
    length, positions = model["max_length"], positions_of(_config(start))
    if length is not None and positions is not None and length > positions:
        raise UsageError(
            f"{stage.role}.{stage.name}.model.max_length: found {length}, expected at most the {positions} positions "
            "that the model has"
        )
    if start.folder is not None:
        try:
            _check_folder(start.folder, start.key)
        except LimbeckError as error:
            raise type(error)(f"{stage.role}.{stage.name}.model: {error}") from None
    if model["architecture"] == "distilbert" and (kind := model_type(start)) not in ("bert", "distilbert"):
        raise UsageError(
            f'{stage.role}.{stage.name}.model.architecture: found "distilbert", which a model of type "{kind}" cannot '
            'become, expected "same"'
        )


@lru_cache(maxsize=32)
def _check_folder(folder: Path, key: str) -> None:
    """Read a folder's tokenizer beside its config, once for each content, which `key` stands for."""
    from limbeck.encoders.finding import read_config
    from limbeck.encoders.tokens import TextTokens

    config = read_config(folder)
    TextTokens.read(folder, None, positions_of(config)).fits(config)


def model_type(start: Start) -> str:
    """What Hugging Face calls the sort of model that a start is: "bert", say."""
    if start.stage is not None and start.stage.start is not None:
        assert start.stage.model is not None
        became = start.stage.model["architecture"]
        return "distilbert" if became == "distilbert" else model_type(start.stage.start)
    return str(_config(start).model_type)


def _config(start: Start) -> Any:
    """The config of the model that a start, or the teacher that it is, comes from."""
    from limbeck.encoders.finding import read_config

    if start.folder is not None:
        return read_config(start.folder)
    assert start.stage is not None
    teacher = start.stage
    if isinstance(teacher.given, Encoder):
        return teacher.given.network.config
    if teacher.start is not None:
        return _config(teacher.start)
    assert teacher.path is not None
    return read_config(teacher.path)


def new_encoder(stage: ModelStage, opened: Callable[[ModelStage], Any]) -> Encoder:
    """The stage's encoder before training.

    Args:
        stage: with a start.
        opened: gives the model of another stage, made if it is not there; of one that was distilled without a task
            its folder, whose classifier is new.

    Raises:
        LimbeckError: the start cannot be read, or cannot be cut as is asked for.
    """
    from limbeck.encoders.finding import load_classifier
    from limbeck.encoders.layers import name_classes, student_network
    from limbeck.encoders.tokens import TextTokens
    from limbeck.encoders.vocabulary import trim_embeddings, trimmed

    start, model, train = stage.start, stage.model, stage.rows.train
    assert start is not None
    assert model is not None
    assert isinstance(train.form, TextForm)
    begun = start.folder if start.stage is None else opened(start.stage)
    if isinstance(begun, Encoder):
        network, tokens = begun.network, begun.tokens
    else:
        assert isinstance(begun, Path)
        network, _ = load_classifier(begun, train.classes, stage.seed)
        tokens = TextTokens.read(begun, None, positions_of(network.config))
        tokens.fits(network.config)
    network = student_network(
        network, model["layers"], model["architecture"], model["initial"], stage.seed, model["dropout"]
    )
    if model["max_length"] is not None:
        tokens = tokens.like(max_length=model["max_length"])
    if start.texts is not None:
        found_pieces = trimmed(tokens, start.texts.inputs, pairs=len(train.form.columns) > 1)
        trim_embeddings(network, found_pieces.kept)
        tokens = tokens.with_vocabulary(found_pieces.tokenizer_json)
    name_classes(network.config, train.classes)
    if model["architecture"] == "distilbert":
        tokens = tokens.like(with_types=False)
    return Encoder(network.to(torch.float32), tokens, len(train.classes), train.form)
