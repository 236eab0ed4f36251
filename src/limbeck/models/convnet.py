"""A small modern convolutional net for small images: three convolutions with batch normalisation, one hidden layer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from limbeck.data import Form
from limbeck.errors import UsageError
from limbeck.models.outputs import Outputs
from limbeck.models.preprocessing import Standardize

SMALLEST = 8


class ConvNet(nn.Module):
    """A stem of stride two, two 3×3 convolutions each followed by pooling, one hidden layer, the classes.

    The stem halves the image before the wide layers, so that nearly all multiplications are in 3×3
    convolutions at a half and a quarter of the size, which two cores do at the rate of matrix products.

    Args:
        input_shape: (height, width) or (height, width, channels) of a raw image, at least 8×8.
        classes: number of classes.
        widths: channels of the three convolutions.
        hidden: units in the layer before the classes.
        dropout: probability of dropping one of these while training.
        form: how the images were read; kept with the model.

    Raises:
        UsageError: if the inputs are no images or too small.
    """

    kind: ClassVar[str] = "convnet"

    def __init__(
        self,
        input_shape: Sequence[int],
        classes: int,
        widths: Sequence[int] = (32, 64, 128),
        hidden: int = 192,
        dropout: float = 0.25,
        form: Form | None = None,
    ) -> None:
        super().__init__()
        self.input_shape = tuple(input_shape)
        if len(self.input_shape) not in (2, 3) or min(self.input_shape[:2]) < SMALLEST:
            raise UsageError(
                f"a convnet takes images of at least {SMALLEST}×{SMALLEST} pixels, but an input has the shape "
                f'{self.input_shape}: use model = {{kind = "mlp"}} for these'
            )
        self.classes = classes
        self.form = form
        self.settings: dict[str, Any] = {"widths": list(widths), "hidden": hidden, "dropout": dropout}
        self.preprocessing = Standardize.for_shape(self.input_shape)
        channels = self.input_shape[2] if len(self.input_shape) == 3 else 1
        stem, middle, last = widths
        self.stem = _convolution(channels, stem, kernel=5, stride=2)
        self.middle = _convolution(stem, middle)
        self.last = _convolution(middle, last)
        self.pool: nn.Module = nn.MaxPool2d(2)
        height, width = (((side + 1) // 2) // 4 for side in self.input_shape[:2])
        self.hidden = nn.Sequential(
            nn.Linear(last * height * width, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.head = nn.Linear(hidden, classes)
        _channels_last(self)

    def forward(self, inputs: Tensor) -> Outputs:
        """Raw images (batch, height, width[, channels]) to logits (batch, classes)."""
        if self.training and len(inputs) == 1:
            raise UsageError(
                "batch normalisation needs at least two rows in a batch: raise batch_size, or give more rows"
            )
        images = self.preprocessing(inputs)
        images = images.permute(0, 3, 1, 2) if images.dim() == 4 else images.unsqueeze(1)
        images = self.stem(images.contiguous(memory_format=torch.channels_last))
        images = self.pool(self.middle(images))
        images = self.pool(self.last(images))
        return Outputs(self.head(self.hidden(images.flatten(1))))

    def inference_form(self) -> ConvNet:
        """The same function for inference only.

        Batch normalisation is folded into the layers before it. The convolutions before a pooling leave out what that
        would drop, a quarter of the last one's outputs for MNIST's images, and the ReLUs come after it: the highest of
        four is the same before and after, and there is a quarter of them.
        """
        folded = copy.deepcopy(self).eval()
        for stage in (folded.stem, folded.middle, folded.last, folded.hidden):
            layer, normalisation = stage[0], stage[1]
            if isinstance(layer, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d):
                stage[0] = fuse_conv_bn_eval(layer, normalisation)
            elif isinstance(layer, nn.Linear) and isinstance(normalisation, nn.BatchNorm1d):
                stage[0] = fuse_linear_bn_eval(layer, normalisation)
            stage[1] = nn.Identity()
        _channels_last(folded)
        for stage in (folded.middle, folded.last):
            layer = stage[0]
            if isinstance(layer, nn.Conv2d):
                stage[0] = _EvenConvolution(layer)
            stage[2] = nn.Identity()
        folded.pool = nn.Sequential(nn.MaxPool2d(2), nn.ReLU(inplace=True))
        return folded


class _EvenConvolution(nn.Module):
    """A 3×3 convolution without the last row or column of an odd size, which pooling by two does not look at.

    Args:
        layer: padded by one, with a stride of one.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, images: Tensor) -> Tensor:
        """Shape (batch, channels, height, width) in; the height and width that come out are even."""
        height, width = images.shape[2:]
        if height % 2 == width % 2 == 0:
            outputs: Tensor = self.layer(images)
            return outputs
        padded = nn.functional.pad(images, (1, 1 - width % 2, 1, 1 - height % 2))
        return nn.functional.conv2d(padded, self.layer.weight, self.layer.bias)


def _channels_last(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)


def _convolution(fan_in: int, fan_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(fan_in, fan_out, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(fan_out),
        nn.ReLU(inplace=True),
    )
