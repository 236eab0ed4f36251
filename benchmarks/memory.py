"""Memory while training from knowledge: the highest in the sixth epoch, divided by the highest in the second."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from measuring import Entry

EPOCHS = 6
EARLY = 2  # by then everything has been allocated once
GOAL = 1.02
WIDTHS = (128, 128)
BATCH = 128


def resident_bytes() -> int:
    """What this process holds in memory now; where the system does not say, the most it ever held."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Watch:
    """Told by the training loop how far it is, it notes the highest memory in each epoch.

    Args:
        epochs: how many there will be.
    """

    def __init__(self, epochs: int) -> None:
        self.peaks = [0] * epochs
        self.total = 1

    def line(self, text: str) -> None:
        """Nothing to note."""

    def start(self, title: str, total: int) -> None:
        """Training begins."""
        self.total = total

    def at(self, done: int, note: str = "") -> None:
        """Note the memory held now."""
        epoch = min((done - 1) * len(self.peaks) // self.total, len(self.peaks) - 1)
        self.peaks[epoch] = max(self.peaks[epoch], resident_bytes())

    def end(self, note: str = "") -> None:
        """Nothing to note."""


def measure(rows: int | None, views: int) -> dict[str, float]:
    """Train in this process; bytes at the two epochs' peaks and bytes of what has to be held."""
    from lesson import Lesson, digits

    lesson = Lesson.of(digits(rows), views)
    watch = Watch(EPOCHS)
    student = lesson.student(WIDTHS)
    validation = lesson.part.take(np.arange(len(lesson.part) // 11))
    lesson.train(student, BATCH, epochs=EPOCHS, validation=validation, progress=watch)
    weights = sum(parameter.nbytes for parameter in student.parameters())
    # Weights, their gradients, two moments, and the best epoch's weights.
    return {"early": watch.peaks[EARLY - 1], "late": watch.peaks[-1], "needed": lesson.nbytes + 5 * weights}


def entries(*, rows: int | None = None, views: int = 12, repeats: int = 5) -> list[Entry]:
    """One entry, each repeat in a process of its own: memory that another benchmark freed would hide growth.

    Args:
        rows: training rows; all by default.
        views: in which knowledge has them.
        repeats: of the measurement.
    """
    command = [sys.executable, __file__, json.dumps({"rows": rows, "views": views})]
    found = []
    for _ in range(repeats):
        process = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(json.loads(process.stdout))
    growth = max(each["late"] - each["early"] for each in found)
    needed = found[0]["needed"]
    return [
        Entry.of(
            f"memory while training from knowledge: epoch {EPOCHS} / epoch {EARLY}",
            [each["late"] / each["early"] for each in found],
            GOAL,
            "lower",
            f"grows by at most {growth / 2**20:.1f} MB, {growth / needed:.2%} of the "
            f"{needed / 2**20:.0f} MB of inputs, knowledge and model; {found[0]['late'] / 2**20:.0f} MB in all",
        )
    ]


if __name__ == "__main__":
    from limbeck.threads import use_available_cores

    use_available_cores()
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
