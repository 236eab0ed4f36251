"""The tree of thresholds as arrays: its walk, and its files. That it answers as scikit-learn is in test_tree_fitting."""

import copy
import math

import numpy as np
import pytest
import torch

from limbeck.errors import LimbeckError, UsageError
from limbeck.evaluation import measure_cost
from limbeck.files import DamagedFileError, read_tensors, write_tensors
from limbeck.models import build_model, load_model, save_model
from limbeck.models.threshold_tree import ThresholdTree

NAMES = ("a", "b", "c")


def tree_of(feature, threshold, left, right, probs, features=3):
    """A tree written down by hand."""
    tree = ThresholdTree((features,), len(probs[0]), nodes=2 * len(feature) + 1)
    tree.load_state_dict(
        {
            "feature": torch.tensor(feature, dtype=torch.int32),
            "threshold": torch.tensor(threshold),
            "left": torch.tensor(left, dtype=torch.int32),
            "right": torch.tensor(right, dtype=torch.int32),
            "log_probs": torch.tensor(probs).log(),
        }
    )
    return tree.eval()


@pytest.fixture
def tree():
    """x₂ ≤ 0.5 ? (x₀ ≤ −1 ? leaf 0 : leaf 1) : leaf 2."""
    probs = [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6]]
    return tree_of([2, 0], [0.5, -1.0], [1, ~0], [~2, ~1], probs)


ROWS = torch.tensor([[-2.0, 0, 0], [-1, 0, 0.5], [0, 0, 0.5], [-9, 0, 0.6]])


def test_a_row_goes_left_where_its_feature_is_at_most_the_threshold(tree):
    assert tree.leaf_of(ROWS).tolist() == [0, 0, 1, 2]
    assert torch.equal(tree(ROWS).logits, tree.log_probs[[0, 0, 1, 2]])


def test_one_row_ends_where_it_does_among_others(tree):
    assert [tree.leaf_of(row[None]).item() for row in ROWS] == tree.leaf_of(ROWS).tolist()
    assert tree.leaf_of(ROWS[:0]).shape == (0,)


def test_whole_numbers_are_compared_as_they_are(tree):
    assert torch.equal(tree.leaf_of(ROWS.to(torch.int64)), tree.leaf_of(ROWS.to(torch.int64).float()))
    images = ThresholdTree((2, 2), 2)
    assert images(torch.zeros(3, 2, 2, dtype=torch.uint8)).logits.shape == (3, 2)


def test_what_it_costs_is_a_pair_for_each_question_and_no_multiplications(tree):
    assert (tree.depth, tree.leaves, tree.multiply_adds) == (2, 3, 0)
    cost = measure_cost(tree, 100, ROWS.numpy())
    assert (cost.parameters, cost.multiply_adds) == (2 * 2 + 3 * 3, 0)


@pytest.mark.parametrize("nodes", [1, 3, 9])
def test_before_it_is_fitted_all_classes_are_alike(nodes):
    tree = ThresholdTree((3,), 4, nodes=nodes)
    for rows in (ROWS, ROWS[:1]):
        assert tree(rows).logits.exp().numpy() == pytest.approx(np.full((len(rows), 4), 0.25))
    assert tree.depth == nodes // 2
    tree.load_state_dict(tree.state_dict())


def test_rows_of_another_shape_are_refused(tree):
    for rows in (torch.zeros(2, 4), torch.zeros(1, 3, 1)):
        with pytest.raises(UsageError, match=r"the inputs have the shape .*, but the tree takes \(3,\): give it rows"):
            tree(rows)


def test_a_copy_answers_alike(tree):
    assert torch.equal(copy.deepcopy(tree)(ROWS).logits, tree(ROWS).logits)


@pytest.mark.parametrize("nodes", [1, 5])
def test_a_tree_loaded_is_the_tree_saved(tmp_path, tree, nodes):
    saved = tree if nodes == 5 else tree_of([], [], [], [], [[0.5, 0.25, 0.25]])
    save_model(tmp_path, saved, NAMES)
    loaded, names = load_model(tmp_path)
    assert (type(loaded), loaded.settings, names) == (ThresholdTree, saved.settings, NAMES)
    assert loaded.settings["nodes"] == nodes
    assert torch.equal(loaded(ROWS).logits, saved(ROWS).logits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    for path in tmp_path.iterdir():
        assert b"sklearn." not in path.read_bytes()


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"left": [0, ~0]}, "not each below one question"),
        ({"left": [1, 0]}, "not each below one question"),
        ({"left": [1, 1]}, "not each below one question"),
        ({"left": [1, 7]}, "not each below one question"),
        ({"right": [~2, ~2]}, "not each below one question"),
        ({"right": [~3, ~1]}, "not each below one question"),
        ({"feature": [3, 0]}, "about a feature that inputs of shape (3,) do not have"),
        ({"feature": [2, -1]}, "about a feature"),
        ({"feature": [2]}, "size mismatch for feature"),
    ],
)
def test_arrays_that_are_no_tree_are_damage(tmp_path, tree, changed, found):
    save_model(tmp_path, tree, NAMES)
    tensors, header = read_tensors(tmp_path / "model.safetensors")
    header.pop("digest")
    (name,) = changed
    write_tensors(tmp_path / "model.safetensors", {**tensors, name: np.array(changed[name], np.int32)}, header)
    with pytest.raises(DamagedFileError) as refused:
        load_model(tmp_path)
    assert "its tensors do not fit model.json" in str(refused.value)
    assert found in str(refused.value)


def test_a_description_of_another_number_of_nodes_is_refused(tmp_path, tree):
    save_model(tmp_path, tree, NAMES)
    path = tmp_path / "model.json"
    text = path.read_text()
    path.write_text(text.replace('"nodes": 5', '"nodes": 4'))
    with pytest.raises(LimbeckError, match="nodes = 4: a binary tree has an odd number"):
        load_model(tmp_path)
    path.write_text(text.replace('"nodes": 5', '"nodes": 7'))
    with pytest.raises(DamagedFileError, match="its tensors do not fit"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"criterion": "log_loss"}, "criterion = 'log_loss': expected one of gini, entropy"),
        ({"max_depth": 0}, "max_depth = 0: expected a whole number, 1 or more"),
        ({"max_leaf_nodes": 1}, "max_leaf_nodes = 1: expected a whole number, 2 or more"),
        ({"min_samples_leaf": 0.5}, "min_samples_leaf = 0.5: expected a whole number, 1 or more"),
        ({"min_samples_leaf": None}, "min_samples_leaf = None: expected a whole number, 1 or more"),
        ({"max_depth": True}, "max_depth = True: expected a whole number, 1 or more"),
        ({"pseudo_count": 0}, "pseudo_count = 0: expected a number above 0"),
        ({"pseudo_count": math.nan}, "pseudo_count = nan: expected a number above 0"),
        ({"nodes": 2}, "nodes = 2: a binary tree has an odd number; leave it to the fit"),
        ({"depth": 3}, "depth"),
    ],
)
def test_a_setting_out_of_range_is_named(settings, message):
    with pytest.raises(UsageError) as refused:
        build_model({"kind": "sklearn-tree", **settings}, (8, 8), 10)
    assert message in str(refused.value)


def test_it_is_built_without_preprocessing(digits):
    tree = build_model({"kind": "sklearn-tree"}, (8, 8), 10, digits.inputs)
    assert isinstance(tree, ThresholdTree)
    assert not hasattr(tree, "preprocessing")
    assert not list(tree.parameters())
