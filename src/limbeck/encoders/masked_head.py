"""A masked-LM head for an encoder that has none, so that it can be a teacher of masked tokens."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limbeck.data import Part
from limbeck.devices import CPU, resolve_device
from limbeck.encoders.finding import load_masked
from limbeck.encoders.kinds import without_head
from limbeck.encoders.masked import MaskedEncoder
from limbeck.encoders.masked_batches import MaskedBatches, MaskedLabels
from limbeck.encoders.masked_text import TextSettings, masked_batches, tokens_of
from limbeck.encoders.pooling import pooler_of
from limbeck.encoders.tokens import TextTokens
from limbeck.errors import UsageError
from limbeck.objectives import Objective
from limbeck.progress import Progress
from limbeck.train_settings import TrainSettings
from limbeck.training import History, train


def head_parameters(network: Any) -> list[nn.Parameter]:
    """The parameters of a masked language model that its encoder does not have: not the embeddings it is tied to."""
    own = {id(parameter) for parameter in without_head(network).parameters()}
    return [parameter for parameter in network.parameters() if id(parameter) not in own]


def train_masked_head(
    folder: Path,
    texts: Part,
    settings: TextSettings,
    train_settings: TrainSettings,
    seed: int,
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[MaskedEncoder, History]:
    """Give a frozen encoder a head: a linear map, normalisation and a bias; its matrix is that of the embeddings.

    Where the config ties the two, that is, as nearly all do: else the head has a matrix of its own. Only the head's
    numbers are learnt, with the masked tokens as labels; the encoder, its embeddings among it, stays as it is and has
    no dropout. The bias begins as the logarithm of how often each token occurs, which is the best that a
    head can do without looking.

    Args:
        folder: the encoder's.
        texts: to learn from.
        settings: how they are cut and masked.
        train_settings: of the head.
        seed: of its first weights, the order and the masks.
        checkpoint: a folder for checkpoints.
        progress: told by step.

    Returns:
        The encoder with its head, and what happened in the training.

    Raises:
        UsageError: it has a head.
        LimbeckError: it cannot be read, or the texts hold nothing to predict.
    """
    network, fresh = load_masked(folder, seed)
    if not fresh:
        raise UsageError(f"{folder} has a masked-LM head already: use it as it is")
    tokens = tokens_of(folder, network.config, settings.max_length)
    batches = masked_batches(texts, tokens, settings, train_settings.batch_size, seed, train_settings.passes)
    _begin_with_frequencies(network, batches.token_rows.counts(network.config.vocab_size), tokens.special_ids)
    history = fit_head(
        network, tokens, batches, train_settings, seed, checkpoint=checkpoint, progress=progress, title="masked-LM head"
    )
    encoder = MaskedEncoder(network, tokens)
    encoder.pooler = pooler_of(folder)
    return encoder.eval(), history


def fit_head(
    network: Any,
    tokens: TextTokens,
    batches: MaskedBatches,
    settings: TrainSettings,
    seed: int,
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    title: str = "masked-LM head",
) -> History:
    """Train a head in place, and nothing below it; arguments as `train` and `train_masked_head` have them."""
    frozen = _OnFrozenEncoder(network, tokens).to(resolve_device(MaskedEncoder.kind))
    learnt = [id(parameter) for parameter in head_parameters(network)]
    before = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    for parameter, _ in before:
        parameter.requires_grad_(id(parameter) in learnt)
    try:
        return train(
            frozen,
            batches,
            MaskedLabels(batches),
            Objective(loss="hard_labels"),
            settings,
            seed=seed,
            checkpoint=checkpoint,
            progress=progress,
            title=title,
        )
    finally:
        frozen.to(CPU)
        for parameter, learns in before:
            parameter.requires_grad_(learns)


class _OnFrozenEncoder(MaskedEncoder):
    """Its encoder has no dropout and no gradients even where the head is trained."""

    def train(self, mode: bool = True) -> _OnFrozenEncoder:
        super().train(mode)
        without_head(self.network).eval()
        return self

    def hidden(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return super().hidden(inputs)


def _begin_with_frequencies(network: Any, counts: npt.NDArray[np.int64], special_ids: Iterable[int]) -> None:
    """Marks are never to be predicted: as rare as what was never met."""
    bias = network.get_output_embeddings().bias
    met = counts.copy()
    met[[number for number in special_ids if number < len(met)]] = 0
    frequencies = (met + 1) / (met + 1).sum()
    with torch.no_grad():
        bias.copy_(torch.from_numpy(np.log(frequencies)))
