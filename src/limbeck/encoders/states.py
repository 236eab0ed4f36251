"""What an encoder's last layer knows about each token, taken out of a forward pass by hooks."""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from limbeck.encoders.kinds import kind_of, without_head
from limbeck.errors import LimbeckError


class StateCapture:
    """The last hidden states, and one layer's queries, keys and values, of the latest forward pass.

    They are taken where the layers make them, so that attention may be PyTorch's fused kernel, which gives no
    attention weights away; MiniLM-v2's relations want these projections and nothing else (Wang et al. 2021, sec. 3.1).
    Gradients flow through them. Nothing is captured, and nothing costs, while it is not attached; what was captured is
    kept until the next forward pass, `taken` or `detach`.

    Args:
        model: a BERT, RoBERTa or DistilBERT of the library transformers, with any head or none.
        layer: whose projections, from 0; None for the last.

    Raises:
        LimbeckError: the model is of another type or has no such layer.
    """

    def __init__(self, model: nn.Module, layer: int | None = None) -> None:
        kind = kind_of(model)
        layers = without_head(model).get_submodule(kind.layers)
        if layer is not None and not 0 <= layer < len(layers):
            raise LimbeckError(
                f"found layer {layer}, expected numbers from 0 to {len(layers) - 1}: the model has {len(layers)} layers"
            )
        self._last: nn.Module = layers[-1].get_submodule(kind.last)
        asked = layers[-1 if layer is None else layer]
        self._maps: list[nn.Module] = [asked.get_submodule(path) for path in kind.projections]
        config: Any = model.config
        self._heads = int(config.num_attention_heads)
        self._handles: list[RemovableHandle] = []
        self._hidden: Tensor | None = None
        self._projected: list[Tensor | None] = [None, None, None]

    @property
    def hidden(self) -> Tensor:
        """The last layer's hidden states, shape (batch, tokens, width).

        Raises:
            RuntimeError: there was no forward pass since it was attached.
        """
        return _there(self._hidden)

    @property
    def projections(self) -> Tensor:
        """The layer's queries, keys and values, shape (3, batch, heads, tokens, width of a head).

        Raises:
            RuntimeError: there was no forward pass since it was attached.
        """
        together = torch.stack([_there(one) for one in self._projected])
        three, batch, tokens, width = together.shape
        return together.view(three, batch, tokens, self._heads, width // self._heads).transpose(2, 3)

    def taken(self) -> tuple[Tensor, Tensor]:
        """`hidden` and `projections`, which are then forgotten, so that no graph outlives its batch.

        Raises:
            RuntimeError: there was no forward pass since it was attached or they were taken.
        """
        found = self.hidden, self.projections
        self._forget()
        return found

    def attach(self) -> Self:
        """Capture from now on; no more than once at a time."""
        if not self._handles:
            self._handles.append(self._last.register_forward_hook(self._keep_hidden))
            for number, module in enumerate(self._maps):
                self._handles.append(module.register_forward_hook(partial(self._keep_projected, number)))
        return self

    def detach(self) -> None:
        """Capture nothing more, and forget what was."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._forget()

    def __enter__(self) -> Self:
        return self.attach()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def _forget(self) -> None:
        self._hidden = None
        self._projected = [None, None, None]

    def _keep_hidden(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._hidden = output

    def _keep_projected(self, number: int, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._projected[number] = output


def _there(captured: Tensor | None) -> Tensor:
    if captured is None:
        raise RuntimeError("no states were captured: attach before the model's forward pass")
    return captured
