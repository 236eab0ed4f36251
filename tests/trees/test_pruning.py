"""Pruning: fewer leaves, and no more answers changed than the way of answering allows."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import UsageError
from limbeck.trees import TreeArrays
from limbeck.trees.explanation import explain
from limbeck.trees.pruning import changed, prune
from limbeck.trees.text import to_text

WAYS = ["path", "greedy", "average"]


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(7).normal(size=(3000, 6)).astype(np.float32)


def classes(tree, inputs):
    return tree.predict_log_probs(inputs).argmax(axis=1)


def shares(tree, inputs):
    """The share of the rows whose leaf lies below each node."""
    count = np.zeros(len(tree.left))
    for leaf in tree.leaf_of(inputs):
        count[tree.path_to(int(leaf))] += 1
    return count / len(inputs)


def greedy(tree):
    return replace(tree, predict="greedy")


# ---------------------------------------------------------------- by hand


def test_a_side_that_no_row_reaches_gives_way_to_the_other_by_hand(table_tree):
    inputs = np.array([[0, 1], [0, -1], [1, 1], [1, 1]], np.float32)  # to leaves 4, 3, 4, 4: none right of the root
    found = prune(table_tree(), inputs, reach=0.1, agree=False)
    assert (found.leaves_before, found.leaves) == (4, 2)
    tree = found.tree
    assert tree.left.tolist() == [1, -1, -1]
    np.testing.assert_array_equal(tree.weights, [[1, 10]])
    np.testing.assert_array_equal(tree.bias, [0])
    assert tree.reached.tolist() == [1, 0.25, 0.75]
    assert [tree.classes[c] for c in classes(tree, inputs)] == ["b", "a", "b", "b"]


def test_of_two_sides_that_few_rows_reach_the_larger_stays(table_tree):
    inputs = np.array([[0, 1]] * 97 + [[5, 1]] * 2 + [[5, 4]], np.float32)
    found = prune(table_tree(), inputs, reach=0.025, agree=False)
    # Left of the root all go right, so that its question goes; right of it 2 rows and 1: only the 2 rows' leaf stays.
    assert found.leaves == 2
    assert [found.tree.classes[c] for c in classes(found.tree, inputs[[0, 97, 99]])] == ["b", "c", "c"]
    assert found.tree.reached.tolist() == [1, 0.97, 0.03]


def test_leaves_that_agree_become_one_with_the_mean_of_their_rows():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])
    tree = TreeArrays.complete([[1], [1], [1]], [0, 2, -2], np.log(probabilities), (1,), "ab", predict="greedy")
    inputs = np.array([[-3], [-1], [-1], [-1], [1], [3]], np.float32)
    found = prune(tree, inputs, reach=0)
    assert (found.leaves_before, found.leaves) == (4, 3)
    together = found.tree.log_probs[found.tree.leaf[found.tree.left[0]]]
    np.testing.assert_allclose(np.exp(together), [(0.9 + 3 * 0.6) / 4, (0.1 + 3 * 0.4) / 4], rtol=1e-6)
    nobody = prune(tree, inputs[4:], reach=0).tree  # no row gets to the two that agree: equal weights
    np.testing.assert_allclose(np.exp(nobody.log_probs[nobody.leaf[nobody.left[0]]]), [0.75, 0.25], rtol=1e-6)
    assert prune(tree, inputs, reach=0, agree=False).leaves == 4


def test_a_tree_that_always_says_the_same_becomes_one_leaf(rows):
    tree = TreeArrays.complete(
        np.ones((7, 6)), np.zeros(7), np.log([[0.9, 0.1], [0.6, 0.4]] * 4), (6,), "ab", predict="greedy"
    )
    found = prune(tree, rows)
    assert (found.leaves, found.tree.depth, found.tree.reached.tolist()) == (1, 0, [1.0])
    assert changed(tree, found.tree, rows) == 0


# ---------------------------------------------------------------- what can change


@pytest.mark.parametrize("predict", WAYS)
@pytest.mark.parametrize("reach", [0.0, 0.001, 0.02, 0.3, 0.99])
def test_a_pruned_tree_is_whole_and_has_no_node_that_few_rows_reach(random_tree, rows, predict, reach):
    tree = random_tree(6, (6,), 3, predict=predict, scale=3)
    found = prune(tree, rows, reach=reach, agree=False)
    assert found.leaves_before == 64
    assert found.leaves == found.tree.leaves <= 64
    assert (found.tree.predict, found.tree.classes) == (tree.predict, tree.classes)
    np.testing.assert_allclose(found.tree.reached, shares(found.tree, rows))
    if predict == "average":
        assert np.exp(found.tree.node_log_probs(rows)).mean(axis=0).min() >= reach
    else:
        assert found.tree.reached.min() >= reach
    assert set(found.tree.bias) <= set(tree.bias)
    if reach:
        assert found.leaves < 64


@pytest.mark.parametrize("sharpness", [0.5, 3.0])
def test_a_sharpened_average_keeps_what_has_a_share_of_its_answers(random_tree, rows, sharpness):
    tree = random_tree(6, (6,), 3, predict="average", sharpness=sharpness)
    found = prune(tree, rows, reach=0.01, agree=False).tree
    assert 1 < found.leaves < 64
    assert found.leaf_weights(rows)[:, found.leaf >= 0].mean(axis=0).min() >= 0.01
    assert found.sharpness == sharpness


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), depth=st.integers(1, 6), count=st.integers(2, 5))
def test_greedy_classes_stay_where_leaves_agree(random_tree, rows, seed, depth, count):
    tree = random_tree(depth, (6,), count, seed=seed, predict="greedy", scale=3)
    found = prune(tree, rows[:500], reach=0)
    assert changed(tree, found.tree, rows) == 0


def test_greedy_classes_change_only_for_rows_of_what_was_taken_out(random_tree, rows):
    tree = random_tree(7, (6,), 3, predict="greedy", scale=3)
    found = prune(tree, rows, reach=0.005)
    assert found.leaves < 100
    ends = shares(tree, rows)
    different = classes(tree, rows) != classes(found.tree, rows)
    assert different.any()
    assert different.mean() <= sum(ends[(tree.leaf >= 0) & (ends < 0.005)])
    # A leaf of which a row changed is gone: what stays has all its rows.
    for leaf in np.unique(tree.leaf_of(rows)[different]):
        assert any(ends[node] < 0.005 for node in tree.path_to(int(leaf)))


@pytest.mark.parametrize("predict", WAYS)
def test_no_node_that_stays_becomes_less_probable(random_tree, rows, predict):
    tree = random_tree(6, (6,), 3, predict=predict, scale=3)
    found = prune(tree, rows, reach=0.01, agree=False).tree
    before, after = (one.node_log_probs(rows[:100]) for one in (tree, found))
    for leaf in np.flatnonzero(found.leaf >= 0):
        (same,) = np.flatnonzero((tree.log_probs == found.log_probs[found.leaf[leaf]]).all(axis=1))
        (old,) = np.flatnonzero(tree.leaf == same)
        assert (after[:, leaf] >= before[:, old] - 1e-9).all()


@pytest.mark.parametrize("predict", WAYS)
def test_without_anything_to_take_out_the_answers_stay(random_tree, rows, predict):
    tree = random_tree(4, (6,), predict=predict)
    found = prune(tree, rows, reach=0, agree=False)
    assert found.leaves == found.leaves_before
    np.testing.assert_array_equal(found.tree.predict_log_probs(rows), tree.predict_log_probs(rows))
    assert changed(tree, found.tree, rows) == 0


def test_rows_given_another_class_are_counted(table_tree):
    tree = table_tree()
    other = replace(tree, log_probs=tree.log_probs[[0, 0, 2, 3]])
    inputs = np.array([[0, 1], [0, -1], [5, 1]] * 5000, np.float32)
    assert changed(tree, other, inputs) == 5000


@pytest.mark.parametrize("predict", WAYS)
@pytest.mark.parametrize("change", [0.0, 0.01, 0.1])
def test_no_more_classes_change_than_may(random_tree, rows, predict, change):
    tree = random_tree(6, (6,), 3, predict=predict, scale=3)
    found = prune(tree, rows, reach=0.05, change=change)
    assert changed(tree, found.tree, rows) <= change * len(rows)
    assert found.leaves < 64 or change == 0
    np.testing.assert_allclose(found.tree.reached, shares(found.tree, rows))
    assert prune(tree, rows, reach=0.05).leaves <= found.leaves


def test_careful_pruning_ends_where_the_quick_one_does_if_nothing_changes(table_tree):
    inputs = np.array([[0, 1], [0, -1], [1, 1], [1, 1]], np.float32)
    quick, careful = (prune(table_tree(), inputs, reach=0.1, change=change).tree for change in (1.0, 0.0))
    assert quick.to_json() == careful.to_json()


@pytest.mark.parametrize("change", [-0.1, 1.1, float("nan")])
def test_a_change_out_of_range_is_refused(table_tree, change):
    with pytest.raises(UsageError, match=r"change = .*: expected a share of the rows, from 0 to 1"):
        prune(table_tree(), np.zeros((1, 2)), change=change)


# ---------------------------------------------------------------- afterwards


@pytest.mark.parametrize("predict", WAYS)
def test_a_pruned_tree_is_explained_written_and_pruned_again(random_tree, rows, predict):
    tree = prune(random_tree(6, (6,), 3, predict=predict, scale=3), rows, reach=0.01).tree
    assert tree.leaves < 60
    for one in rows[:20]:
        found = explain(tree, one)
        assert found.label == classes(tree, one[np.newaxis])[0]
        if found.counterfactual is not None:
            assert classes(tree, found.counterfactual.changed[np.newaxis])[0] != found.label
    assert to_text(tree).count("class: ") == tree.leaves
    again = TreeArrays.from_json(tree.to_json())
    np.testing.assert_array_equal(again.predict_log_probs(rows), tree.predict_log_probs(rows))
    assert prune(tree, rows, reach=0).leaves <= tree.leaves


@pytest.mark.parametrize("predict", WAYS)
def test_a_single_leaf_stays(single_leaf, predict):
    tree = single_leaf((2,), predict)
    found = prune(tree, np.zeros((4, 2)))
    assert (found.leaves_before, found.leaves) == (1, 1)
    assert found.tree.reached.tolist() == [1]
    np.testing.assert_array_equal(found.tree.log_probs, tree.log_probs)


@pytest.mark.parametrize("reach", [-0.1, 1, 2, float("nan")])
def test_a_reach_out_of_range_is_refused(table_tree, reach):
    with pytest.raises(UsageError, match=r"reach = .*: expected a share of the rows, from 0 up to below 1"):
        prune(table_tree(), np.zeros((1, 2)), reach=reach)


def test_no_rows_are_refused(table_tree):
    with pytest.raises(UsageError, match="there are no rows to prune with"):
        prune(table_tree(), np.zeros((0, 2)))
