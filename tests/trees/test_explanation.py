"""An answer explained: what is said is what the tree does, and each counterfactual leads elsewhere."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from limbeck.errors import LimbeckError, UsageError
from limbeck.trees.counterfactual import PixelChange
from limbeck.trees.explanation import explain

WAYS = ["path", "greedy", "average"]

# Of the tree by hand: 0.64 goes left at the root, and from there 0.525 right; 0.36 right, nearly all of it right again.
SPREAD_OUT = np.array([2 - math.log(0.64 / 0.36) / 2, 0.0], np.float32)
SPREAD_OUT[1] = (0.1 - SPREAD_OUT[0]) / 10


@pytest.fixture(scope="module")
def digits_tree():
    """A tree of depth 4 trained on the digits."""
    import torch

    from limbeck import TrainSettings, teach
    from limbeck.data import load_dataset
    from limbeck.models import SoftDecisionTree

    torch.manual_seed(0)
    split = load_dataset("digits").split(validation=200, test=0.25, seed=0)
    model = SoftDecisionTree((8, 8), 10, depth=4)
    teach(model, split.train, TrainSettings(epochs=15, batch_size=64, learning_rate=3e-2), seed=0)
    model.eval()
    model.count(split.train.inputs)
    return model.to_numpy(split.train.classes)


@pytest.fixture(scope="module")
def digits_test():
    from limbeck.data import load_dataset

    return load_dataset("digits").split(validation=200, test=0.25, seed=0).test


def assert_true_of(found, tree, one):
    """The explanation says what the tree does."""
    log_probs = tree.predict_log_probs(one[np.newaxis])[0]
    label, probability = int(log_probs.argmax()), float(np.exp(log_probs.max()))
    assert (found.label, found.name, found.predict) == (label, tree.classes[label], tree.predict)
    assert found.probability == probability
    path = tree.path_to(int(tree.leaf_of(one[np.newaxis])[0]))
    assert [step.node for step in found.steps] == path[:-1]
    assert found.leaf == path[-1]
    assert [tree.right[step.node] if step.turn == "right" else tree.left[step.node] for step in found.steps] == path[1:]
    assert math.prod(step.probability for step in found.steps) == pytest.approx(found.leaf_reach, rel=1e-9)
    if tree.predict != "average":
        assert (found.leaf_name, found.leaf_probability) == (found.name, pytest.approx(found.probability))
    for step in found.steps:
        assert found.leaf_name in step.classes
        if tree.predict == "greedy":
            assert step.probability >= 0.5 - 1e-6


# ---------------------------------------------------------------- the path


@pytest.mark.parametrize("predict", WAYS)
def test_every_digit_s_explanation_is_true_and_its_counterfactual_leads_elsewhere(
    digits_tree, digits_test, assert_leads_elsewhere, predict
):
    tree = replace(digits_tree, predict=predict)
    right = 0
    for one, label in zip(digits_test.inputs, digits_test.labels, strict=True):
        found = explain(tree, one)
        assert_true_of(found, tree, one)
        change = found.counterfactual
        assert isinstance(change, PixelChange)
        assert_leads_elsewhere(change, tree, one)
        assert change.node in [step.node for step in found.steps]
        difference = change.changed.astype(int) - one
        assert change.pixels == np.count_nonzero(difference)
        assert change.norm == pytest.approx(np.linalg.norm(difference))
        right += found.label == label
    assert right / len(digits_test) > 0.75  # the tree has learnt something to explain


@pytest.mark.parametrize("predict", WAYS)
def test_every_row_of_a_table_is_explained_and_changed_in_one_feature(random_tree, assert_leads_elsewhere, predict):
    random = np.random.default_rng(3)
    tree = random_tree(5, (6,), predict=predict, scale=3, spread=random.uniform(0.5, 2, 6))
    found = 0
    for one in random.normal(size=(60, 6)).astype(np.float32):
        explanation = explain(tree, one)
        assert_true_of(explanation, tree, one)
        change = explanation.counterfactual
        if change is None:
            continue
        found += 1
        assert_leads_elsewhere(change, tree, one)
        assert np.flatnonzero(change.changed != one).tolist() == [change.column]
        assert (change.before, change.after) == (one[change.column], change.changed[change.column])
        assert change.size == pytest.approx(abs(change.after - change.before) / tree.spread[change.column])
    assert found > 50


def test_a_question_s_line_by_hand(table_tree):
    found = explain(table_tree(centre=[1, 2]), np.array([1.0, 4.0]))
    root, second = found.steps
    assert (root.node, root.depth, root.score, root.turn) == (0, 0, -2, "left")
    assert root.probability == pytest.approx(1 / (1 + math.exp(-2)))
    assert (root.classes, root.other_classes) == (("a", "b"), ("b", "c"))
    assert root.weighed == ()  # the first feature stands at its centre, the second has no weight
    assert (second.node, second.depth, second.score, second.turn) == (1, 1, 41, "right")
    assert (second.classes, second.other_classes) == (("b",), ("a",))
    (weighed,) = second.weighed
    assert (weighed.feature, weighed.value, weighed.contribution) == ("feature 1", 4, 20)
    assert (found.leaf, found.name) == (4, "b")
    assert found.probability == pytest.approx(0.8)


def test_the_features_that_weigh_most_are_named_in_order(random_tree):
    tree = random_tree(2, (8,), centre=np.full(8, 0.5))
    one = np.random.default_rng(1).normal(size=8)
    step = explain(tree, one, features=list("abcdefgh")).steps[0]
    added = tree.weights[0] * (one - 0.5)
    most = np.argsort(-np.abs(added))[:3]
    assert [weighed.feature for weighed in step.weighed] == ["abcdefgh"[j] for j in most]
    np.testing.assert_allclose([weighed.contribution for weighed in step.weighed], added[most], rtol=1e-5)


def test_images_have_no_features_to_name(random_tree):
    found = explain(random_tree(3, (4, 4)), np.zeros((4, 4)))
    assert all(step.weighed == () for step in found.steps)


def test_the_most_probable_path_may_take_a_less_likely_turn_and_says_so(table_tree):
    found = explain(table_tree("path"), SPREAD_OUT)
    assert [(step.node, step.turn) for step in found.steps] == [(0, "right"), (2, "right")]
    assert found.steps[0].probability == pytest.approx(0.36, abs=1e-4)
    assert found.leaf_reach == pytest.approx(0.345, abs=1e-3)
    lines = found.text().splitlines()
    assert lines[2].endswith("; the less likely turn: the other side spreads its 64% over its leaves")
    assert "less likely" not in lines[3]
    assert [step.turn for step in explain(table_tree("greedy"), SPREAD_OUT).steps] == ["left", "right"]


def test_an_average_s_own_class_is_said_and_what_its_most_probable_leaf_says(table_tree):
    found = explain(table_tree("average"), SPREAD_OUT)
    assert (found.name, found.leaf, found.leaf_name) == ("b", 6, "c")
    assert found.probability == pytest.approx(0.345, abs=1e-3)
    assert found.leaf_probability == pytest.approx(0.8)
    assert found.text().splitlines()[:2] == [
        "class b, 35%",
        "by the average of 4 leaves; the most probable path, below, carries 35% of it: leaf 6 says another class, c (80%)",
    ]
    agreeing = explain(table_tree("average"), np.array([10.0, 0.0])).text().splitlines()
    assert agreeing[1].endswith("leaf 6 says c (80%), too")


def test_a_sharpened_average_s_leaf_carries_its_weight_in_it(table_tree):
    found = explain(table_tree("average", sharpness=2.0), SPREAD_OUT)
    tree = table_tree("average")
    squares = np.exp(2 * tree.node_log_probs(SPREAD_OUT[np.newaxis])[0, tree.leaf >= 0])
    assert found.leaf_reach == pytest.approx(squares.max() / squares.sum())
    assert "carries 37% of it" in found.text()


def test_classes_of_leaves_that_no_row_reached_are_not_said_but_the_answer_s_own(table_tree):
    #       0 (1, 2)   1 (3 a, 4 b)   2 (5 b, 6 c)
    tree = table_tree(reached=[1, 1, 0, 1, 0, 0, 0])
    found = explain(tree, np.array([1.0, 1.0]))
    assert found.leaf == 4
    assert found.steps[0].classes == ("a", "b")  # its own leaf counts, whoever reached it before
    assert found.steps[1].other_classes == ("a",)


# ---------------------------------------------------------------- words


def test_a_counterfactual_that_is_not_wanted_is_not_mentioned(table_tree):
    found = explain(table_tree(), np.array([1.0, 1.0]), counterfactual=False)
    assert found.counterfactual is None
    assert not found.sought
    assert "change" not in found.text()


def test_a_table_s_explanation_as_text(table_tree):
    found = explain(table_tree(), np.array([1.0, -1.0]), features=["width", "height"])
    assert found.text().splitlines() == [
        "class a, 80%",
        "by the likelier turn at every question, to leaf 3 (path probability 88%)",
        "question 0: left     88%  to a, b (else b, c); by width 1 (+2)",
        "question 1: left  >99.9%  to a (else b); by height −1 (−10), width 1 (+1)",
        "with height −0.09998 instead of −1, by 0.9 of its spread: class b, 80% (the tree was asked again)",
    ]


def test_a_turn_that_decides_nothing_is_said_to(table_tree):
    tree = table_tree()
    tree = replace(tree, log_probs=tree.log_probs[[0, 0, 2, 3]])
    line = explain(tree, np.array([1.0, -1.0])).text().splitlines()[3]
    assert "  to a either way; by " in line


def test_a_deep_tree_takes_a_dozen_lines(random_tree):
    one = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    lines = explain(random_tree(8, (28, 28), 10, scale=0.1), one).text().splitlines()
    assert len(lines) <= 12
    assert lines[0].startswith("class class ")
    assert [line.startswith("question") for line in lines[2:10]] == [True] * 8
    assert lines[-1].startswith("with ")


def test_many_classes_are_counted_and_not_listed(random_tree):
    lines = explain(random_tree(6, (3,), 100), np.zeros(3)).text().splitlines()
    assert " classes) (else " in lines[2]
    assert max(map(len, lines)) < 500


@pytest.mark.parametrize("predict", WAYS)
@pytest.mark.parametrize("shape", [(2,), (4, 4)])
def test_a_tree_of_one_leaf_is_explained(single_leaf, predict, shape):
    found = explain(single_leaf(shape, predict), np.ones(shape))
    assert (found.name, found.steps, found.leaf, found.leaf_reach) == ("b", (), 0, 1)
    lines = found.text().splitlines()
    assert lines[0] == "class b, 70%"
    assert lines[-1] == "no small change was found that leads to another class"
    assert len(lines) == 3


@pytest.mark.parametrize("shape", [(4,), (3, 3)])
@pytest.mark.parametrize("predict", WAYS)
def test_an_explanation_goes_through_json(random_tree, shape, predict):
    found = explain(random_tree(3, shape, predict=predict, scale=3), np.random.default_rng(0).normal(size=shape))
    plain = found.as_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["name"] == found.name
    assert [step["node"] for step in plain["steps"]] == [step.node for step in found.steps]
    assert plain["steps"][0]["score"] == pytest.approx(found.steps[0].score, rel=1e-5)
    assert len(str(plain["probability"])) <= 8
    np.testing.assert_allclose(plain["counterfactual"]["changed"], found.counterfactual.changed, rtol=1e-5)


# ---------------------------------------------------------------- mistakes


def test_several_rows_are_refused(table_tree):
    with pytest.raises(UsageError, match=r"the input has the shape \(1, 2\), but the tree takes \(2,\): give one row"):
        explain(table_tree(), np.zeros((1, 2)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_input_that_is_not_finite_is_refused(table_tree, value):
    with pytest.raises(LimbeckError, match="the input is not finite"):
        explain(table_tree(), np.array([0, value]))


def test_what_are_no_numbers_is_refused(table_tree):
    with pytest.raises(UsageError, match="expected numbers"):
        explain(table_tree(), ["1", "2"])


def test_another_number_of_names_is_refused(table_tree):
    with pytest.raises(UsageError, match="3 names for 2 features: give one for each"):
        explain(table_tree(), np.zeros(2), features=list("abc"))
