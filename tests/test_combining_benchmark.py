"""That the benchmark of combined teachers runs and says what it should, on sizes too small to mean something."""

import math
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import combining
import run
from extraction import convnet
from lesson import digits
from limbeck.knowledge import combined

TINY = {"widths": (2, 2, 2), "hidden": 4}


def test_combining_is_two_lines_for_each_student_and_one_for_a_further_teacher():
    found = combining.entries(digits(96), teachers=2, views=1, small=(8, 8), batch=32, repeats=1, **TINY)
    assert [entry.goal for entry in found] == [1.1, 1.1, None, 1.1, None]
    assert len({entry.name for entry in found}) == 5
    assert all(0 < entry.low <= entry.ratio <= entry.high < math.inf for entry in found)


def test_what_is_measured_is_the_mean_of_what_was_recorded(tmp_path):
    part = digits(40)
    recorded = combining.Recorded(tmp_path, part, 3, 2, convnet(part, **TINY))
    (inputs, one), (same, several) = recorded.read(1), recorded.read(3)
    np.testing.assert_array_equal(inputs, same)
    assert (inputs.shape, one.dtype, several.dtype) == ((2, 40, 28, 28), np.float16, np.float32)
    np.testing.assert_allclose(several, combined([one] * 3, 4.0), atol=1e-2)
    assert recorded.extraction_seconds > 0


def test_it_is_run_with_the_others():
    assert "combining" in run.BENCHMARKS
    assert "combining" in run.__doc__
