import math

import numpy as np
import pytest

from limbeck.report.resampling import REPLICATES, interval, pooled, resampled_correct


def test_the_first_count_is_of_the_rows_as_they_are() -> None:
    correct = np.array([[True, False, True, True], [False, False, False, True], [True] * 4, [False] * 4])
    found = resampled_correct(correct)
    assert found.shape == (4, 1 + REPLICATES)
    assert found[:, 0].tolist() == [3, 1, 4, 0]
    assert (found[2] == 4).all()
    assert (found[3] == 0).all()
    assert (found[1] <= found[0]).all()  # right on the last row alone, on which the first is right, too


def test_counts_of_replicates_are_spread_as_draws_with_replacement_are() -> None:
    correct = np.arange(1000) < 900
    replicates = resampled_correct(correct[None])[0, 1:]
    assert abs(replicates.mean() - 900) < 3 * math.sqrt(90 / REPLICATES)
    assert replicates.std() == pytest.approx(math.sqrt(1000 * 0.9 * 0.1), rel=0.1)


def test_draws_stay_as_they_are() -> None:
    # Results of several versions are compared replicate by replicate.
    assert resampled_correct(np.arange(100)[None] < 50)[0, 1:6].tolist() == [53.0, 49.0, 51.0, 53.0, 52.0]


def test_a_share_of_all_runs_is_that_of_their_sums() -> None:
    assert pooled([[1, 2], [3, 4]]) == pytest.approx(4 / 6)
    assert pooled([[1, 2], [3, -1]]) == 4
    assert pooled([[1, 2], [3, -2]]) is None


def test_replicates_that_some_run_lacks_are_left_out() -> None:
    assert interval([[[1, 2]] * 10 + [[9, 1]] * 10, [[1, 2]] * 10]) == (0.5, 0.5)


def test_seeds_are_drawn_as_well_as_rows() -> None:
    """Two runs that rows do not change: each is drawn twice in a quarter of the draws."""
    assert interval([[[0, 1]] * 50, [[1, 1]] * 50]) == (0, 1)
