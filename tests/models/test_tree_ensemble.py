"""Boosted trees as arrays: their walk, and their files. That they answer as scikit-learn is in test_boosting_fitting."""

import copy
import math

import numpy as np
import pytest
import torch

from limbeck.data import Column, TableForm
from limbeck.errors import LimbeckError, UsageError
from limbeck.evaluation import measure_cost
from limbeck.files import DamagedFileError, read_tensors, write_tensors
from limbeck.models import TreeEnsemble, build_model, load_model, save_model

NAMES = ("a", "b", "c")


@pytest.fixture
def ensemble():
    """Class a starts at 1 and has x₂ ≤ 0.5 ? (x₀ ≤ −1 ? 10 : 20) : 30, and a tree of one leaf, 0.5; b has x₁ ≤ 0 ? 1 : 2."""
    made = TreeEnsemble((3,), 3, trees=3, nodes=9)
    made.load_state_dict(
        {
            "feature": torch.tensor([2, 0, 1], dtype=torch.int32),
            "threshold": torch.tensor([0.5, -1.0, 0.0]),
            "left": torch.tensor([1, ~0, ~4], dtype=torch.int32),
            "right": torch.tensor([~2, ~1, ~5], dtype=torch.int32),
            "value": torch.tensor([10.0, 20.0, 30.0, 0.5, 1.0, 2.0]),
            "root": torch.tensor([0, ~3, 2], dtype=torch.int32),
            "tree_class": torch.tensor([0, 0, 1], dtype=torch.int32),
            "start": torch.tensor([1.0, 0.0, -7.0]),
        }
    )
    return made.eval()


ROWS = torch.tensor([[-2.0, 0, 0], [-1, 1, 0.5], [0, -1, 0.5], [-9, 0, 0.6]])
LEAVES = [[0, 3, 4], [0, 3, 5], [1, 3, 4], [2, 3, 4]]
LOGITS = [[11.5, 1, -7], [11.5, 2, -7], [21.5, 1, -7], [31.5, 1, -7]]


def test_a_row_ends_in_a_leaf_of_every_tree(ensemble):
    assert ensemble.leaf_of(ROWS).tolist() == LEAVES


def test_a_logit_is_its_start_and_the_sum_of_its_class_s_trees(ensemble):
    assert ensemble(ROWS).logits.tolist() == LOGITS
    assert ensemble(ROWS).logits.dtype == torch.float32


@pytest.mark.parametrize("walks", [1, 3, 7])
def test_a_row_is_answered_alike_alone_and_in_chunks_of_any_size(ensemble, walks, monkeypatch):
    monkeypatch.setattr("limbeck.models.tree_ensemble._WALKS", walks)
    assert ensemble(ROWS).logits.tolist() == LOGITS
    assert [ensemble(row[None]).logits[0].tolist() for row in ROWS] == LOGITS
    assert ensemble(ROWS[:0]).logits.shape == (0, 3)
    assert ensemble.leaf_of(ROWS[:0]).shape == (0, 3)


def test_whole_numbers_are_compared_as_they_are(ensemble):
    whole = ROWS.to(torch.int64)
    assert torch.equal(ensemble(whole).logits, ensemble(whole.float()).logits)
    images = TreeEnsemble((2, 2), 2)
    assert images(torch.zeros(3, 2, 2, dtype=torch.uint8)).logits.shape == (3, 2)


def test_what_it_costs_is_a_pair_for_each_question_a_number_for_each_leaf_and_no_multiplications(ensemble):
    assert (ensemble.trees, ensemble.depth, ensemble.leaves) == (3, 2, 6)
    cost = measure_cost(ensemble, 100, ROWS.numpy())
    assert (cost.parameters, cost.multiply_adds) == (2 * 3 + 6 + 3, 0)


@pytest.mark.parametrize(("trees", "nodes", "depth"), [(0, 0, 0), (2, 2, 0), (1, 5, 2), (3, 9, 3)])
def test_before_it_is_fitted_all_classes_are_alike(trees, nodes, depth):
    unfitted = TreeEnsemble((3,), 4, trees=trees, nodes=nodes)
    for rows in (ROWS, ROWS[:1]):
        assert unfitted(rows).logits.tolist() == [[0.0] * 4] * len(rows)
    assert (unfitted.depth, unfitted.trees) == (depth, trees)
    unfitted.load_state_dict(unfitted.state_dict())


def test_rows_of_another_shape_are_refused(ensemble):
    for rows in (torch.zeros(2, 4), torch.zeros(1, 3, 1)):
        with pytest.raises(
            UsageError, match=r"the inputs have the shape .*, but the trees take \(3,\): give them rows"
        ):
            ensemble(rows)


def test_a_copy_answers_alike(ensemble):
    assert torch.equal(copy.deepcopy(ensemble)(ROWS).logits, ensemble(ROWS).logits)


def test_a_model_loaded_is_the_model_saved(tmp_path, ensemble):
    save_model(tmp_path, ensemble, NAMES)
    loaded, names = load_model(tmp_path)
    assert (type(loaded), loaded.settings, names) == (TreeEnsemble, ensemble.settings, NAMES)
    assert loaded(ROWS).logits.tolist() == LOGITS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def test_a_table_s_raw_rows_are_asked_about_by_encoded_features(tmp_path):
    form = TableForm((Column("size", None, missing=True), Column("colour", ("red", "green"))))
    # Features: size, whether it is missing, red, green.
    made = TreeEnsemble((2,), 2, trees=1, nodes=3, form=form)
    state = {**made.state_dict(), "feature": torch.tensor([3], dtype=torch.int32), "threshold": torch.tensor([0.5])}
    made.load_state_dict({**state, "value": torch.tensor([-1.0, 1.0])})
    save_model(tmp_path, made, ("no", "yes"))
    for model in (made, load_model(tmp_path)[0]):
        found = model(torch.tensor([[5.0, 0], [math.nan, 1], [5.0, -1]])).logits[:, 0]
        assert found.tolist() == [-1, 1, -1]


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"left": [0, ~0, ~4]}, "not each a root or below one question"),
        ({"left": [1, 0, ~4]}, "not each a root or below one question"),
        ({"left": [1, 1, ~4]}, "not each a root or below one question"),
        ({"left": [1, 70, ~4]}, "not each a root or below one question"),
        ({"left": [1, ~0, ~70]}, "not each a root or below one question"),
        ({"right": [~2, 0, ~5], "root": [~1, ~3, 2]}, "not each a root or below one question"),
        ({"root": [0, ~3, 0]}, "not each a root or below one question"),
        ({"root": [2, ~3, 2]}, "not each a root or below one question"),
        ({"feature": [3, 0, 1]}, "about a feature that inputs of shape (3,) do not have"),
        ({"feature": [2, -1, 1]}, "about a feature"),
        ({"feature": [2]}, "size mismatch for feature"),
        ({"tree_class": [0, 0, 3]}, "a tree adds to a class other than 0 to 2"),
        ({"tree_class": [0, -1, 1]}, "a tree adds to a class other than 0 to 2"),
        ({"value": [math.nan] * 6}, "a leaf's value, or where a class starts, is not finite"),
        ({"start": [0, math.inf, 0]}, "a leaf's value, or where a class starts, is not finite"),
    ],
)
def test_arrays_that_are_no_trees_are_damage(tmp_path, ensemble, changed, found):
    save_model(tmp_path, ensemble, NAMES)
    tensors, header = read_tensors(tmp_path / "model.safetensors")
    header.pop("digest")
    arrays = {name: np.array(values, tensors[name].dtype) for name, values in changed.items()}
    write_tensors(tmp_path / "model.safetensors", {**tensors, **arrays}, header)
    with pytest.raises(DamagedFileError) as refused:
        load_model(tmp_path)
    assert "its tensors do not fit model.json" in str(refused.value)
    assert found in str(refused.value)


def test_a_description_of_another_number_of_nodes_is_refused(tmp_path, ensemble):
    save_model(tmp_path, ensemble, NAMES)
    path = tmp_path / "model.json"
    text = path.read_text()
    path.write_text(text.replace('"nodes": 9', '"nodes": 8'))
    with pytest.raises(LimbeckError, match="nodes = 8: 3 binary trees do not have so many"):
        load_model(tmp_path)
    path.write_text(text.replace('"nodes": 9', '"nodes": 11'))
    with pytest.raises(DamagedFileError, match="its tensors do not fit"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations": 0}, "iterations = 0: expected a whole number, 1 or more"),
        ({"iterations": True}, "iterations = True: expected a whole number, 1 or more"),
        ({"leaves": 1}, "leaves = 1: expected a whole number, 2 or more"),
        ({"min_samples_leaf": None}, "min_samples_leaf = None: expected a whole number, 1 or more"),
        ({"max_depth": 0.5}, "max_depth = 0.5: expected a whole number, 1 or more"),
        ({"learning_rate": 0}, "learning_rate = 0: expected a number above 0, at most 1"),
        ({"learning_rate": 1.5}, "learning_rate = 1.5: expected a number above 0, at most 1"),
        ({"learning_rate": math.nan}, "learning_rate = nan: expected a number above 0, at most 1"),
        ({"l2": -1}, "l2 = -1: expected a number, 0 or more"),
        ({"l2": math.inf}, "l2 = inf: expected a number, 0 or more"),
        ({"trees": -1}, "trees = -1: expected a whole number, 0 or more"),
        ({"trees": 2, "nodes": 3}, "nodes = 3: 2 binary trees do not have so many; leave it to the fit"),
        ({"trees": 2, "nodes": 0}, "nodes = 0: 2 binary trees do not have so many; leave it to the fit"),
        ({"nodes": 2}, "nodes = 2: 0 binary trees do not have so many; leave it to the fit"),
        ({"depth": 3}, "depth"),
    ],
)
def test_a_setting_out_of_range_is_named(settings, message):
    with pytest.raises(UsageError) as refused:
        build_model({"kind": "boosted-trees", **settings}, (8, 8), 10)
    assert message in str(refused.value)


def test_many_classes_are_refused_with_the_reason():
    build_model({"kind": "boosted-trees"}, (8,), 50)
    with pytest.raises(UsageError) as refused:
        build_model({"kind": "boosted-trees"}, (8,), 51)
    assert str(refused.value) == (
        "there are 51 classes, and boosted-trees fits a regressor for each of them: expected at most 50; "
        "take another kind of model"
    )


def test_it_is_built_without_preprocessing(digits):
    made = build_model({"kind": "boosted-trees"}, (8, 8), 10, digits.inputs)
    assert isinstance(made, TreeEnsemble)
    assert not hasattr(made, "preprocessing")
    assert not list(made.parameters())
