"""Distilling the usual way, a data loader and the teacher asked in every step, divided by an epoch from knowledge."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lesson import LARGE, SMALL, SOFT_TARGETS, Lesson
from limbeck.data import Part
from limbeck.models import MLP, ConvNet, logits_of
from measuring import Entry, in_turns, seconds_of

BATCH = 128
STEPS = 10  # of the usual way in one slice; all steps cost the same, so they stand for the epoch
SLICES = 4  # a repeat is measured in slices, each way a quarter of it in turns
GOALS: dict[tuple[int, ...], float] = {LARGE: 4.0, SMALL: 15.0}


class Digits(Dataset[tuple[Tensor, int]]):
    """Rows one by one, each turned, scaled, sheared and shifted at random as it is asked for, or left as it is.

    Args:
        part: the rows.
        augment: whether to alter them, as far as the recipe `mnist` does.
    """

    def __init__(self, part: Part, *, augment: bool) -> None:
        self.images = torch.from_numpy(part.inputs)
        self.labels = part.labels.tolist()
        self.augment = augment

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        """One image (1, height, width), float32, and its label."""
        image = self.images[row].unsqueeze(0).float()
        return (random_affine(image) if self.augment else image), self.labels[row]


def random_affine(image: Tensor) -> Tensor:
    """An image (channels, height, width) under a random affine map."""
    angle = math.radians(random.uniform(-10, 10))
    scale = 1 / random.uniform(0.9, 1.1)
    shear = random.uniform(-0.15, 0.15)
    right, down = (random.uniform(-2, 2) * 2 / side for side in image.shape[:0:-1])
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    theta = torch.tensor([[[cos + shear * sin, sin - shear * cos, right], [-sin, cos, down]]])
    grid = F.affine_grid(theta, [1, *image.shape], align_corners=False)
    return F.grid_sample(image.unsqueeze(0), grid, align_corners=False)[0]


def usual_epoch(part: Part, teacher: nn.Module, student: nn.Module, *, batch: int, steps: int, augment: bool) -> float:
    """Seconds for an epoch of distillation as it is mostly written, worked out from `steps` steps.

    Args:
        part: the rows.
        teacher: maps raw images to logits.
        student: does too.
        batch: rows in a step.
        steps: how many to measure, after the first.
        augment: whether every item is altered at random.
    """
    loader = DataLoader(Digits(part, augment=augment), batch_size=batch, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3, fused=True)
    temperature = SOFT_TARGETS.temperature
    teacher.eval()
    student.train()
    batches = iter(loader)
    began = 0.0
    for step in range(steps + 1):
        if step == 1:  # the first draws the order of all rows
            began = time.perf_counter()
        images, _ = next(batches)
        images = images[:, 0]
        with torch.no_grad():
            soft = logits_of(teacher(images))
        logits = logits_of(student(images))
        loss = temperature**2 * F.kl_div(
            F.log_softmax(logits / temperature, dim=1), F.softmax(soft / temperature, dim=1), reduction="batchmean"
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return (time.perf_counter() - began) * len(part) / (steps * batch)


def entries(
    lesson: Lesson,
    *,
    teacher: nn.Module | None = None,
    students: tuple[tuple[int, ...], ...] = (LARGE, SMALL),
    batch: int = BATCH,
    steps: int = STEPS,
    slices: int = SLICES,
    repeats: int = 5,
) -> list[Entry]:
    """For each student the usual way with views, and without them, each divided by the epoch from knowledge.

    Args:
        lesson: what is learnt.
        teacher: asked in every step; by default the recipe's convnet.
        students: their hidden layers.
        batch: rows in a step.
        steps: of the usual way to measure in a slice.
        slices: of a repeat.
        repeats: of the measurement.
    """
    teacher = teacher or ConvNet(lesson.part.inputs.shape[1:], len(lesson.part.classes))
    found = []
    for widths in students:
        turns = in_turns(
            _stored(lesson, widths, batch, len(lesson.part) // slices, epochs=1 if widths == LARGE else 3),
            _usual(lesson, teacher, widths, batch, steps, augment=True),
            _usual(lesson, teacher, widths, batch, steps, augment=False),
            repeats=repeats,
            slices=slices,
        )
        size = f"{len(widths)}×{widths[0]}"
        for number, way in ((1, "usual way, views"), (2, "usual way, plain images")):
            found.append(
                Entry.of(
                    f"{size}, batch {batch}: {way} / epoch from knowledge",
                    turns.ratios(number, 0),
                    GOALS.get(widths) if number == 1 else None,
                    "higher",
                    f"{turns.median(number) / slices:.1f} s, from knowledge {turns.median(0) / slices:.2f} s",
                )
            )
    return found


def _stored(lesson: Lesson, widths: tuple[int, ...], batch: int, rows: int, epochs: int) -> Callable[[], float]:
    def measure() -> float:
        student = lesson.student(widths)
        seconds = seconds_of(lambda: lesson.train(student, batch, rows=rows, epochs=epochs))
        return seconds * len(lesson.part) / (rows * epochs)

    return measure


def _usual(
    lesson: Lesson, teacher: nn.Module, widths: tuple[int, ...], batch: int, steps: int, *, augment: bool
) -> Callable[[], float]:
    def measure() -> float:
        student: MLP = lesson.student(widths)
        return usual_epoch(lesson.part, teacher, student, batch=batch, steps=steps, augment=augment)

    return measure
