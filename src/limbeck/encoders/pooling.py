"""The pooler of an encoder, which masked language models have no use for and fine-tuning begins its classifier with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from limbeck.encoders.finding import load_body
from limbeck.encoders.kinds import without_head


def pooler_of(folder: Path) -> nn.Module | None:
    """The pooler in a Hugging Face folder; None where there is none.

    Raises:
        LimbeckError: the folder cannot be read.
    """
    body, fresh = load_body(folder)
    pooler: nn.Module | None = None if fresh else getattr(body, "pooler", None)
    return pooler


@contextlib.contextmanager
def with_pooler(network: Any, pooler: nn.Module | None) -> Iterator[None]:
    """Within it a network without a pooler has one, by the name under which a classifier of its type looks for it.

    A DistilBERT has it as the classifier's first linear map, as `student_network` does.

    Args:
        network: a masked language model, or a model without a head.
        pooler: of a BERT or RoBERTa; None changes nothing.
    """
    if pooler is None:
        yield
        return
    is_distilbert = network.config.model_type == "distilbert"
    holder, name = (network, "pre_classifier") if is_distilbert else (without_head(network), "pooler")
    before = getattr(holder, name, None)
    setattr(holder, name, pooler.dense if is_distilbert else pooler)
    try:
        yield
    finally:
        if is_distilbert:
            delattr(holder, name)
        else:
            setattr(holder, name, before)
