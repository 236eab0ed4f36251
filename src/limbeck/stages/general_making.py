"""General distillation as a stage: an encoder trained on plain text and measured on other texts, into a folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from limbeck.artifacts import TIMES
from limbeck.devices import on_device
from limbeck.files import write_json
from limbeck.general_lines import SCORES
from limbeck.models.saving import DESCRIPTION, FORMAT, MASKED
from limbeck.plan.general_stage import GeneralTraining
from limbeck.plan.model_stage import ModelStage
from limbeck.progress import Progress
from limbeck.stages.shelf import HISTORY
from limbeck.training import History


def make_general(stage: ModelStage, teacher: Path, part: Path, progress: Progress) -> None:
    """Train the stage's encoder, or its head, measure it on the texts held out, and write all into a folder.

    Args:
        stage: one of general distillation.
        teacher: the folder of the encoder that it learns from, with a head where that is needed.
        part: the folder, which may hold a checkpoint from which to go on.
        progress: told by step.
    """
    from limbeck.encoders.general import save_masked

    encoder, history = trained(stage, teacher, progress, checkpoint=part)
    write_json(part / HISTORY, history.as_json())
    write_json(part / TIMES, {"seconds": round(history.seconds, 3)})
    if (scores := _scores(stage, encoder, teacher)) is not None:
        write_json(part / SCORES, scores)
    save_masked(part, encoder)
    description = {
        "format": FORMAT,
        "kind": MASKED,
        "settings": {"model_type": encoder.network.config.model_type},
        "input_shape": [],
        "classes": [],
        "parameters": encoder.parameter_count,
        "identity": stage.identity.as_json(),
    }
    write_json(part / DESCRIPTION, description)


def trained(
    stage: ModelStage, teacher: Path, progress: Progress | None = None, *, checkpoint: Path | None = None
) -> tuple[Any, History]:
    """The stage's encoder, trained, and what happened; arguments as `make_general` has them."""
    from limbeck.encoders.general import GeneralSettings, distilled_encoder
    from limbeck.encoders.masked_head import train_masked_head
    from limbeck.encoders.masked_text import TextSettings
    from limbeck.encoders.masking import MaskSettings

    training, model = _training(stage), stage.model
    assert model is not None
    part = training.part
    text = TextSettings(training.max_length, part.packed, MaskSettings(**part.mask.model_dump()))
    texts = stage.rows.train
    if training.of_head:
        return train_masked_head(
            teacher, texts, text, stage.settings, stage.seed, checkpoint=checkpoint, progress=progress
        )
    settings = GeneralSettings(
        stage.objective, text, part.everywhere, model["architecture"], model["initial"], model["dropout"]
    )
    return distilled_encoder(
        teacher,
        model["layers"],
        texts,
        settings,
        stage.settings,
        stage.seed,
        checkpoint=checkpoint,
        progress=progress,
        title=stage.title,
    )


def _scores(stage: ModelStage, encoder: Any, teacher: Path) -> dict[str, Any] | None:
    """How well it predicts masked tokens of texts that it was not trained on; None where there are none."""
    from limbeck.encoders.general import load_masked_encoder
    from limbeck.encoders.masked_scores import masked_scores

    training = _training(stage)
    if not len(training.held_out):
        return None
    other = None if training.of_head else load_masked_encoder(teacher)
    if other is not None:
        other = on_device(other)
    scores = masked_scores(on_device(encoder), training.held_out, other, max_length=training.max_length)
    return {"texts": len(training.held_out), **asdict(scores)}


def open_general(folder: Path) -> nn.Module:
    """The encoder in such a folder, as it predicts masked tokens."""
    from limbeck.encoders.general import load_masked_encoder

    return load_masked_encoder(folder)


def _training(stage: ModelStage) -> GeneralTraining:
    assert stage.general is not None
    return stage.general
