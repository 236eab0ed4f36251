"""That the benchmark of sparse knowledge runs and says what it should, on a vocabulary too small to mean something."""

import math
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import run
import sparse
from limbeck.knowledge.sparse_targets import top_and_tails


@pytest.fixture(scope="module")
def vocabulary():
    return sparse.Vocabulary(classes=300, tokens=60)


def test_it_is_lines_for_bytes_for_the_losses_of_two_students_and_for_speed(vocabulary):
    found = sparse.entries(vocabulary, ks=(4, 50), compared=20, speed_tokens=80, repeats=2)
    assert [entry.goal for entry in found] == [None] * 3 + [114, 114, None, 114] + [None] * 8 + [None, 1.0]
    assert len({entry.name for entry in found}) == len(found)
    assert all(0 < entry.low <= entry.ratio <= entry.high < math.inf for entry in found)


def test_fewer_classes_are_what_would_have_been_kept(vocabulary):
    kept, fewer = vocabulary.targets(5), sparse.fewer(vocabulary.targets(20), 5)
    assert torch.equal(kept.indices, fewer.indices)
    torch.testing.assert_close(kept.tails, fewer.tails)
    whole = top_and_tails(vocabulary.teacher(slice(0, 60)), 5)
    torch.testing.assert_close(whole.values, kept.values, atol=1e-4, rtol=0)


def test_it_is_run_with_the_others():
    assert "sparse" in run.BENCHMARKS
    assert "sparse" in run.__doc__
