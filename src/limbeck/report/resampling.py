"""Confidence intervals by the bootstrap: over test rows within a run, over test rows and seeds of several runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

REPLICATES = 400
_SEED_DRAWS = 20  # of the runs, for each replicate of the test rows
_TAIL = 0.025

Fraction = tuple[float, float]
"""What is divided, and by what."""


def resampled_correct(correct: npt.NDArray[np.bool_], stream: int = 0) -> npt.NDArray[np.float64]:
    """How often each model is right on the test rows as they are, and on rows drawn from them with replacement.

    The draws depend on the number of rows and on the stream alone, so that a replicate has the same rows in the runs
    of all seeds.

    Args:
        correct: shape (models, rows), whether a model is right on a row.
        stream: of the draws; other rows, of another task, are to have another one.

    Returns:
        Shape (models, 1 + REPLICATES), whole numbers; the first column is of the rows as they are.
    """
    rows = correct.shape[1]
    # Of a bit generator, unlike of the methods that draw from one, numpy promises the same stream in every version.
    # The remainder of 64 bits favours no row by more than rows / 2⁶⁴.
    bits = np.random.PCG64([rows, stream] if stream else rows)
    right = correct.T.astype(np.float64)  # whole numbers below 2⁵³, whose sums are exact in any order
    found = [right.sum(axis=0)]
    for _ in range(REPLICATES):
        drawn = (bits.random_raw(rows) % np.uint64(rows)).astype(np.int64)
        found.append(np.bincount(drawn, minlength=rows).astype(np.float64) @ right)
    return np.stack(found, axis=1)


def pooled(fractions: Sequence[Sequence[float]]) -> float | None:
    """The sum of what is divided over the sum of what it is divided by; None where that is not above 0.

    Args:
        fractions: of each run.
    """
    above, below = (math.fsum(fraction[part] for fraction in fractions) for part in (0, 1))
    return above / below if below > 0 else None


def interval(runs: Sequence[Sequence[Sequence[float]]]) -> tuple[float, float]:
    """The 95% percentile interval of the runs' pooled fraction.

    Each replicate draws test rows, the same in all runs, and runs, both with replacement (Owen 2007, "The pigeonhole
    bootstrap"). Where what it divides by is not above 0, the fraction has no bound: it is counted as infinite, above
    where something was gained and below where not.

    Args:
        runs: of each run, in any order, the fraction in each replicate: shape (runs, replicates, 2). Replicates that
            some run lacks are left out.

    Returns:
        The lower end and the upper; either may be infinite.
    """
    replicates = min(map(len, runs))
    table = np.array(sorted([list(pair) for pair in run[:replicates]] for run in runs), dtype=np.float64)
    draws = np.random.PCG64(len(runs)).random_raw(replicates * _SEED_DRAWS * len(runs)) % np.uint64(len(runs))
    chosen = draws.astype(np.int64).reshape(replicates, _SEED_DRAWS, len(runs))
    above, below = np.moveaxis(table[chosen, np.arange(replicates)[:, None, None]].sum(axis=2), -1, 0)
    unbounded = np.where(above > 0, np.inf, -np.inf)
    values = np.sort(np.where(below > 0, above / np.where(below > 0, below, 1.0), unbounded), axis=None)
    outside = math.floor(_TAIL * (len(values) - 1))  # no interpolation, which infinite values have not
    return float(values[outside]), float(values[-1 - outside])
