"""A teacher asked plainly, divided by the same teacher in the form and the batches in which limbeck asks it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limbeck.data import Part
from limbeck.models import ConvNet
from limbeck.teachers import TorchTeacher, log_probabilities
from measuring import Entry, in_turns, seconds_of

PLAIN_BATCH = 2000
SLICES = 5  # a repeat asks about the rows so many times, both ways in turns
GOAL = 3.0


class PlainConvNet(nn.Module):
    """The same layers with the same weights in the order and memory format in which anyone would write them.

    Args:
        model: whose layers to copy.
    """

    def __init__(self, model: ConvNet) -> None:
        super().__init__()
        layers = copy.deepcopy(model)
        for layer in layers.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.data = layer.weight.data.contiguous()
        self.preprocessing = layers.preprocessing
        self.layers = nn.Sequential(
            *layers.stem,
            *layers.middle,
            nn.MaxPool2d(2),
            *layers.last,
            nn.MaxPool2d(2),
            nn.Flatten(),
            *layers.hidden,
            layers.head,
        )

    def forward(self, images: Tensor) -> Tensor:
        """Raw grey images (batch, height, width) to logits (batch, classes)."""
        logits: Tensor = self.layers(self.preprocessing(images).unsqueeze(1))
        return logits


def convnet(part: Part, widths: tuple[int, ...] = (24, 48, 160), hidden: int = 192) -> ConvNet:
    """The recipe's teacher, untrained, but with the statistics of these rows in its normalisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ConvNet(part.inputs.shape[1:], len(part.classes), widths, hidden)
    model.preprocessing.fit(part.inputs)
    with torch.no_grad():
        for start in range(0, min(len(part), 2560), 256):
            model(torch.from_numpy(part.inputs[start : start + 256]))
    return model.eval()


def ask_plainly(model: nn.Module, inputs: npt.NDArray[Any], batch: int = PLAIN_BATCH) -> npt.NDArray[np.float32]:
    """Log-probabilities (n, classes) of a module in evaluation mode, batch by batch."""
    with torch.no_grad():
        images = torch.from_numpy(inputs)
        logits = [model(images[start : start + batch]) for start in range(0, len(images), batch)]
        return np.asarray(torch.cat(logits).log_softmax(dim=1).numpy())


def entries(
    part: Part, *, model: ConvNet | None = None, plain_batch: int = PLAIN_BATCH, slices: int = SLICES, repeats: int = 5
) -> list[Entry]:
    """One entry; its note says how far the answers are from each other.

    Args:
        part: the rows asked about.
        model: the teacher; by default the recipe's.
        plain_batch: rows asked at once when asked plainly.
        slices: of a repeat.
        repeats: of the measurement.
    """
    model = model or convnet(part)
    plain, teacher = PlainConvNet(model).eval(), TorchTeacher(model)
    turns = in_turns(
        lambda: seconds_of(lambda: ask_plainly(plain, part.inputs, plain_batch)),
        lambda: seconds_of(lambda: log_probabilities(teacher, part.inputs)),
        repeats=repeats,
        slices=slices,
    )
    rows = part.inputs[:plain_batch]
    difference = np.abs(np.exp(ask_plainly(plain, rows, plain_batch)) - np.exp(log_probabilities(teacher, rows))).max()
    plain_us, own_us = (turns.median(number) / (slices * len(part)) * 1e6 for number in (0, 1))
    return [
        Entry.of(
            f"extraction: asked plainly, batch {plain_batch}, float32 / as limbeck asks ({teacher.precision})",
            turns.ratios(0, 1),
            GOAL,
            "higher",
            f"{plain_us:.0f} µs a row, limbeck {own_us:.0f}; probabilities differ by at most {difference:.1e}",
        )
    ]
