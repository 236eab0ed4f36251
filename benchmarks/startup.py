"""How long the command takes to say what it can do, divided by half a second."""

from __future__ import annotations

import statistics
import subprocess
import sys

from measuring import Entry, seconds_of

HALF_A_SECOND = 0.5
COMMAND = (sys.executable, "-c", "from limbeck.__main__ import main; main()", "--help")


def entries(*, repeats: int = 5) -> list[Entry]:
    """One entry, each repeat a fresh process; one before them brings the files into memory."""

    def once() -> float:
        return seconds_of(lambda: subprocess.run(COMMAND, stdout=subprocess.DEVNULL, check=True))

    once()
    found = [once() for _ in range(repeats)]
    return [
        Entry.of(
            "limbeck --help / 0.5 s",
            [seconds / HALF_A_SECOND for seconds in found],
            1.0,
            "lower",
            f"{statistics.median(found):.2f} s",
        )
    ]
