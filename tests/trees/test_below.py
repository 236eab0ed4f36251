"""What lies below each node, of a tree worked out by hand: 0 asks of (1, 2), 1 of leaves a and b, 2 of b and c."""

import numpy as np

from limbeck.trees.below import classes_below, classes_by_share, leaves_below


def test_leaves_are_counted_below_each_node(table_tree, single_leaf):
    assert leaves_below(table_tree()).tolist() == [4, 2, 2, 1, 1, 1, 1]
    assert leaves_below(single_leaf()).tolist() == [1]


def test_classes_of_leaves_that_no_row_reached_are_left_out(table_tree):
    tree = table_tree(reached=[1, 1, 0, 1, 0, 0, 0])
    below = classes_below(tree)
    assert below[0].tolist() == [True, False, False]
    assert below[1].tolist() == [True, False, False]
    assert below[2].tolist() == [False, True, True]  # else nothing would remain
    np.testing.assert_array_equal(classes_below(table_tree())[0], [True, True, True])


def test_the_leaf_of_an_answer_counts_whoever_reached_it(table_tree):
    tree = table_tree(reached=[1, 1, 0, 1, 0, 0, 0])
    assert classes_below(tree, 4)[:2].tolist() == [[True, True, False]] * 2


def test_classes_that_most_rows_reach_come_first(table_tree):
    tree = table_tree(reached=[1, 0.4, 0.6, 0.3, 0.1, 0.1, 0.5])
    assert classes_by_share(tree)[:3] == [[2, 0, 1], [0, 1], [2, 1]]
    assert classes_by_share(table_tree(reached=[1, 1, 0, 1, 0, 0, 0]))[:3] == [[0], [0], [1, 2]]


def test_without_counts_classes_of_most_leaves_come_first(table_tree, single_leaf):
    assert classes_by_share(table_tree())[:3] == [[1, 0, 2], [0, 1], [1, 2]]
    assert classes_by_share(single_leaf()) == [[1]]
