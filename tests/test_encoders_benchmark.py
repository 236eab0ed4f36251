"""That the benchmark of encoders runs and says what it should, on sizes too small for any speed to mean something."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import pytest

import encoders
from limbeck.precision import has_bfloat16


@pytest.mark.slow
def test_every_comparison_has_a_line():
    found = encoders.entries(encoders.Size(layers=2, width=16, heads=2, pieces=200, texts=70, words=6), repeats=1)
    assert len(found) == (7 if has_bfloat16() else 4)
    assert all(entry.low == entry.ratio == entry.high > 0 for entry in found)
    assert [entry.goal for entry in found[:2]] == [1.3, 1.8]
    assert "1 of 2 layers" in found[0].name
    assert found[2].note.startswith("padding: ")


def test_texts_are_those_of_the_vocabulary():
    teacher = encoders.teacher_of(encoders.Size(layers=1, width=16, heads=2, pieces=50))
    texts = encoders.texts_of(encoders.Size(pieces=50, texts=5, words=6))
    batch = teacher.tokens.encode(texts)
    assert 1 not in batch.ids  # the unknown piece
    assert set(batch.mask.sum(dim=1).tolist()) != {batch.ids.shape[1]}
