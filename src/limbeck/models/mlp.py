"""The multi-layer perceptron: Hinton's MNIST students and teachers are of this kind."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from limbeck.data import Form
from limbeck.models.dropout import ByteDropout
from limbeck.models.encoding import encoded_shape, encoding_for, feature_count
from limbeck.models.outputs import Outputs
from limbeck.models.preprocessing import Standardize


class MLP(nn.Module):
    """Hidden layers of ReLUs, with dropout after each, over flattened raw inputs.

    Args:
        input_shape: shape of one raw input, the batch left out.
        classes: number of classes.
        widths: units in each hidden layer.
        dropout: probability of dropping a hidden unit while training.
        input_dropout: probability of dropping an input, after preprocessing, while training.
        max_norm: largest norm of the weights that come into a hidden unit, kept after each step; None for no limit
            (Hinton et al. 2012, arXiv:1207.0580; Srivastava et al. 2014, sec. 5.1).
        form: of a table, whose raw rows it then takes.
    """

    kind: ClassVar[str] = "mlp"

    def __init__(
        self,
        input_shape: Sequence[int],
        classes: int,
        widths: Sequence[int] = (128, 128),
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        max_norm: float | None = None,
        form: Form | None = None,
    ) -> None:
        super().__init__()
        self.input_shape = tuple(input_shape)
        self.classes = classes
        self.form = form
        self.max_norm = max_norm
        self.settings: dict[str, Any] = {
            "widths": list(widths),
            "dropout": dropout,
            "input_dropout": input_dropout,
            "max_norm": max_norm,
        }
        self.encoding = encoding_for(form)
        self.preprocessing = Standardize.for_shape(encoded_shape(self.encoding, self.input_shape))
        sizes = [feature_count(self.encoding, self.input_shape), *widths]
        layers: list[nn.Module] = [ByteDropout(input_dropout)] if input_dropout > 0 else []
        for fan_in, fan_out in pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
            if dropout > 0:
                layers.append(ByteDropout(dropout))
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))

    def forward(self, inputs: Tensor) -> Outputs:
        """Raw inputs (batch, *input_shape) to logits (batch, classes)."""
        return Outputs(self.layers(self.preprocessing(self.encoding(inputs)).flatten(1)))

    def after_step(self) -> None:
        """Scale down the weights that come into a hidden unit where their norm is above `max_norm`."""
        if self.max_norm is None:
            return
        *hidden, _ = (layer for layer in self.layers if isinstance(layer, nn.Linear))
        with torch.no_grad():
            for layer in hidden:
                norms = torch.linalg.vector_norm(layer.weight, dim=1, keepdim=True)
                layer.weight.mul_((self.max_norm / norms).clamp_(max=1.0))
