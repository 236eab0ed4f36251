"""How fast teachers answer by batch size: where the fixed rule in limbeck.teachers (EXTRACTION_BATCH) comes from.

Usage: python benchmarks/batch_sizes.py
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

from torch import nn

from extraction import convnet
from lesson import LARGE, Lesson, digits
from limbeck.data import Part
from limbeck.teachers import TorchTeacher, log_probabilities
from limbeck.threads import use_available_cores
from measuring import in_turns, seconds_of

BATCHES = (16, 32, 64, 125, 250, 500, 1000, 2000)


def microseconds_a_row(model: nn.Module, part: Part, batches: tuple[int, ...], repeats: int = 5) -> dict[int, float]:
    """Median microseconds for a row, by batch size.

    Args:
        model: the teacher.
        part: the rows asked about.
        batches: sizes to compare, taken in turns.
        repeats: of the measurement.
    """

    def asked(batch: int) -> Callable[[], float]:
        teacher = TorchTeacher(model, batch_size=batch)
        return lambda: seconds_of(lambda: log_probabilities(teacher, part.inputs))

    turns = in_turns(*map(asked, batches), repeats=repeats)
    pairs = zip(batches, turns.seconds, strict=True)
    return {batch: statistics.median(seconds) / len(part) * 1e6 for batch, seconds in pairs}


def main() -> None:
    """Print a line for each kind of teacher."""
    use_available_cores()
    lesson = Lesson.of(digits(4000), views=1)
    print("µs a row at batch " + "".join(f"{batch:8}" for batch in BATCHES))
    for name, model in (("convnet", convnet(lesson.part)), ("mlp 2×800", lesson.student(LARGE))):
        found = microseconds_a_row(model, lesson.part, BATCHES)
        print(f"{name:18}" + "".join(f"{value:8.1f}" for value in found.values()))


if __name__ == "__main__":
    main()
