"""Dynamic masking: which tokens are hidden and have to be predicted, a function of (seed, view, text) alone.

15% of a row's tokens are predicted; of these 80% are shown as the mask, 10% as another token and 10% as they are
(Devlin et al. 2019, BERT, sec. 3.1), anew in each epoch (Liu et al. 2019, RoBERTa, sec. 4.1). Rare tokens are predicted
more often: a token is drawn with a weight of its count in the texts to the power of −0.7, as in the code of Sanh et al.
2019 (DistilBERT); Lample and Conneau 2019 (XLM), from whom they have it, took the square root.

A mask is a view of a row, like a turned image: by Philox (Salmon et al. 2011) with the key (seed, view) and the row's
own counter, so that it is the same in whatever batch, order or process it is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from limbeck.data.views import check_counters
from limbeck.errors import LimbeckError, UsageError

_MASKS = 2**57  # added to the view in the generator's key; orders, images' views and shuffles have other ranges
_PER_TOKEN = 2  # 64-bit numbers drawn for a token: whether it is predicted, and as what it is shown


@dataclass(frozen=True)
class MaskSettings:
    """How much is masked, and how.

    Attributes:
        share: of a row's tokens that are predicted, rounded to a whole number of 1 or more.
        masked: the share of these that are shown as the mask.
        replaced: the share of these that are shown as a random token; the others are shown as they are.
        smoothing: the power of a token's count that it is drawn with, with a minus; at 0 all are drawn alike.

    Raises:
        UsageError: a value is out of range.
    """

    share: float = 0.15
    masked: float = 0.8
    replaced: float = 0.1
    smoothing: float = 0.7

    def __post_init__(self) -> None:
        for name, holds, expected in (
            ("share", 0 < self.share <= 1, "above 0 and at most 1"),
            ("masked", 0 <= self.masked <= 1, "from 0 to 1"),
            ("replaced", 0 <= self.replaced <= 1 - self.masked, f"from 0 to 1 − masked, here {1 - self.masked:.2g}"),
            ("smoothing", 0 <= self.smoothing <= 2, "at least 0 and at most 2"),
        ):
            if not holds:
                raise UsageError(f"masking.{name} = {getattr(self, name)!r}, expected {expected}: change {name}")


class Masking:
    """Masks rows of tokens; special tokens, padding among them, are never predicted and never shown in place of others.

    Args:
        counts: how often each token occurs in the texts, shape (vocabulary,), special ones included.
        special_ids: the tokens that stand for no text.
        mask_id: the mask.
        settings: how much is masked, and how.
        seed: of the masks, 0 to 2⁶⁴ − 1.

    Raises:
        LimbeckError: there is no mask, or no token to predict.
        UsageError: the seed is out of range.
    """

    def __init__(
        self,
        counts: npt.NDArray[np.int64],
        special_ids: Iterable[int],
        mask_id: int | None,
        settings: MaskSettings,
        seed: int,
    ) -> None:
        if mask_id is None:
            raise LimbeckError(
                "the tokenizer has no mask token, without which nothing can be masked: name one as mask_token in "
                "tokenizer_config.json, or take an encoder that has one"
            )
        check_counters(0, seed)
        self.settings, self.seed, self.mask_id = settings, seed, mask_id
        self.weights = np.maximum(counts, 1).astype(np.float64) ** -settings.smoothing
        self.weights[[number for number in special_ids if number < len(counts)]] = 0.0
        self.weights[mask_id] = 0.0
        self.ordinary = np.flatnonzero(self.weights)
        if not len(self.ordinary):
            raise LimbeckError("the vocabulary has special tokens only, and none that could be predicted")

    def applied(
        self, ids: npt.NDArray[np.int64], keys: npt.NDArray[np.int64], views: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """One mask for each row.

        Exactly round(share · n) of a row's n ordinary tokens are predicted, and at least one where there is any. They
        are drawn without replacement, one after the other by weight, as the least of −log(u) / weight for independent
        uniform u (Efraimidis and Spirakis 2006).

        Args:
            ids: tokens, shape (rows, tokens), filled up at the end with a special token.
            keys: two numbers of 0 or more by which a row is known for ever, shape (rows, 2).
            views: the number of the mask of each row, shape (rows,).

        Returns:
            The tokens to be shown and the tokens to be predicted (−1 where nothing is), both of the shape of `ids`.
        """
        draws = self._draws(keys, views, ids.shape[1])
        weights = self.weights[ids]
        counted = weights > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            # float32, so that the last bit of a vectorised logarithm, which may depend on the place, decides nothing.
            order = (-np.log(1.0 - draws[..., 0]) / weights).astype(np.float32)
        order[~counted] = np.inf
        predicted = self.predicted(ids)
        ranks = np.empty(ids.shape, np.int64)
        np.put_along_axis(ranks, order.argsort(axis=1, kind="stable"), np.arange(ids.shape[1])[None], axis=1)
        chosen = ranks < predicted[:, None]
        masked, replaced = self.settings.masked, self.settings.replaced
        as_mask = chosen & (draws[..., 1] < masked)
        as_other = chosen & ~as_mask & (draws[..., 1] < masked + replaced)
        shown = np.where(as_mask, self.mask_id, ids)
        # What a uniform number is within its share is uniform again.
        place = (draws[..., 1][as_other] - masked) / max(replaced, np.finfo(np.float64).tiny) * len(self.ordinary)
        shown[as_other] = self.ordinary[np.minimum(place.astype(np.int64), len(self.ordinary) - 1)]
        return shown, np.where(chosen, ids, -1)

    def predicted(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How many tokens of each row are predicted, the same in every view: shape (rows,)."""
        ordinary = (self.weights[ids] > 0).sum(axis=1)
        rounded = np.floor(ordinary * self.settings.share + 0.5).astype(np.int64)
        return np.asarray(np.minimum(np.maximum(rounded, 1), ordinary))

    def _draws(self, keys: npt.NDArray[np.int64], views: npt.NDArray[np.int64], tokens: int) -> npt.NDArray[np.float64]:
        """Uniform numbers in [0, 1), shape (rows, tokens, 2); a token's do not depend on how many follow it."""
        raw = np.empty((len(keys), tokens * _PER_TOKEN), np.uint64)
        generator = np.random.Philox(key=np.array([self.seed, 0], np.uint64))
        state = generator.state
        # One generator put to each row's place: to make one takes ten times as long.
        for row, (key, view) in enumerate(zip(keys.tolist(), views.tolist(), strict=True)):
            state["state"]["key"][1] = _MASKS + view
            state["state"]["counter"][:] = [0, key[1], key[0], 0]
            generator.state = state
            raw[row] = generator.random_raw(tokens * _PER_TOKEN)
        return ((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(len(keys), tokens, _PER_TOKEN)
