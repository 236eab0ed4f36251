"""A transformer encoder that classifies texts: a Hugging Face model behind a tokenizer, from raw bytes to logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from limbeck.data.form import TextForm
from limbeck.devices import device_of
from limbeck.encoders.attention import fast_way_back
from limbeck.encoders.states import StateCapture
from limbeck.models.outputs import Outputs

if TYPE_CHECKING:
    from limbeck.encoders.tokens import Encoded, TextTokens

_KIN_OF_ROBERTA = ("camembert", "data2vec-text", "esm", "ibert", "lilt", "longformer", "luke", "mpnet", "xmod")
BUCKET = 64
"""Texts that are answered for together: of many, those of about a length, so that little of a batch is padding."""


class Encoder(nn.Module):
    """Raw texts in, logits out.

    What is trained, saved and measured is `network`, a sequence classifier of the library transformers. Many texts are
    answered for in buckets of about one length, which depend on these texts alone.

    Args:
        network: a transformers model for sequence classification.
        tokens: its tokenizer.
        classes: how many there are.
        form: the columns that texts come from.
    """

    kind = "encoder"
    input_shape: tuple[int, ...] = ()  # of texts: they have no shape

    def __init__(self, network: Any, tokens: TextTokens, classes: int, form: TextForm) -> None:
        super().__init__()
        self.network = network
        self.tokens = tokens
        self.classes = classes
        self.form = form
        self._states: StateCapture | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What model.json says beside what config.json does."""
        return {"model_type": self.network.config.model_type, "max_length": self.tokens.max_length}

    @property
    def layers(self) -> int:
        """How many transformer layers it has."""
        return int(self.network.config.num_hidden_layers)

    @property
    def parameter_count(self) -> int:
        """All of its numbers, whether they are being trained or not."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def show_states(self, shown: bool = True) -> None:
        """Whether outputs have the last layer's hidden states and its queries, keys and values."""
        if self._states is not None:
            self._states.detach()
        self._states = StateCapture(self.network) if shown else None
        if self._states is not None:
            self._states.attach()

    def forward(self, inputs: Tensor) -> Outputs:
        """Raw texts, uint8 (batch, width), to logits (batch, classes)."""
        batch = self.tokens.encode(inputs, len(self.form.columns) > 1, device_of(self.network))
        # A live teacher's states are asked for without gradients, but not in inference mode, as answers alone are.
        shown = self._states is not None and not torch.is_inference_mode_enabled()
        if not self.training and not shown and len(inputs) > BUCKET:
            return Outputs(self._by_length(batch))
        logits = self._logits(batch)
        if self._states is None:
            return Outputs(logits)
        return Outputs(logits, *self._states.taken(), batch.mask)

    def _by_length(self, batch: Encoded) -> Tensor:
        lengths = batch.mask.sum(dim=1)
        order = lengths.argsort(stable=True)
        answers: list[Tensor] = []
        for start in range(0, len(order), BUCKET):
            rows = order[start : start + BUCKET]
            longest = int(lengths[rows].max())
            types = None if batch.types is None else batch.types[rows, :longest]
            answers.append(
                self._logits(
                    batch._replace(ids=batch.ids[rows, :longest], mask=batch.mask[rows, :longest], types=types)
                )
            )
        together = torch.cat(answers)
        return torch.empty_like(together).index_copy_(0, order, together)

    def _logits(self, batch: Encoded) -> Tensor:
        types = {} if batch.types is None else {"token_type_ids": batch.types}
        with fast_way_back(self.network):
            found = self.network(input_ids=batch.ids, attention_mask=batch.mask.long(), **types)
        logits: Tensor = found.logits
        return logits


def truncation(encoder: Encoder, parts: Sequence[tuple[str, Any]]) -> str | None:
    """A line about texts that are longer than the encoder takes; None where there are none.

    Args:
        encoder: with its tokenizer.
        parts: what rows are called, and the rows: uint8 (n, width).
    """
    pairs = len(encoder.form.columns) > 1
    found = []
    for name, rows in parts:
        if len(rows) and (count := encoder.tokens.truncated_count(rows, pairs)):
            found.append(f"{count:,} of {len(rows):,} {name}")
    if not found:
        return None
    return f"{' and '.join(found)} are longer than {encoder.tokens.max_length} tokens: cut there"


def positions_of(config: Any) -> int | None:
    """How many tokens a model has positions for; RoBERTa's, and its kin's, begin behind that of its padding."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return None
    kin = "roberta" in str(config.model_type) or config.model_type in _KIN_OF_ROBERTA
    return int(positions) - (int(config.pad_token_id) + 1 if kin else 0)
