"""Measure all that benchmarks/ measures; print a table and write latest.json beside this file.

Usage: python benchmarks/run.py [NAME …], each one of matrix_products, usual_way, extraction, combining, memory, grid,
soft_tree, encoders, sparse, startup; all by default. With names, latest.json is left as it is.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

import combining
import encoders
import extraction
import grid
import matrix_products
import memory
import soft_tree
import sparse
import startup
import usual_way
from lesson import Lesson, digits, validation_digits
from limbeck.precision import has_bfloat16
from limbeck.threads import use_available_cores
from measuring import REPEATS, Entry

LATEST = Path(__file__).with_name("latest.json")


def _matrix_products() -> list[Entry]:
    return matrix_products.entries(Lesson.of(digits()), validation=validation_digits(), repeats=REPEATS)


def _usual_way() -> list[Entry]:
    lesson = Lesson.of(digits())
    return usual_way.entries(lesson, teacher=extraction.convnet(lesson.part), repeats=REPEATS)


BENCHMARKS: dict[str, Callable[[], list[Entry]]] = {
    "matrix_products": _matrix_products,
    "usual_way": _usual_way,
    "extraction": lambda: extraction.entries(digits(extraction.PLAIN_BATCH), repeats=REPEATS),
    "combining": lambda: combining.entries(digits(), repeats=REPEATS),
    "memory": lambda: memory.entries(repeats=REPEATS),
    "grid": lambda: grid.entries(repeats=REPEATS),
    "soft_tree": lambda: soft_tree.entries(Lesson.of(digits()), repeats=REPEATS),
    "encoders": lambda: encoders.entries(repeats=3),
    "sparse": lambda: sparse.entries(repeats=REPEATS),
    "startup": lambda: startup.entries(repeats=REPEATS),
}


def table(entries: list[Entry]) -> Iterator[str]:
    """The lines of the table."""
    width = max(len(entry.name) for entry in entries)
    yield f"{'':{width}}   ratio    lowest…highest    goal"
    for entry in entries:
        sign = "≤" if entry.better == "lower" else "≥"
        goal = "" if entry.goal is None else f"{sign} {entry.goal:g}"
        verdict = {True: "reached", False: "MISSED", None: ""}[entry.reached]
        spread = f"{entry.low:.3g}…{entry.high:.3g}"
        yield f"{entry.name:{width}}  {entry.ratio:6.3g}    {spread:>14}    {goal:7} {verdict:8} {entry.note}".rstrip()


def _load() -> str:
    """How busy the machine is with other work, where the system says."""
    return f", load before {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""


def main(names: list[str]) -> int:
    """Run these benchmarks, or all."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"benchmarks/run.py: no benchmark {unknown[0]!r}: there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    threads, began = use_available_cores(), time.monotonic()
    bfloat16 = "has" if has_bfloat16() else "lacks"
    print(
        f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {bfloat16} bfloat16, {threads} threads, "
        f"torch {torch.__version__}{_load()}"
    )
    entries: list[Entry] = []
    for name in names or BENCHMARKS:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        entries += BENCHMARKS[name]()
    print("\n".join(table(entries)))
    if not has_bfloat16():
        print("left out: the epoch in bfloat16, which this processor does not multiply natively")
    print(f"medians of {REPEATS} repeats; {time.monotonic() - began:.0f} s in all")
    if not names:
        LATEST.write_text(json.dumps([entry.as_json() for entry in entries], indent=2, ensure_ascii=False) + "\n")
        print(f"written: {LATEST}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
