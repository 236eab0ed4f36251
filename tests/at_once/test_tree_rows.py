"""A run whose students are trees: one tree, answering in several ways and pruned."""

import json
import shutil

import numpy as np
import pytest

import limbeck
from limbeck.data import load_dataset
from limbeck.errors import UsageError
from limbeck.inspection.facts import inspect
from limbeck.inspection.verification import verify
from limbeck.metrics import errors
from limbeck.models import SoftDecisionTree, load_model
from limbeck.recipe import load_recipe, parse_recipe
from limbeck.training import predict_log_probs

TREES = """
title = "Trees"

[data]
source = "digits"
validation = 200
test = 0.25

[[teacher]]
name = "2x64"
model = { kind = "mlp", widths = [64, 64] }
train = { epochs = 6, batch_size = 64, learning_rate = 5e-3 }

[[transfer]]
name = "views"
views = { count = 2, rotate = 5, shift = 0.3 }

[[student]]
name = "soft-tree-3"
transfer = "views"
model = { kind = "soft-tree", depth = 3, sharpness = 2 }
distill = { temperature = 2, hard = 1 }
train = { epochs = 8, batch_size = 64, learning_rate = 2e-2 }
also_predict = ["average", "greedy"]
prune = 0.01
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "trees.toml"
    path.write_text(TREES)
    return path


@pytest.fixture(scope="module")
def out(recipe, tmp_path_factory):
    path = tmp_path_factory.mktemp("trees") / "trees"
    limbeck.run(recipe, path)
    return path


@pytest.fixture(scope="module")
def rows(out):
    return json.loads((out / "results.json").read_text())["models"]


@pytest.fixture(scope="module")
def split():
    return load_dataset("digits").split(validation=200, test=0.25, seed=0)


def named(rows, role, **variant):
    return next(row for row in rows if row["role"] == role and row["variant"].items() >= variant.items())


def test_one_tree_has_a_row_for_each_way_of_answering_and_one_pruned(rows):
    told = [(row["role"], {k: v for k, v in row["variant"].items() if k != "temperature"}) for row in rows]
    ways = [{"predict": "path"}, {"predict": "average"}, {"predict": "greedy"}, {"predict": "path", "pruned": 0.01}]
    assert told == [("teacher", {}), *[(role, way) for way in ways for role in ("student", "baseline")]]


def test_every_row_is_the_same_tree_answering_as_it_says(out, rows, split):
    whole, _ = load_model(out / "models" / "student" / "soft-tree-3-predict=path,temperature=2")
    assert isinstance(whole, SoftDecisionTree)
    for way in ("path", "average", "greedy"):
        tree, _ = load_model(out / "models" / "student" / f"soft-tree-3-predict={way},temperature=2")
        assert isinstance(tree, SoftDecisionTree)
        assert tree.predict == way
        assert (tree.weight == whole.weight).all()
        log_probs = predict_log_probs(whole.answering(way), split.test.inputs)
        assert named(rows, "student", predict=way)["errors"] == errors(log_probs, split.test.labels)
        # Counted along the paths of its own answers.
        np.testing.assert_array_equal(
            tree.to_numpy().reached > 0, np.isin(np.arange(15), _on_paths(tree.to_numpy(), split.train.inputs))
        )


def _on_paths(arrays, inputs):
    return [node for end in set(arrays.leaf_of(inputs).tolist()) for node in arrays.path_to(end)]


def test_each_row_stands_beside_the_baseline_that_answers_alike(rows):
    for row in rows:
        if row["role"] == "student":
            assert row["verdict"] in ("helps", "hurts", "no difference")
            assert row["agreement"] is not None


def test_the_pruned_row_says_what_is_left_and_what_changed_on_validation_rows(out, rows, split):
    pruned, whole = named(rows, "student", pruned=0.01), named(rows, "student", predict="path")
    assert whole["metrics"]["leaves"] == 8
    assert whole["metrics"]["levels"] == 3
    tree, _ = load_model(out / "models" / "student" / "soft-tree-3-predict=path,pruned=0.01,temperature=2")
    before, _ = load_model(out / "models" / "student" / "soft-tree-3-predict=path,temperature=2")
    assert isinstance(tree, SoftDecisionTree)
    assert pruned["metrics"]["leaves"] == tree.leaf_count <= 8
    now, then = (predict_log_probs(model, split.validation.inputs).argmax(axis=1) for model in (tree, before))
    assert pruned["metrics"]["validation_changed"] == np.count_nonzero(now != then)
    assert pruned["metrics"]["validation_errors"] == np.count_nonzero(now != split.validation.labels)
    assert pruned["parameters"] <= whole["parameters"]


def test_inspect_says_what_became_of_a_tree(out, rows):
    facts = inspect(out / "models" / "student" / "soft-tree-3-predict=path,pruned=0.01,temperature=2").facts
    metrics = named(rows, "student", pruned=0.01)["metrics"]
    assert facts["answers by"] == "path"
    assert facts["leaves"] == str(metrics["leaves"])
    assert facts["validation rows of another class"] == str(metrics["validation_changed"])


def test_the_same_command_again_has_nothing_to_do(recipe, out):
    before = (out / "results.json").read_bytes()
    limbeck.run(recipe, out)
    assert (out / "results.json").read_bytes() == before
    assert not verify(out)


def test_a_damaged_form_is_made_again(recipe, out, tmp_path):
    copy = tmp_path / "runs" / "trees"
    shutil.copytree(out.parent, tmp_path / "runs", symlinks=True)
    folder = (copy / "models" / "student" / "soft-tree-3-predict=greedy,temperature=2").resolve()
    digest = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(digest[:-4] + b"\0\0\0\1")
    limbeck.run(recipe, copy)
    assert not verify(copy)
    assert (folder / "model.safetensors").read_bytes() == digest


def message(**student):
    recipe = load_recipe("digits").model_dump(by_alias=True, exclude_none=True)
    recipe["student"][0] |= student
    with pytest.raises(UsageError) as refused:
        parse_recipe(recipe, "it")
    assert "\n" not in str(refused.value)
    return str(refused.value)


SOFT = {"kind": "soft-tree", "depth": 3}
AT_ONCE = {"kind": "sklearn-tree", "max_leaf_nodes": 16}


@pytest.mark.parametrize(
    ("student", "told"),
    [
        (
            {"also_predict": ["greedy"]},
            'student.2x16.also_predict: a model of kind "mlp" has no paths, expected it with a soft-tree',
        ),
        ({"prune": 0.01}, 'student.2x16.prune: a model of kind "mlp" has no paths, expected it with a soft-tree'),
        ({"model": SOFT, "also_predict": ["path"]}, 'expected others than "path", how the tree answers'),
        ({"model": SOFT, "also_predict": ["greedy", "greedy"]}, "every value once"),
        ({"model": SOFT, "bias": ["validation"]}, "a soft-tree has no biases of classes"),
        ({"model": SOFT, "prune": 1.0}, "student.2x16.prune: found 1.0"),
        ({"model": {**SOFT, "depth": 0}}, "student.2x16.model.depth: found 0"),
        ({"model": {**SOFT, "depth": 30}}, "student.2x16.model.depth: found 30"),
        (
            {"model": SOFT, "grid": {"model.predict": ["path", "greedy"]}},
            'found "model.predict", expected it in also_predict',
        ),
        ({"model": {**SOFT, "final_sharpness": 2.0}}, 'found "best", expected "last" with final_sharpness'),
        (
            {"model": {**SOFT, "learn_inverse_temperature": True, "final_inverse_temperature": 2.0}},
            "not with a learnt inverse temperature, which is not annealed",
        ),
        ({"model": AT_ONCE}, "a sklearn-tree is fitted at once, expected no train"),
        ({"model": AT_ONCE, "train": {}, "distill": {"hard": 1}}, "a sklearn-tree has one criterion"),
        ({"model": AT_ONCE, "train": {}}, '"views" has views, expected one without'),
        ({"model": AT_ONCE, "train": {}, "grid": {"train.epochs": [1, 2]}}, "a sklearn-tree is fitted at once"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(student, told):
    assert told in message(**student)


def test_a_tree_that_remembers_its_rows_is_no_teacher():
    recipe = load_recipe("digits").model_dump(by_alias=True, exclude_none=True)
    recipe["teacher"][0] |= {"model": AT_ONCE}
    with pytest.raises(UsageError, match="teacher.convnet.model: a sklearn-tree remembers its rows"):
        parse_recipe(recipe, "it")


def test_a_depth_that_does_not_fit_into_memory_is_refused_before_anything_is_made(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 2**10)
    with pytest.raises(UsageError, match="this machine has"):
        limbeck.run(recipe, tmp_path / "run", sets=["student.*.model.depth=16"])
    assert not (tmp_path / "run").exists()
