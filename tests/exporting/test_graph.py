"""ONNX files answer as the models that they are of: raw rows in, probabilities and the class's name out."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from models_to_export import FORM, KINDS, made, strange, table

from limbeck import LimbeckError, build_model, predict_log_probs
from limbeck.data import Column, TableForm
from limbeck.exporting import export_onnx, feeds

MODELS = [(name, "digits") for name in KINDS] + [(name, "table") for name in ("mlp", "path", "tree", "boosted")]


def asked(path, form, rows):
    session = onnxruntime.InferenceSession(path)
    return session.run(None, feeds(form, rows))


@pytest.mark.parametrize("count", [1, 3, 50])
@pytest.mark.parametrize(("name", "data"), MODELS)
def test_a_file_answers_as_the_model_does(exported, name, data, count):
    model, path, _, rows = exported(name, data)
    probabilities, _ = asked(path, model.form, rows[:count])
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, np.exp(predict_log_probs(model, rows[:count])), atol=1e-5)


@pytest.mark.parametrize(("name", "data"), MODELS)
def test_the_class_is_the_name_of_the_models_class_for_every_row(exported, name, data):
    model, path, classes, rows = exported(name, data)
    _, names = asked(path, model.form, rows)
    assert names.shape == (len(rows),)
    assert names.tolist() == [classes[c] for c in predict_log_probs(model, rows).argmax(axis=1)]


@pytest.mark.parametrize("name", ["path", "greedy", "average", "tree", "boosted"])
def test_the_models_that_are_compared_give_several_classes(exported, name):
    model, _, _, rows = exported(name, "digits")
    assert len(set(predict_log_probs(model, rows).argmax(axis=1))) > 5


def test_questions_that_were_pruned_are_left_out_of_the_file(exported):
    model, path, _, _ = exported("pruned", "digits")
    assert model.leaf_count < 2**model.depth
    weights = [one.dims for one in onnx.load(path).graph.initializer if one.name.endswith("weight")]
    assert [list(dims) for dims in weights] == [[64, model.leaf_count - 1]]


def test_a_table_has_an_input_for_each_column(exported):
    _, path, _, _ = exported("mlp", "table")
    found = [(one.name, one.type, one.shape) for one in onnxruntime.InferenceSession(path).get_inputs()]
    assert found == [
        ("carat", "tensor(float)", ["batch", 1]),
        ("class", "tensor(string)", ["batch", 1]),
        ("depth %", "tensor(float)", ["batch", 1]),
        ("shape", "tensor(string)", ["batch", 1]),
    ]


@pytest.mark.parametrize("name", ["mlp", "tree"])
def test_texts_are_codes_an_empty_one_is_missing_and_others_are_unknown(exported, name):
    model, path, _, _ = exported(name, "table")
    fed = {
        "carat": np.array([[1.0], [np.nan], [3.0]], dtype=np.float32),
        "class": np.array([["E"], [""], ["a colour of no kind"]], dtype=object),
        "depth %": np.array([[60.0], [58.0], [np.nan]], dtype=np.float32),
        "shape": np.array([['round, "old"'], ["oval"], [""]], dtype=object),
    }
    rows = np.array([[1, 1, 60, 1], [np.nan, np.nan, 58, 0], [3, -1, np.nan, np.nan]], dtype=np.float32)
    probabilities = onnxruntime.InferenceSession(path).run(None, fed)[0]
    np.testing.assert_allclose(probabilities, np.exp(predict_log_probs(model, rows)), atol=1e-6)


def test_what_is_fed_is_what_the_codes_stand_for():
    row = np.array([[1.5, 2, np.nan, -1], [np.nan, np.nan, 60, 0]], dtype=np.float32)
    fed = feeds(FORM, row)
    assert fed["class"].tolist() == [["F"], [""]]
    assert fed["shape"].tolist() == [["?"], ["oval"]]
    np.testing.assert_array_equal(fed["carat"], np.array([[1.5], [np.nan]], dtype=np.float32))


def test_the_file_says_what_it_is_of(exported):
    for name, data, dtype, output in (("mlp", "digits", "uint8", "class"), ("tree", "table", "float32", "class_")):
        model, path, classes, rows = exported(name, data)
        session = onnxruntime.InferenceSession(path)
        about = json.loads(session.get_modelmeta().custom_metadata_map["limbeck"])
        assert about == {
            "classes": list(classes),
            "form": model.form and json.loads(json.dumps(model.form.as_json())),
            "input_shape": list(rows.shape[1:]),
            "dtype": dtype,
            "output": "probabilities",
            "class_output": output,
            "kind": model.kind,
        }
        assert [one.name for one in session.get_outputs()] == ["probabilities", output]


@pytest.mark.parametrize(("name", "data"), MODELS)
def test_a_file_is_a_valid_graph_that_tells_nothing_of_this_machine(exported, name, data):
    _, path, _, _ = exported(name, data)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert not any(node.doc_string or node.metadata_props for node in proto.graph.node)
    for trace in (b"/site-packages", b"/src/limbeck", b".py", b"stack_trace"):
        assert trace not in path.read_bytes()


def test_the_same_models_give_the_same_bytes_in_another_process(tmp_path):
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from models_to_export import made, strange, table\nfrom limbeck.exporting import export_onnx\n"
        "for name in ('mlp', 'path', 'tree', 'boosted'):\n"
        "    export_onnx(made(name, table(400)), Path(sys.argv[2]) / name, ('no', 'yes'), strange(20))\n"
    )
    (tmp_path / "there").mkdir()
    subprocess.run(
        [sys.executable, "-c", script, *map(str, (__file__.rpartition("/")[0], tmp_path / "there"))], check=True
    )
    for name in ("mlp", "path", "tree", "boosted"):
        export_onnx(made(name, table(400)), tmp_path / name, ("no", "yes"), strange(20))
        assert (tmp_path / name).read_bytes() == (tmp_path / "there" / name).read_bytes(), name


class Own(torch.nn.Module):
    """A module of somebody's own, with a branch for single rows."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(64, 10)

    def forward(self, inputs):
        rows = inputs.float().flatten(1)
        return self.linear(rows).sin() if len(rows) > 0 else rows


class Unsteady(torch.nn.Module):
    """Looks at numbers to decide what to do, which no graph can."""

    def forward(self, inputs):
        rows = inputs.float().flatten(1)[:, :10]
        return rows if rows.sum().item() > 3 else -rows


def test_a_module_of_ones_own_is_exported(digits, tmp_path):
    model = Own().eval()
    export_onnx(model, tmp_path / "own.onnx", digits.classes, digits.inputs)
    probabilities, _ = asked(tmp_path / "own.onnx", None, digits.inputs[:40])
    np.testing.assert_allclose(probabilities, np.exp(predict_log_probs(model, digits.inputs[:40])), atol=1e-6)


def test_a_student_that_onnx_cannot_hold_is_refused_in_one_line(digits, tmp_path):
    with pytest.raises(LimbeckError, match="^a student that ONNX cannot hold: Unsteady ") as refused:
        export_onnx(Unsteady(), tmp_path / "unsteady.onnx", digits.classes, digits.inputs)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_boosted_trees_that_are_not_fitted_are_refused(digits, tmp_path):
    model = build_model(KINDS["boosted"], (8, 8), 10)
    with pytest.raises(LimbeckError, match="^the boosted trees are not fitted: fit them before they are exported$"):
        export_onnx(model, tmp_path / "none.onnx", digits.classes, digits.inputs)


def test_a_column_without_a_name_is_refused(tmp_path):
    form = TableForm((Column("a"), Column("")))
    model = build_model(KINDS["tree"], (2,), 2, form=form)
    with pytest.raises(LimbeckError, match="^column 2 has no name: an ONNX file has an input for each by its name; "):
        export_onnx(model, tmp_path / "none.onnx", ("no", "yes"), np.zeros((2, 2), dtype=np.float32))


def test_columns_may_be_called_as_the_graph_calls_its_own(tmp_path):
    names = ("inputs", "probabilities", "class", "net/logits", "net/")
    form = TableForm(tuple(Column(name) for name in names))
    rows = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    model = build_model({"kind": "mlp", "widths": [4]}, (5,), 2, rows, form).eval()
    export_onnx(model, tmp_path / "names.onnx", ("no", "yes"), rows)
    session = onnxruntime.InferenceSession(tmp_path / "names.onnx")
    assert [one.name for one in session.get_outputs()] == ["probabilities_", "class_"]
    np.testing.assert_allclose(
        session.run(None, feeds(form, rows))[0], np.exp(predict_log_probs(model, rows)), atol=1e-6
    )
