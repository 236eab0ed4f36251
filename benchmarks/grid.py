"""A run with a grid of sixteen small students, divided by a run of one: what they share is paid once."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import Entry, in_turns, seconds_of

GOAL = 12.0
TEMPERATURES = [1 + number / 2 for number in range(16)]
COMMAND = (sys.executable, "-m", "limbeck", "run")
TEACHER = 'model = { kind = "mlp", widths = [64, 64] }\ntrain = { epochs = 2, batch_size = 512 }'
RECIPE = """
title = "Grid"

[data]
source = "mnist"
validation = 5000

[[teacher]]
name = "teacher"
@teacher

[[student]]
name = "2x30"
model = { kind = "mlp", widths = [30, 30] }
train = { epochs = @epochs, batch_size = 512 }
baseline = false
"""


def entries(*, repeats: int = 5, epochs: int = 5) -> list[Entry]:
    """One entry; each repeat is two commands on a teacher and knowledge that are there already.

    Args:
        repeats: how many to count.
        epochs: of each student.
    """
    with tempfile.TemporaryDirectory() as folder:
        runs, seeds = Path(folder), itertools.count(1)

        def run(teacher: str, seed: int, *sets: str) -> None:
            recipe = runs / "grid.toml"
            recipe.write_text(RECIPE.replace("@teacher", teacher).replace("@epochs", str(epochs)))
            changes = [word for change in sets for word in ("--set", change)]
            options = [str(recipe), "--out", str(runs / str(seed)), "--seed", str(seed), *changes]
            subprocess.run([*COMMAND, *options], check=True, capture_output=True)

        run(TEACHER, 0)
        # Given by its path it is the same for every seed, and so is what it knows of the inputs as they are.
        given = f'from = "{(runs / "0" / "models" / "teacher" / "teacher").resolve()}"'
        grid = f'student.2x30.grid={{"distill.temperature" = {TEMPERATURES}}}'
        turns = in_turns(
            lambda: seconds_of(lambda: run(given, next(seeds))),
            lambda: seconds_of(lambda: run(given, next(seeds), grid)),
            repeats=repeats,
        )
    note = f"{turns.median(1):.1f} s by {statistics.median(turns.seconds[0]):.1f} s, {epochs} epochs each"
    return [Entry.of("a run of a grid of sixteen 2×30 / of one", turns.ratios(1, 0), GOAL, "lower", note)]
