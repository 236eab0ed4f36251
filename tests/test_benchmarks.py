"""That the benchmarks still run and say what they should, on sizes too small for any speed to mean something."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(FOLDER))

import extraction  # noqa: E402
import grid  # noqa: E402
import matrix_products  # noqa: E402
import measuring  # noqa: E402
import memory  # noqa: E402
import run  # noqa: E402
import soft_tree  # noqa: E402
import startup  # noqa: E402
import usual_way  # noqa: E402
from lesson import Lesson, digits  # noqa: E402
from limbeck.precision import has_bfloat16  # noqa: E402

REPEATS = 2


@pytest.fixture(scope="module")
def lesson():
    return Lesson.of(digits(96), views=2)


def check(entries, count):
    assert len(entries) == count
    for entry in entries:
        said = json.loads(json.dumps(entry.as_json()))
        assert list(said) == ["name", "ratio", "low", "high", "goal", "better"]
        assert 0 < said["low"] <= said["ratio"] <= said["high"] < math.inf
        assert said["goal"] is None or said["goal"] > 0
        assert said["better"] in ("lower", "higher")
    assert len({entry.name for entry in entries}) == count


def test_a_soft_tree_is_an_epoch_in_each_precision_and_five_lines_of_answers(lesson):
    epochs = 1 + has_bfloat16()
    check(soft_tree.entries(lesson, depth=2, batch=32, repeats=REPEATS), epochs + 5)


def test_an_epoch_against_its_matrix_products_is_an_entry_for_each_precision(lesson):
    entries = matrix_products.entries(
        lesson,
        widths=(8, 8),
        batch=32,
        repeats=REPEATS,
        precisions=("float32", "bfloat16"),
        validation=lesson.part,
    )
    check(entries, 2)
    assert [entry.goal for entry in entries] == [1.2, 0.75]
    assert "errors after" in entries[1].note


def test_the_bare_products_are_those_of_a_training_step():
    products = list(matrix_products.products((784, 800, 800, 10), 512))
    multiplications = [left.shape[0] * left.shape[1] * right.shape[1] for left, right, _ in products]
    forward = [784 * 800, 800 * 800, 800 * 10]
    assert sum(multiplications) == 512 * (2 * sum(forward) + sum(forward[1:]))


def test_the_usual_way_is_two_entries_for_each_student(lesson):
    teacher = extraction.convnet(lesson.part, widths=(2, 2, 2), hidden=4)
    entries = usual_way.entries(
        lesson, teacher=teacher, students=((8, 8), (30, 30)), batch=16, steps=2, repeats=REPEATS
    )
    check(entries, 4)
    assert [entry.goal for entry in entries] == [None, None, 15.0, None]


def test_a_random_affine_map_moves_the_image_and_keeps_its_shape(lesson):
    plain, label = usual_way.Digits(lesson.part, augment=False)[0]
    moved, same_label = usual_way.Digits(lesson.part, augment=True)[0]
    assert plain.shape == moved.shape == (1, 28, 28)
    assert label == same_label == lesson.part.labels[0]
    assert not np.array_equal(plain, moved)
    assert float(moved.sum()) == pytest.approx(float(plain.sum()), rel=0.4)


def test_extraction_is_an_entry_and_both_ways_give_the_same_answers(lesson):
    model = extraction.convnet(lesson.part, widths=(4, 4, 4), hidden=8)
    check(extraction.entries(lesson.part, model=model, plain_batch=48, repeats=REPEATS), 1)
    plainly = extraction.ask_plainly(extraction.PlainConvNet(model).eval(), lesson.part.inputs, 48)
    as_limbeck = extraction.log_probabilities(extraction.TorchTeacher(model, precision="float32"), lesson.part.inputs)
    np.testing.assert_allclose(np.exp(plainly), np.exp(as_limbeck), atol=1e-5)


def test_memory_is_an_entry():
    check(memory.entries(rows=256, views=1, repeats=1), 1)


def test_startup_is_an_entry():
    check(startup.entries(repeats=1), 1)


def test_the_table_says_what_was_reached_and_what_was_missed():
    entries = [
        measuring.Entry.of("a / b", [1.0, 1.1, 1.3], 1.2, "lower", "a note"),
        measuring.Entry.of("c / d", [2.0], 4.0, "higher"),
        measuring.Entry.of("e / f", [2.0], None, "higher"),
    ]
    _, first, second, third = run.table(entries)
    assert first.split() == ["a", "/", "b", "1.1", "1…1.3", "≤", "1.2", "reached", "a", "note"]
    assert second.split() == ["c", "/", "d", "2", "2…2", "≥", "4", "MISSED"]
    assert third.split() == ["e", "/", "f", "2", "2…2"]


def test_an_unknown_benchmark_is_named(capsys):
    assert run.main(["extract"]) == 2
    assert "no benchmark 'extract'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_grid_is_compared_with_one_student(monkeypatch):
    monkeypatch.setattr(grid, "TEMPERATURES", [2.0, 4.0])
    (entry,) = grid.entries(repeats=1, epochs=1)
    check([entry], 1)
    assert entry.goal == 12
