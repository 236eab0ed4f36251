"""An epoch from stored knowledge, divided by the matrix products that it cannot do without."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lesson import LARGE, Lesson
from limbeck.data import Part
from limbeck.precision import Precision, has_bfloat16
from measuring import Entry, in_turns, seconds_of

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
    steps = -(-len(lesson.part) // batch)
    scale = len(lesson.part) / (steps * batch)

    def bare() -> float:
        return seconds_of(lambda: multiply(operands, steps)) * scale

    def epoch(precision: Precision) -> Callable[[], float]:
        def measure() -> float:
            student = lesson.student(widths)
            return seconds_of(lambda: lesson.train(student, batch, precision=precision))

        return measure

    turns = in_turns(bare, *map(epoch, precisions), repeats=repeats)
    size = "×".join(map(str, widths)) if len(set(widths)) > 1 else f"{len(widths)}×{widths[0]}"
    found = []
    for number, precision in enumerate(precisions, start=1):
        note = f"epoch {turns.median(number):.2f} s, products {turns.median(0):.2f} s"
        if precision == "bfloat16" and validation is not None:
            errors = {kind: _errors(lesson, widths, batch, kind, validation) for kind in precisions}
            note += "; errors after 3 epochs: " + ", ".join(f"{kind} {count}" for kind, count in errors.items())
        found.append(
            Entry.of(
                f"epoch of {size} from knowledge, batch {batch}, {precision} / bare float32 products",
                turns.ratios(number, 0),
                GOAL[precision],
                "lower",
                note,
            )
        )
    return found


def _errors(lesson: Lesson, widths: tuple[int, ...], batch: int, precision: Precision, validation: Part) -> int:
    history = lesson.train(lesson.student(widths), batch, epochs=3, precision=precision, validation=validation)
    return round((1 - float(history.kept["validation_accuracy"])) * len(validation))
