"""The least change that leads to another class: it does, and none that is smaller would."""

import math
from dataclasses import replace

import numpy as np
import pytest

from limbeck.trees import TreeArrays, explain
from limbeck.trees.counterfactual import FeatureChange

WAYS = ["path", "greedy", "average"]


def test_the_smallest_change_of_a_table_by_hand(table_tree):
    one = np.array([1.0, 1.0], np.float32)
    change = explain(table_tree(), one, features=["width", "height"]).counterfactual
    assert isinstance(change, FeatureChange)
    assert (change.feature, change.column, change.before, change.name) == ("width", 0, 1, "c")
    assert 2 < change.after < 2.001
    # In units of spread, the border of the other feature, at -0.1, is nearer.
    change = explain(table_tree(spread=[1, 2]), one, features=["width", "height"]).counterfactual
    assert (change.feature, change.name, change.size) == ("height", "a", pytest.approx(0.55, rel=1e-3))
    assert -0.101 < change.after < -0.1


@pytest.mark.parametrize("predict", WAYS)
def test_no_smaller_change_of_one_feature_leads_elsewhere(random_tree, predict):
    random = np.random.default_rng(5)
    tree = random_tree(4, (3,), predict=predict, scale=2)
    for one in random.normal(size=(25, 3)).astype(np.float32):
        found = explain(tree, one)
        size = 16.0 if found.counterfactual is None else found.counterfactual.size
        by = np.linspace(0, size - 1e-4, 800) if predict == "greedy" else size * np.linspace(0.5, 0.995, 40)
        tried = np.repeat(one[np.newaxis], 6 * len(by), axis=0)
        for number, (column, sign) in enumerate((column, sign) for column in range(3) for sign in (1, -1)):
            tried[number * len(by) : (number + 1) * len(by), column] += sign * by
        elsewhere = tree.predict_log_probs(tried).argmax(axis=1) != found.label
        # Off the greedy path, a class may hide between two of the amounts tried.
        assert not elsewhere.any() if predict == "greedy" else elsewhere.mean() < 0.02


def test_whole_numbers_of_a_table_stay_whole(random_tree, assert_leads_elsewhere):
    tree = random_tree(4, (5,), predict="path", scale=0.05)
    random = np.random.default_rng(0)
    for one in random.integers(0, 256, (20, 5), dtype=np.uint8):
        found = explain(tree, one)
        change = found.counterfactual
        everything = np.repeat(one[np.newaxis], 5 * 256, axis=0)
        everything[np.arange(5 * 256), np.repeat(np.arange(5), 256)] = np.tile(np.arange(256), 5)
        elsewhere = tree.predict_log_probs(everything).argmax(axis=1) != found.label
        sizes = np.abs(everything.astype(int) - one).sum(axis=1)[elsewhere]
        assert (change is None) == (not len(sizes[sizes <= 16]))
        if change is not None:
            assert_leads_elsewhere(change, tree, one)
            assert change.size == sizes.min()


def test_a_feature_that_never_varied_is_not_changed(table_tree):
    change = explain(table_tree(spread=[0, 1]), np.array([1.0, 1.0])).counterfactual
    assert change.feature == "feature 1"
    assert explain(table_tree(spread=[0, 0]), np.array([1.0, 1.0])).counterfactual is None


@pytest.mark.parametrize("predict", WAYS)
@pytest.mark.parametrize("shape", [(6, 6), (1, 5, 5), (3, 4, 4)])
def test_an_image_s_pixels_stay_in_its_own_range(random_tree, assert_leads_elsewhere, predict, shape):
    tree = random_tree(4, shape, predict=predict, scale=3)
    random = np.random.default_rng(2)
    found = 0
    for one in random.uniform(-0.5, 1, (10, *shape)).astype(np.float32):
        change = explain(tree, one).counterfactual
        if change is not None:
            found += 1
            assert_leads_elsewhere(change, tree, one)
            assert change.changed.shape == shape
            assert one.min() <= change.changed.min()
            assert change.changed.max() <= one.max()
    assert found > 5


def test_an_image_s_least_move_by_hand():
    # Right, and so white, where 3·x0 − 4·x1 − 100 > 0; the last pixel says how bright the image may be. The move
    # (3, −4)·t adds 25·t to the score.
    tree = TreeArrays.complete(
        [[3, -4, 0]], [-100], np.log([[0.9, 0.1], [0.2, 0.8]]), (1, 3), ["black", "white"], predict="greedy"
    )
    change = explain(tree, np.array([[30, 40, 255]], np.uint8)).counterfactual
    # The score is −170: t = 6.8 moves the pixels by 20.4 and −27.2, but whole ones must do more.
    assert (change.name, change.pixels, change.node) == ("white", 2, 0)
    assert change.changed.tolist() == [[51, 13, 255]]
    assert change.norm == pytest.approx(math.hypot(21, 27))
    change = explain(tree, np.array([[255, 0, 255]], np.uint8)).counterfactual
    assert change.name == "black"
    assert change.changed[0, 1] > 100  # 665 are to be taken away, against a bound of neither pixel


def test_pixels_go_no_further_than_the_image_s_own(random_tree):
    tree = random_tree(4, (4, 4), 3)
    for one in np.random.default_rng(3).integers(0, 17, (20, 4, 4), dtype=np.uint8):  # as digits are
        if (change := explain(tree, one).counterfactual) is not None:
            assert change.changed.max() <= one.max()


def test_without_a_change_that_leads_elsewhere_it_is_said(table_tree, single_leaf):
    found = explain(table_tree(), np.array([1e6, -1e6]))
    assert found.counterfactual is None
    assert found.text().splitlines()[-1] == "no small change was found that leads to another class"
    black = explain(single_leaf((4, 4)), np.zeros((4, 4), np.uint8))
    assert black.counterfactual is None


@pytest.mark.parametrize("predict", WAYS)
@pytest.mark.parametrize("shape", [(16,), (4, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_tree_that_always_says_the_same_cannot_be_led_elsewhere(random_tree, predict, shape, dtype):
    tree = random_tree(3, shape, predict=predict)
    tree = replace(tree, log_probs=np.repeat(tree.log_probs[:1], 8, axis=0))
    assert explain(tree, np.arange(16).reshape(shape).astype(dtype)).counterfactual is None
