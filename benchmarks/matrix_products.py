"""An epoch from stored knowledge, divided by the matrix products that it cannot do without."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lesson import LARGE, Lesson
from limbeck.data import Part
from limbeck.precision import Precision, has_bfloat16
from measuring import Entry, seconds_of

BATCH = 512
GOAL = {"float32": 1.2, "bfloat16": 0.75}


def products(sizes: tuple[int, ...], batch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """One step's matrix products in float32: left, right, and memory for the result.

    For each layer the forward product and the weights' gradient; the gradient of the inputs too, except for the
    first layer's. Operands lie as torch's linear layers have them.

    Args:
        sizes: inputs, units of each hidden layer, classes.
        batch: rows.
    """
    for number, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        inputs, weights = torch.randn(batch, fan_in), torch.randn(fan_out, fan_in)
        gradient = torch.randn(batch, fan_out)
        yield inputs, weights.t(), torch.empty(batch, fan_out)
        yield gradient.t(), inputs, torch.empty(fan_out, fan_in)
        if number > 0:
            yield gradient, weights, torch.empty(batch, fan_in)


def multiply(operands: list[tuple[Tensor, Tensor, Tensor]], steps: int) -> None:
    """All products, `steps` times."""
    for _ in range(steps):
        for left, right, result in operands:
            torch.mm(left, right, out=result)


class Between:
    """Told by the training loop how far it is, it does that many steps' bare products in between, and times them.

    So both are measured within a fraction of a second of each other, whatever else the machine does meanwhile.

    Args:
        operands: of one step's products.
    """

    def __init__(self, operands: list[tuple[Tensor, Tensor, Tensor]]) -> None:
        self.operands = operands
        self.done = 0
        self.seconds = 0.0

    def line(self, text: str) -> None:
        """Nothing to do."""

    def start(self, title: str, total: int) -> None:
        """Nothing to do."""

    def at(self, done: int, note: str = "") -> None:
        """The products of the steps since it was last told."""
        steps, self.done = done - self.done, done
        self.seconds += seconds_of(lambda: multiply(self.operands, steps))

    def end(self, note: str = "") -> None:
        """Nothing to do."""


def entries(
    lesson: Lesson,
    *,
    widths: tuple[int, ...] = LARGE,
    batch: int = BATCH,
    repeats: int = 5,
    precisions: Sequence[Precision] = (),
    validation: Part | None = None,
) -> list[Entry]:
    """The epoch in float32, and in bfloat16 where the processor has that.

    Args:
        lesson: what is learnt.
        widths: the student's hidden layers.
        batch: rows in a step.
        repeats: of the measurement.
        precisions: what to measure; by default what this processor is good at.
        validation: rows on which errors in both precisions are counted, for the note.
    """
    if not precisions:
        precisions = ["float32", "bfloat16"] if has_bfloat16() else ["float32"]
    operands = list(products((lesson.part.inputs[0].size, *widths, len(lesson.part.classes)), batch))
    # The epoch's last batch is smaller: what whole batches take is scaled to its rows.
    scale = len(lesson.part) / (-(-len(lesson.part) // batch) * batch)

    def once(precision: Precision) -> tuple[float, float]:
        student, between = lesson.student(widths), Between(operands)
        seconds = seconds_of(lambda: lesson.train(student, batch, precision=precision, progress=between))
        return seconds - between.seconds, between.seconds * scale

    found = []
    size = "×".join(map(str, widths)) if len(set(widths)) > 1 else f"{len(widths)}×{widths[0]}"
    for precision in precisions:
        once(precision)
    rounds = [[once(precision) for precision in precisions] for _ in range(repeats)]
    for precision, pairs in zip(precisions, zip(*rounds, strict=True), strict=True):
        epoch, bare = (statistics.median(seconds) for seconds in zip(*pairs, strict=True))
        note = f"epoch {epoch:.2f} s, products {bare:.2f} s"
        if precision == "bfloat16" and validation is not None:
            errors = {kind: _errors(lesson, widths, batch, kind, validation) for kind in precisions}
            note += "; errors after 3 epochs: " + ", ".join(f"{kind} {count}" for kind, count in errors.items())
        found.append(
            Entry.of(
                f"epoch of {size} from knowledge, batch {batch}, {precision} / bare float32 products",
                [above / below for above, below in pairs],
                GOAL[precision],
                "lower",
                note,
            )
        )
    return found


def _errors(lesson: Lesson, widths: tuple[int, ...], batch: int, precision: Precision, validation: Part) -> int:
    history = lesson.train(lesson.student(widths), batch, epochs=3, precision=precision, validation=validation)
    return round((1 - float(history.kept["validation_accuracy"])) * len(validation))
