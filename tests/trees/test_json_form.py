"""A tree through JSON and back: every bit of a whole one, nothing of a damaged one."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import LimbeckError
from limbeck.trees import TreeArrays

ARRAYS = ("left", "right", "weights", "bias", "question", "leaf", "log_probs", "reached", "centre", "spread")


def assert_same(one, other):
    for name in ARRAYS:
        first, second = getattr(one, name), getattr(other, name)
        assert first.dtype == second.dtype
        assert first.shape == second.shape
        assert first.tobytes() == second.tobytes(), name
    for name in ("input_shape", "classes", "predict", "sharpness"):
        assert getattr(one, name) == getattr(other, name)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), depth=st.integers(0, 3), scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e6]))
def test_json_gives_back_every_bit(random_tree, seed, depth, scale):
    tree = random_tree(depth, (2, 3), seed=seed, scale=scale, predict="greedy")
    assert_same(TreeArrays.from_json(tree.to_json()), tree)


def test_json_keeps_what_was_counted_and_measured(random_tree):
    random = np.random.default_rng(0)
    tree = random_tree(
        2, (3,), reached=random.random(7), centre=random.random(3), spread=random.random(3), sharpness=1.7
    )
    assert_same(TreeArrays.from_json(tree.to_json()), tree)
    assert "NaN" not in random_tree(2, (3,)).to_json()  # which is no JSON to others


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"limbeck": "knowledge"}, 'expected JSON with "limbeck": "soft decision tree"'),
        ({"format": 2}, "the tree has format 2, this one reads 1: update limbeck"),
        ({"predict": "gready"}, 'predict = "gready": expected one of path, greedy, average'),
        ({"weights": None}, "the tree is not whole"),
        ({"weights": [[1, 2], [3]]}, "the tree is not whole"),
        ({"weights": [[1, 2]]}, "not whole"),
        ({"weights": [[1, 2], [3, 4], [5, math.nan]]}, "the tree's weights are not all finite"),
        ({"bias": [0, 1, 1e39]}, "the tree's bias are not all finite"),
        ({"bias": [0, 1, "two"]}, "could not convert"),
        ({"left": [1, 3, 5, -1, -1, -1, 10**30]}, "the tree is not whole: Python int too large"),
        ({"left": [1, 3, 5, -1, -1, -1, 3]}, "a leaf of the tree has a child"),
        ({"left": [1, 3, 3, -1, -1, -1, -1]}, "not each the child of one that comes before"),
        ({"left": [2, 3, 5, -1, -1, -1, -1], "right": [2, 4, 6, -1, -1, -1, -1]}, "not each the child of one"),
        ({"left": [0, 3, 5, -1, -1, -1, -1]}, "not each the child of one"),
        ({"question": [0, 1, 1, -1, -1, -1, -1]}, "not each in one place"),
        ({"question": [0, 1, -1, 2, -1, -1, -1]}, "not each the child of one"),
        ({"leaf": [-1, -1, -1, 0, 1, 2, 7]}, "not each in one place"),
        ({"log_probs": [[0.0, 0.0]] * 4}, "the probabilities of a leaf do not add up to 1"),
        ({"log_probs": [[0.0]] * 4}, "the leaves have the shape (4, 1) for 2 classes"),
        ({"classes": ["a", "b", "c"]}, "for 3 classes"),
        ({"reached": [2.0] + [None] * 6}, "a share of the rows outside 0 to 1"),
        ({"sharpness": 0}, "sharpness = 0.0: expected a number above 0"),
        ({"centre": [0.0]}, "centre has the shape (1,)"),
        ({"spread": [[1.0, 1.0]]}, "spread has the shape (1, 2)"),
        ({"input_shape": [3]}, "not whole"),
        ({"input_shape": "wide"}, "the tree is not whole"),
        ({"input_shape": [math.inf]}, "the tree is not whole"),
    ],
)
def test_a_damaged_tree_is_refused_in_one_line(random_tree, changes, says):
    whole = json.loads(random_tree(2, (2,), classes=2).to_json())
    with pytest.raises(LimbeckError) as error:
        TreeArrays.from_json(json.dumps({**whole, **changes}))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_tree_that_lacks_something_is_refused_by_its_name(random_tree):
    whole = json.loads(random_tree(2, (2,)).to_json())
    for name in (*ARRAYS, "input_shape", "classes", "predict", "sharpness"):
        with pytest.raises(LimbeckError, match=f"the tree is not whole: '{name}' is missing"):
            TreeArrays.from_json(json.dumps({key: value for key, value in whole.items() if key != name}))


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "[" * 100_000])
def test_what_is_no_tree_is_refused_in_one_line(text):
    with pytest.raises(LimbeckError, match=r"^this is no tree") as error:
        TreeArrays.from_json(text)
    assert "\n" not in str(error.value)


def test_json_cut_anywhere_is_refused(random_tree):
    text = random_tree(1, (2,)).to_json()
    for length in range(len(text)):
        with pytest.raises(LimbeckError):
            TreeArrays.from_json(text[:length])
