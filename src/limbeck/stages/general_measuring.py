"""How long general distillation takes, and how large what it makes is, before it is there."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from limbeck.plan.model_stage import ModelStage, Start
from limbeck.stages.general_making import trained


def general_seconds(stage: ModelStage, steps: int) -> float:
    """About how long the training takes, from so many steps of it; nothing is kept.

    Where the teacher's head is to be trained first, one of random numbers takes its place: that takes as long.
    """
    from limbeck.encoders.finding import load_masked
    from limbeck.encoders.masked_text import tokens_of
    from limbeck.models.encoder_folder import write_network

    training, train = stage.general, stage.train
    assert training is not None
    assert train is not None
    rows, settings = len(stage.rows.train), stage.settings
    some = min(rows, steps * settings.batch_size)
    few = replace(
        stage,
        rows=replace(stage.rows, train=stage.rows.train.take(np.arange(some))),
        train=train.model_copy(update={"epochs": 2, "passes": None}),
    )
    with tempfile.TemporaryDirectory() as temporary:
        teacher = training.folder
        if training.head is not None:
            teacher = Path(temporary)
            network, _ = load_masked(training.folder, 0)
            write_network(teacher, network, tokens_of(training.folder, network.config))
        _, history = trained(few, teacher)
    return history.seconds / 2 * settings.epochs * settings.passes * rows / some


def general_bytes(stage: ModelStage) -> int:
    """The bytes of what it makes."""
    from limbeck.encoders.finding import load_masked
    from limbeck.encoders.layers import student_network

    training, model = stage.general, stage.model
    assert training is not None
    assert model is not None
    network, _ = load_masked(training.folder, 0)
    if not training.of_head:
        network = student_network(network, model["layers"], model["architecture"])
    return 4 * int(sum(parameter.numel() for parameter in network.parameters()))


def unmade_start(stage: ModelStage) -> ModelStage:
    """A stage that begins from an encoder distilled without a task, as if from that one's teacher: of its shape."""
    start, model = stage.start, stage.model
    general = None if start is None or start.stage is None else start.stage.general
    if start is None or start.stage is None or general is None or model is None:
        return stage
    begun = start.stage.model
    assert begun is not None
    layers = [begun["layers"][layer] for layer in model["layers"]]
    made = {**model, "layers": layers}
    if begun["architecture"] == "distilbert":
        made["architecture"] = "distilbert"
    folder_start = Start(start.key, len(layers), folder=general.folder, texts=start.texts)
    return replace(stage, start=folder_start, model=made)
