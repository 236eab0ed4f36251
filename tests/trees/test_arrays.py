"""A tree as plain arrays, against what the definitions say, spelt out as loops."""

import math
from itertools import pairwise

import numpy as np
import pytest

from limbeck.errors import UsageError

WAYS = ["path", "greedy", "average"]


@pytest.fixture(scope="module")
def tree(random_tree):
    return random_tree(4, (5,), reached=np.linspace(0, 1, 31))


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(1).normal(size=(200, 5)).astype(np.float32)


def sigmoid(score):
    return 1 / (1 + math.exp(-score))


def leaves_with_probability(tree, one):
    """Each leaf's probability by the definition: the product over its path."""
    found = {}

    def walk(node, probability):
        asked = tree.question[node]
        if asked < 0:
            found[node] = probability
            return
        score = sum(float(w) * float(x) for w, x in zip(tree.weights[asked], one, strict=True)) + float(
            tree.bias[asked]
        )
        walk(int(tree.left[node]), probability * (1 - sigmoid(score)))
        walk(int(tree.right[node]), probability * sigmoid(score))

    walk(0, 1.0)
    return found


def test_greedy_takes_the_likelier_turn_at_every_node(tree, inputs):
    for one, leaf in zip(inputs, tree.leaf_of(inputs, "greedy"), strict=True):
        node = 0
        while tree.question[node] >= 0:
            asked = tree.question[node]
            score = sum(float(w) * float(x) for w, x in zip(tree.weights[asked], one, strict=True))
            node = tree.right[node] if score + float(tree.bias[asked]) > 0 else tree.left[node]
        assert leaf == node == tree.greedy_leaf(one)


def test_the_path_is_that_of_the_most_probable_leaf(tree, inputs):
    for one, leaf in zip(inputs, tree.leaf_of(inputs, "path"), strict=True):
        probabilities = leaves_with_probability(tree, one)
        assert leaf == max(probabilities, key=probabilities.get)


def test_an_average_is_the_mixture_of_all_leaves(tree, inputs):
    found = np.exp(tree.predict_log_probs(inputs[:20], "average"))
    for one, probabilities in zip(inputs, found, strict=False):
        expected = sum(
            p * np.exp(tree.log_probs[tree.leaf[leaf]]) for leaf, p in leaves_with_probability(tree, one).items()
        )
        np.testing.assert_allclose(probabilities, expected, rtol=1e-5)


def test_a_sharpened_average_weighs_leaves_by_a_power_of_their_probabilities(random_tree, inputs):
    tree = random_tree(4, (5,), predict="average", sharpness=2.5)
    for one, log_probs in zip(inputs[:20], tree.predict_log_probs(inputs[:20]), strict=True):
        powers = {leaf: p**2.5 for leaf, p in leaves_with_probability(tree, one).items()}
        expected = sum(power * np.exp(tree.log_probs[tree.leaf[leaf]]) for leaf, power in powers.items())
        np.testing.assert_allclose(np.exp(log_probs), expected / sum(powers.values()), rtol=1e-5)


def test_the_probabilities_of_the_leaves_add_up_to_1_and_each_node_has_those_of_its_children(tree, inputs):
    reach = np.exp(tree.node_log_probs(100 * inputs))
    np.testing.assert_allclose(reach[:, tree.leaf >= 0].sum(axis=1), 1, rtol=1e-12)
    inner = np.flatnonzero(tree.question >= 0)
    np.testing.assert_allclose(reach[:, inner], reach[:, tree.left[inner]] + reach[:, tree.right[inner]], atol=1e-12)


def test_the_other_ways_differ_from_the_greedy_one(table_tree):
    # At the root 0.55 goes left, where 0.5 · 0.55 is the most of a leaf; on the right it is nearly all of 0.45.
    tree = table_tree()
    one = np.array([[2 - math.log(0.55 / 0.45) / 2, 0.0]], np.float32)
    one[0, 1] = -one[0, 0] / 10
    assert tree.leaf_of(one, "greedy").tolist() == [3]
    assert tree.leaf_of(one, "path").tolist() == [6]
    probabilities = np.exp(tree.predict_log_probs(one, "average"))[0]
    assert probabilities[0] == pytest.approx(0.1 + 0.7 * 0.55 / 2, rel=1e-4)


@pytest.mark.parametrize("predict", WAYS)
def test_a_tree_answers_as_it_says(random_tree, inputs, predict):
    tree = random_tree(4, (5,), predict=predict)
    np.testing.assert_array_equal(tree.predict_log_probs(inputs), tree.predict_log_probs(inputs, predict))
    if predict != "average":
        leaves = tree.leaf[tree.leaf_of(inputs)]
        np.testing.assert_array_equal(tree.predict_log_probs(inputs), tree.log_probs[leaves])


def test_the_hard_arrays_walk_to_the_same_class_and_probabilities(tree, inputs):
    hard = tree.hard()
    for one, log_probs in zip(inputs, tree.predict_log_probs(inputs, "greedy"), strict=True):
        node = 0
        while hard["children_left"][node] != -1:
            side = "children_right" if hard["weights"][node] @ one + hard["bias"][node] > 0 else "children_left"
            node = hard[side][node]
        assert hard["label"][node] == log_probs.argmax()
        np.testing.assert_array_equal(hard["value"][node], np.exp(log_probs))


@pytest.mark.parametrize("predict", WAYS)
def test_a_tree_of_one_leaf_always_says_the_same(single_leaf, predict):
    tree = single_leaf((2, 3), predict)
    assert (tree.depth, tree.leaves, tree.levels, tree.path_to(0)) == (0, 1, [], [0])
    np.testing.assert_allclose(np.exp(tree.predict_log_probs(np.ones((5, 2, 3)))), [[0.2, 0.7, 0.1]] * 5, rtol=1e-6)
    assert tree.leaf_of(np.ones((5, 2, 3))).tolist() == [0] * 5
    assert tree.greedy_leaf(np.ones((2, 3))) == 0
    assert tree.hard()["label"].tolist() == [1]


def test_a_path_leads_from_the_root_down(tree):
    for leaf in np.flatnonzero(tree.leaf >= 0):
        path = tree.path_to(int(leaf))
        assert (path[0], path[-1], len(path)) == (0, leaf, tree.depth + 1)
        assert all(child in (tree.left[node], tree.right[node]) for node, child in pairwise(path))


@pytest.mark.parametrize("predict", [None, *WAYS])
def test_inputs_of_another_shape_are_refused_with_both(tree, predict):
    with pytest.raises(UsageError, match=r"the inputs have the shape \(4,\), but the tree takes \(5,\)"):
        tree.predict_log_probs(np.zeros((3, 4)), predict)
