"""The pooler of an encoder, which masked language models have no use for and fine-tuning begins its classifier with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from limbeck.encoders.finding import load_body, saved_tensors
from limbeck.encoders.kinds import without_head

_FIRST_MAP = "pre_classifier"


def pooler_of(folder: Path) -> nn.Module | None:
    """The pooler in a Hugging Face folder; None where there is none.

    A DistilBERT has the first linear map of its classifier in its place, under the same name `dense`.

    Raises:
        LimbeckError: the folder cannot be read.
    """
    body, fresh = load_body(folder)
    if body.config.model_type == "distilbert":
        return _first_map(folder)
    pooler: nn.Module | None = None if fresh else getattr(body, "pooler", None)
    return pooler


def _first_map(folder: Path) -> nn.Module | None:
    found = saved_tensors(folder, (f"{_FIRST_MAP}.weight", f"{_FIRST_MAP}.bias"))
    if len(found) < 2:
        return None
    weight, bias = found.values()
    dense = nn.Linear(weight.shape[1], weight.shape[0])
    dense.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    return nn.ModuleDict({"dense": dense})


@contextlib.contextmanager
def with_pooler(network: Any, pooler: nn.Module | None) -> Iterator[None]:
    """Within it a network without a pooler has one, by the name under which a classifier of its type looks for it.

    A DistilBERT has it as the classifier's first linear map, as `student_network` does.

    Args:
        network: a masked language model, or a model without a head.
        pooler: as `pooler_of` has it; None changes nothing.
    """
    if pooler is None:
        yield
        return
    is_distilbert = network.config.model_type == "distilbert"
    holder, name = (network, _FIRST_MAP) if is_distilbert else (without_head(network), "pooler")
    before = getattr(holder, name, None)
    setattr(holder, name, pooler.dense if is_distilbert else pooler)
    try:
        yield
    finally:
        if is_distilbert:
            delattr(holder, name)
        else:
            setattr(holder, name, before)
