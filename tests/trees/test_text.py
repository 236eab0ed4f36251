"""A tree as lines of text."""

import numpy as np
import pytest

from limbeck.errors import UsageError
from limbeck.trees.text import percent, to_text


def test_a_table_s_questions_are_inequalities(table_tree):
    assert to_text(table_tree(), features=["width", "height"]).splitlines() == [
        "|--- 2·width <= 4",
        "|   |--- 10·height + 1·width <= 0",
        "|   |   |--- class: a (80%)",
        "|   |--- 10·height + 1·width >  0",
        "|   |   |--- class: b (80%)",
        "|--- 2·width >  4",
        "|   |--- −1·height <= −3",
        "|   |   |--- class: b (80%)",
        "|   |--- −1·height >  −3",
        "|   |   |--- class: c (80%)",
    ]


def test_the_terms_that_weigh_most_come_first_in_units_of_spread(table_tree):
    text = to_text(table_tree(spread=[20, 1]))
    assert "|   |--- 1·feature 0 + 10·feature 1 <= 0" in text.splitlines()


def test_what_is_left_out_of_a_question_stands_at_its_centre(random_tree):
    centre = np.array([1.0, -2, 3, 0.5, 4])
    tree = random_tree(1, (5,), centre=centre)
    first = to_text(tree).splitlines()[0]
    weights = tree.weights[0].astype(float)
    most = np.argsort(-np.abs(weights))
    assert [first.find(f"feature {j}") >= 0 for j in most] == [True] * 3 + [False] * 2
    assert " … <= " in first
    threshold = float(first.rpartition(" ")[2].replace("−", "-"))
    assert threshold == pytest.approx(-tree.bias[0] - weights[most[3:]] @ centre[most[3:]], rel=1e-2)


def test_an_image_s_questions_are_named_by_their_nodes(random_tree):
    lines = to_text(random_tree(2, (3, 3))).splitlines()
    assert [line for line in lines if "class" not in line] == [
        "|--- question 0: left",
        "|   |--- question 1: left",
        "|   |--- question 1: right",
        "|--- question 0: right",
        "|   |--- question 2: left",
        "|   |--- question 2: right",
    ]


def test_leaves_say_which_share_of_the_rows_reached_them(table_tree):
    lines = to_text(table_tree(reached=[1, 0.75, 0.25, 0.7496, 0.0004, 0.25, 0])).splitlines()
    assert [line.partition("class: ")[2] for line in lines if "class" in line] == [
        "a (80%), 75% of the rows",
        "b (80%), <0.1% of the rows",
        "b (80%), 25% of the rows",
        "c (80%), 0% of the rows",
    ]


@pytest.mark.parametrize("levels", [0, 1, 2, 3, None])
def test_below_so_many_levels_only_the_depth_is_said(random_tree, levels):
    lines = to_text(random_tree(3, (4, 4)), levels=levels).splitlines()
    shown = 3 if levels is None else levels
    assert sum("question" in line for line in lines) == 2 * (2**shown - 1)
    ends = [line for line in lines if "question" not in line]
    assert len(ends) == 2**shown
    assert all(line.startswith("|   " * shown + "|--- ") for line in ends)
    if shown < 3:
        assert {line.partition("|--- ")[2] for line in ends} == {f"truncated branch of depth {3 - shown}"}


def test_a_tree_of_one_leaf_is_one_line(single_leaf):
    assert to_text(single_leaf()) == "|--- class: b (70%)"
    assert to_text(single_leaf((4, 4)), levels=0) == "|--- class: b (70%)"


def test_names_and_levels_must_fit(table_tree):
    with pytest.raises(UsageError, match="1 names for 2 features"):
        to_text(table_tree(), features=["width"])
    with pytest.raises(UsageError, match="levels = -1: expected 0 or more"):
        to_text(table_tree(), levels=-1)


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "0%"), (1e-9, "<0.1%"), (0.0005, "0.1%"), (0.004, "0.4%"), (0.0096, "1%"), (0.5, "50%"), (0.99, "99%"),
        (0.9931, "99.3%"), (0.9994, "99.9%"), (0.9996, ">99.9%"), (1.0, "100%"),
    ],
)  # fmt: skip
def test_a_share_in_words_is_0_or_1_only_if_it_is(share, words):
    assert percent(share) == words
