"""From texts to batches of masked rows: the settings of both, and what they are made into."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.data import Part
from limbeck.encoders.masked_batches import MaskedBatches
from limbeck.encoders.masked_rows import TokenRows
from limbeck.encoders.masking import Masking, MaskSettings
from limbeck.encoders.tokens import TextTokens
from limbeck.errors import UsageError
from limbeck.models.encoder import positions_of


@dataclass(frozen=True)
class TextSettings:
    """How texts are cut into rows, and masked.

    Attributes:
        max_length: tokens in a row, its two marks among them; longer texts are cut into pieces.
        packed: whether short texts are joined up to that length: no token is filled up in vain, but an encoder sees
            several texts in one row.
        masking: how rows are masked.

    Raises:
        UsageError: a value is out of range.
    """

    max_length: int = 128
    packed: bool = False
    masking: MaskSettings = field(default_factory=MaskSettings)

    def __post_init__(self) -> None:
        if isinstance(self.max_length, bool) or not isinstance(self.max_length, int) or self.max_length < 3:
            raise UsageError(f"max_length = {self.max_length!r}, expected a whole number of 3 or more: change it")


def tokens_of(folder: Path, config: Any, max_length: int | None = None) -> TextTokens:
    """The tokenizer in an encoder's folder, checked against the model's config.

    Args:
        folder: the encoder's.
        config: the model's.
        max_length: tokens in a row, for which it must have places.

    Raises:
        UsageError: rows would be longer than the model has positions for.
        LimbeckError: there is no tokenizer that can be read, or it does not belong to the model.
    """
    positions = positions_of(config)
    if positions is not None and max_length is not None and max_length > positions:
        raise UsageError(f"max_length = {max_length}, but {folder} has places for {positions} tokens: lower max_length")
    tokens = TextTokens.read(folder, None, positions)
    tokens.fits(config)
    return tokens


def masked_batches(
    texts: Part,
    tokens: TextTokens,
    settings: TextSettings,
    batch_size: int,
    seed: int,
    passes: int = 1,
    views: int | None = None,
) -> MaskedBatches:
    """Batches of masked rows, rare tokens of these very texts masked more often.

    Args:
        texts: a part whose form is `TextForm`.
        tokens: the tokenizer.
        settings: how they are cut and masked.
        batch_size: rows in a step.
        seed: of the masks.
        passes: over the rows in an epoch.
        views: how many masks a row has; None for a new one in each pass.

    Raises:
        LimbeckError: there is nothing to predict in the texts, or the tokenizer has no mask.
    """
    rows = TokenRows.of(texts, tokens, settings.max_length, packed=settings.packed)
    counts = rows.counts(tokens.vocabulary_size)
    masking = Masking(counts, tokens.special_ids, tokens.mask_id, settings.masking, seed)
    return MaskedBatches(rows, masking, batch_size, views=views, passes=passes)
