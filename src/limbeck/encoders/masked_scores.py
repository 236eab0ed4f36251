"""How well an encoder predicts masked tokens, and how near its hidden states come to its teacher's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from limbeck.data import Part
from limbeck.encoders.masked import MaskedEncoder
from limbeck.encoders.masked_batches import MaskedBatches
from limbeck.encoders.masked_rows import TokenRows
from limbeck.encoders.masking import Masking, MaskSettings
from limbeck.precision import Precision, autocast

_SEED = 0  # of the held-out mask, whatever the seed of a run: seeds are compared on the same tokens
_BATCH = 64


@dataclass(frozen=True)
class MaskedScores:
    """Of masked tokens in texts that were held out.

    Attributes:
        cross_entropy: of the predictions with the tokens that were masked, in nats, a mean over these tokens; None of
            a model that answers for none.
        accuracy: the share of them that is predicted right, likewise.
        cosine: of the last hidden states with the teacher's, a mean over all tokens of the texts as they are, without a
            mask, as tasks show them; None without a teacher.
        predicted: how many tokens were masked.
    """

    cross_entropy: float | None
    accuracy: float | None
    cosine: float | None
    predicted: int

    @property
    def perplexity(self) -> float | None:
        """The exponential of the cross-entropy."""
        return None if self.cross_entropy is None else math.exp(self.cross_entropy)


def masked_scores(
    model: MaskedEncoder,
    texts: Part,
    teacher: MaskedEncoder | None = None,
    *,
    max_length: int = 128,
    settings: MaskSettings | None = None,
    precision: Precision = "float32",
) -> MaskedScores:
    """The scores of a model on held-out texts, in one mask that depends on these texts and their tokenizer alone.

    Models with the same tokenizer are asked about the same tokens. Both models are left in the mode they were in, and
    no random number is drawn from torch's generator.

    Args:
        model: asked in evaluation mode, for the masked tokens.
        texts: held out from training.
        teacher: whose hidden states are compared; of the same width.
        max_length: longer texts are cut into pieces of at most so many tokens.
        settings: how much is masked; by default the usual share, and rare tokens no more often than others.
        precision: that the models compute in.
    """
    rows = TokenRows.of(texts, model.tokens, max_length)
    masking = Masking(
        rows.counts(model.tokens.vocabulary_size),
        model.tokens.special_ids,
        model.tokens.mask_id,
        settings or MaskSettings(smoothing=0.0),
        _SEED,
    )
    batches = MaskedBatches(rows, masking, _BATCH, views=1)
    answering = model.answers != "none"
    entropy = right = cosine = 0.0
    predicted = counted = 0
    models = [model] if teacher is None else [model, teacher]
    before = [one.training for one in models]
    for one in models:
        one.eval()
    with torch.inference_mode(), autocast(precision, model.device):
        order = torch.from_numpy(np.argsort(rows.lengths, kind="stable"))
        for start in range(0, len(order), _BATCH):
            some = order[start : start + _BATCH]
            inputs = batches.inputs(some, torch.zeros_like(some)).to(model.device)
            labels = inputs[:, 1]
            asked = labels >= 0
            predicted += int(asked.sum())
            if answering:
                answers = model.head(model.hidden(inputs)[0][asked]).float()
                entropy += float(F.cross_entropy(answers, labels[asked], reduction="sum"))
                right += float((answers.argmax(dim=1) == labels[asked]).sum())
            if teacher is not None:
                whole = torch.where(asked, labels, inputs[:, 0]).unsqueeze(1)
                hidden, mask = model.hidden(whole)
                theirs = teacher.hidden(whole.to(teacher.device))[0].to(hidden.device)
                cosine += float(F.cosine_similarity(hidden.float(), theirs.float(), dim=-1)[mask].sum())
                counted += int(mask.sum())
    for one, training in zip(models, before, strict=True):
        one.train(training)
    return MaskedScores(
        entropy / predicted if answering else None,
        right / predicted if answering else None,
        cosine / counted if teacher is not None else None,
        predicted,
    )
