"""A soft decision tree: its epoch against its matrix products, the greedy path against all questions."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from lesson import Lesson
from limbeck.models import SoftDecisionTree
from limbeck.precision import Precision, has_bfloat16
from matrix_products import Between
from measuring import Entry, in_turns, seconds_of

DEPTH, BATCH = 8, 256
EPOCH_GOAL, MICROSECONDS = 3.0, 50.0
ROWS = 500  # answered together


def products(depth: int, features: int, classes: int, batch: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """One step's matrix products in float32, as `matrix_products.products` gives them.

    The questions' scores and the gradient of their weights; the leaves' mean and its two gradients.
    """
    inner, leaves = 2**depth - 1, 2**depth
    rows, weights, scores = torch.randn(batch, features), torch.randn(inner, features), torch.randn(inner, batch)
    reach, logits, answers = torch.randn(leaves, batch), torch.randn(leaves, classes), torch.randn(batch, classes)
    return [
        (weights, rows.t(), torch.empty(inner, batch)),
        (scores, rows, torch.empty(inner, features)),
        (reach.t(), logits, torch.empty(batch, classes)),
        (reach, answers, torch.empty(leaves, classes)),
        (logits, answers.t(), torch.empty(leaves, batch)),
    ]


def entries(lesson: Lesson, *, depth: int = DEPTH, batch: int = BATCH, repeats: int = 5) -> list[Entry]:
    """The epoch, in each precision that the processor is good at, and the greedy path.

    Args:
        lesson: what is learnt.
        depth: of the tree.
        batch: rows in a step.
        repeats: of the measurement.
    """
    found = [_epoch(lesson, depth, batch, repeats, "float32")]
    if has_bfloat16():
        found.append(_epoch(lesson, depth, batch, repeats, "bfloat16"))
    return [*found, *_answers(lesson, depth, repeats)]


def tree_for(lesson: Lesson, depth: int) -> SoftDecisionTree:
    """An untrained tree, the same every time, sharp as those of the recipe `soft-tree`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tree = SoftDecisionTree(lesson.part.inputs.shape[1:], len(lesson.part.classes), depth, sharpness=2.0)
    tree.preprocessing.fit(lesson.part.inputs[:5000])
    return tree


def _epoch(lesson: Lesson, depth: int, batch: int, repeats: int, precision: Precision) -> Entry:
    operands = products(depth, lesson.part.inputs[0].size, len(lesson.part.classes), batch)
    # The epoch's last batch is smaller: what whole batches take is scaled to its rows.
    scale = len(lesson.part) / (-(-len(lesson.part) // batch) * batch)

    def once() -> tuple[float, float]:
        tree, between = tree_for(lesson, depth), Between(operands)
        seconds = seconds_of(lambda: lesson.train(tree, batch, precision=precision, progress=between))
        return seconds - between.seconds, between.seconds * scale

    once()
    pairs = [once() for _ in range(repeats)]
    epoch, bare = (statistics.median(seconds) for seconds in zip(*pairs, strict=True))
    return Entry.of(
        f"epoch of a soft tree of depth {depth}, batch {batch}, {precision} / bare float32 products",
        [above / below for above, below in pairs],
        EPOCH_GOAL,
        "lower",
        f"epoch {epoch:.2f} s, products {bare:.2f} s",
    )


def _answers(lesson: Lesson, depth: int, repeats: int) -> list[Entry]:
    greedy = tree_for(lesson, depth).answering("greedy")
    path = greedy.answering("path")
    arrays = greedy.to_numpy()
    rows = np.resize(lesson.part.inputs, (ROWS, *lesson.part.inputs.shape[1:]))
    one, many = torch.from_numpy(rows[:1].copy()), torch.from_numpy(rows)

    def numpys(way: str, inputs: np.ndarray) -> Callable[[], object]:
        return lambda: arrays.predict_log_probs(inputs, way)  # type: ignore[arg-type]

    found = []
    for name, all_questions, on_the_path in (
        ("torch, one input", _asked(path, one), _asked(greedy, one)),
        (f"torch, {ROWS} inputs", _asked(path, many), _asked(greedy, many)),
        ("numpy, one input", numpys("path", rows[:1]), lambda: arrays.greedy_leaf(rows[0])),
        (f"numpy, {ROWS} inputs", numpys("path", rows), numpys("greedy", rows)),
    ):
        turns = in_turns(_timed(all_questions), _timed(on_the_path), repeats=repeats)
        note = f"{turns.median(0) * 1e6:,.1f} µs, by the path alone {turns.median(1) * 1e6:,.1f} µs"
        found.append(
            Entry.of(
                f"all questions of depth {depth} / the greedy path's, {name}", turns.ratios(0, 1), None, "higher", note
            )
        )
    times = [_timed(lambda: arrays.greedy_leaf(rows[0]))() * 1e6 for _ in range(repeats)]
    name = f"greedy answer of one input in numpy / {MICROSECONDS:g} µs"
    note = f"{statistics.median(times):.1f} µs"
    return [*found, Entry.of(name, [time / MICROSECONDS for time in times], 1.0, "lower", note)]


def _asked(tree: nn.Module, inputs: Tensor) -> Callable[[], object]:
    def ask() -> object:
        with torch.inference_mode():
            return tree(inputs)

    return ask


def _timed(action: Callable[[], object], at_least: float = 0.05) -> Callable[[], float]:
    """Seconds of one call, of as many as fit."""

    def measure() -> float:
        began, calls = time.perf_counter(), 0
        while (taken := time.perf_counter() - began) < at_least or not calls:
            action()
            calls += 1
        return taken / calls

    return measure
