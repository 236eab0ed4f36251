"""The multi-layer perceptron: Hinton's MNIST students and teachers are of this kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor, nn

from limbeck.models.outputs import Outputs
from limbeck.models.preprocessing import Standardize


class MLP(nn.Module):
    """Hidden layers of ReLUs, with dropout after each, over flattened raw inputs.

    Args:
        input_shape: shape of one raw input, the batch left out.
        classes: number of classes.
        widths: units in each hidden layer.
        dropout: probability of dropping a hidden unit while training.
    """

    kind: ClassVar[str] = "mlp"

    def __init__(
        self,
        input_shape: Sequence[int],
        classes: int,
        widths: Sequence[int] = (128, 128),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.input_shape = tuple(input_shape)
        self.classes = classes
        self.settings: dict[str, Any] = {"widths": list(widths), "dropout": dropout}
        self.preprocessing = Standardize.for_shape(self.input_shape)
        sizes = [math.prod(self.input_shape), *widths]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))

    def forward(self, inputs: Tensor) -> Outputs:
        """Raw inputs (batch, *input_shape) to logits (batch, classes)."""
        return Outputs(self.layers(self.preprocessing(inputs).flatten(1)))
