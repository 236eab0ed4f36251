"""A saved tree's answer explained, and the tree written to a file."""

import numpy as np
import pytest
import torch

from limbeck.errors import LimbeckError, UsageError
from limbeck.explaining import explained
from limbeck.models import SoftDecisionTree, build_model, load_model, save_model
from limbeck.row_files import read_rows
from limbeck.trees import TreeArrays, explain, to_text

CLASSES = tuple("abcdefghij")


@pytest.fixture(scope="module")
def model(tmp_path_factory, digits):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "readable"
    save_model(folder, build_model({"kind": "soft-tree", "depth": 3}, (8, 8), 10, digits.inputs), CLASSES)
    return folder


@pytest.fixture(scope="module")
def tree(model):
    loaded, classes = load_model(model)
    return loaded.to_numpy(classes)


@pytest.fixture
def rows(tmp_path, digits):
    np.save(tmp_path / "rows.npy", digits.inputs[:5])
    return tmp_path / "rows.npy"


def refused(*arguments, kind=LimbeckError):
    with pytest.raises(kind) as error:
        explained(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("row", [0, 4])
def test_the_text_is_the_explanation_of_the_row(model, tree, rows, digits, row):
    assert explained(model, str(rows), row) == explain(tree, digits.inputs[row]).text()


def test_a_data_set_s_name_stands_for_its_rows(model, tree, digits):
    assert explained(model, "digits", 1796) == explain(tree, digits.inputs[1796]).text()


def test_a_single_input_needs_no_first_axis(model, tree, tmp_path, digits):
    np.save(tmp_path / "one.npy", digits.inputs[7])
    assert explained(model, str(tmp_path / "one.npy")) == explain(tree, digits.inputs[7]).text()


def test_a_data_set_s_rows_come_with_labels_and_a_file_s_without(rows, digits):
    inputs, labels = read_rows("digits")
    np.testing.assert_array_equal(inputs, digits.inputs)
    np.testing.assert_array_equal(labels, digits.labels)
    assert read_rows(str(rows))[1] is None


# ---------------------------------------------------------------- files


def test_the_tree_is_written_as_text_and_as_numbers(model, tree, rows, tmp_path, digits):
    text = explained(model, str(rows), 2, tmp_path / "new" / "tree.txt")
    assert text == explain(tree, digits.inputs[2]).text()
    assert (tmp_path / "new" / "tree.txt").read_text("utf-8") == to_text(tree) + "\n"
    explained(model, str(rows), 2, tmp_path / "tree.JSON")
    again = TreeArrays.from_json((tmp_path / "tree.JSON").read_text())
    np.testing.assert_array_equal(again.weights, tree.weights)
    assert again.classes == CLASSES


@pytest.mark.parametrize("source", ["a file", "digits"])
def test_the_tree_is_written_as_a_page(model, rows, tmp_path, source):
    explained(model, str(rows) if source == "a file" else source, 2, tmp_path / "tree.html")
    page = (tmp_path / "tree.html").read_text("utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert "readable" in page


def test_the_tree_is_written_as_a_drawing(model, rows, tmp_path):
    explained(model, str(rows), 2, tmp_path / "tree.svg")
    assert "<svg" in (tmp_path / "tree.svg").read_text("utf-8")


def test_a_file_is_replaced_only_by_a_whole_one(model, rows, tmp_path, monkeypatch):
    out = tmp_path / "tree.txt"
    out.write_text("older")
    refused(model, str(rows), 9, out, kind=UsageError)
    assert out.read_text() == "older"

    def full(handle):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        explained(model, str(rows), 0, out)
    assert out.read_text() == "older"
    monkeypatch.undo()
    explained(model, str(rows), 0, out)
    assert out.read_text().startswith("|--- ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.npy", "tree.txt"]


@pytest.mark.parametrize("name", ["tree.pdf", "tree", "tree.html.gz", "folder/"])
def test_a_file_of_another_kind_is_refused_before_anything_is_read(tmp_path, name):
    message = refused(tmp_path / "nowhere", "nowhere", 0, tmp_path / name, kind=UsageError)
    assert "expected a file that ends in .html (a page), .svg (a drawing), .txt (text), .json (numbers)" in message
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- mistakes


def test_a_model_that_is_no_tree_is_refused_by_its_kind(tmp_path, digits):
    for kind, widths in (("mlp", [4]), ("convnet", [2, 2, 2])):
        save_model(tmp_path, build_model({"kind": kind, "widths": widths}, (8, 8), 10, digits.inputs), CLASSES)
        assert refused(tmp_path, "digits") == (
            f'{tmp_path} is a model of kind "{kind}": only a soft decision tree, a student of kind "soft-tree", can be '
            "explained"
        )


@pytest.mark.parametrize("row", [-1, 5, 10**9])
def test_a_row_that_is_not_there_is_refused_with_the_range(model, rows, row):
    assert refused(model, str(rows), row, kind=UsageError) == f"row = {row}: {rows} has the rows 0 to 4"


def test_inputs_that_do_not_fit_are_refused_as_by_predict(model, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((3, 28, 28), np.uint8))
    assert refused(model, str(path)) == f"{path} holds inputs of shape (28, 28), but {model} takes (8, 8)"
    np.save(path, np.zeros((0, 8, 8), np.uint8))
    assert refused(model, str(path)) == f"{path} holds no rows: give at least one"
    np.save(path, np.where(np.arange(192).reshape(3, 8, 8) == 100, np.nan, 0))
    assert refused(model, str(path)) == f"{path}: row 1 is not finite: mend the row or leave it out"


def test_a_folder_without_a_model_and_a_file_that_is_not_there_are_refused(model, tmp_path):
    assert f"{tmp_path} holds no model" in refused(tmp_path, "digits")
    assert refused(model, "nowhere.npy") == "nowhere.npy: no such file, expected an idx, .npy or .npz file"


def test_a_table_s_features_are_called_as_its_file_calls_them(tmp_path):
    torch.manual_seed(0)
    tree = SoftDecisionTree((3,), 2, depth=2)
    save_model(tmp_path / "tree", tree, ["no", "yes"])
    inputs, out = tmp_path / "rows.npz", tmp_path / "tree.txt"
    table = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    np.savez(inputs, inputs=table, features=["width", "height", "age"])
    text = explained(tmp_path / "tree", str(inputs), 1, out)
    assert "width" in text
    assert "feature 0" not in text + out.read_text("utf-8")
    np.savez(inputs, inputs=table, features=["width", "height"])
    refused(tmp_path / "tree", str(inputs), kind=UsageError)
    np.savez(inputs, inputs=table)
    assert "feature 0" in explained(tmp_path / "tree", str(inputs), 1)
