"""Files of 8 bits: how large they are, and what they get wrong."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from models_to_export import learnt, made, table

from limbeck import Part, build_model, predict_log_probs
from limbeck.exporting import export_module


@pytest.fixture(scope="module")
def split(digits):
    order = np.random.default_rng(0).permutation(len(digits))
    return digits.take(order[:1300]), digits.take(order[1300:])


@pytest.fixture(scope="module")
def quantised(split, tmp_path_factory):
    """A function: a model's settings, exported in 8 bits too."""
    train, test = split
    folder, found = tmp_path_factory.mktemp("int8"), {}

    def export(kind, **settings):
        if kind not in found:
            torch.manual_seed(0)
            model = build_model({"kind": kind, **settings}, (8, 8), 10, train.inputs)
            learnt(model, train, epochs=8)
            found[kind] = export_module(
                model,
                folder / f"{kind}.onnx",
                train.classes,
                test.inputs,
                test.labels,
                int8=True,
                calibration=train.inputs,
            )
        return found[kind]

    return export


KINDS = {"mlp": ("dynamic", "MatMulInteger"), "convnet": ("static", "QuantizeLinear")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_8_bits_is_a_third_as_large_and_within_half_a_point(quantised, kind):
    found = quantised(kind)
    assert found.accuracy > 0.9
    assert found.int8.accuracy >= found.accuracy - 0.005
    assert found.path.stat().st_size == found.bytes >= 3 * found.int8.bytes
    assert found.int8.path.stat().st_size == found.int8.bytes


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_of_a_file_of_8_bits_is_what_it_answers(quantised, split, kind):
    found, test = quantised(kind), split[1]
    names = [
        onnxruntime.InferenceSession(path).run(["class"], {"inputs": test.inputs})[0]
        for path in (found.path, found.int8.path)
    ]
    assert found.int8.changed == np.count_nonzero(names[0] != names[1])
    assert found.int8.accuracy == np.mean(names[1] == np.array(test.classes)[test.labels])


@pytest.mark.parametrize("kind", KINDS)
def test_matrix_products_are_quantised_as_they_come_and_convolutions_by_calibration(quantised, kind):
    found = quantised(kind)
    how, operator = KINDS[kind]
    proto = onnx.load(found.int8.path)
    assert found.int8.how == how
    assert operator in {node.op_type for node in proto.graph.node}
    (about,) = proto.metadata_props
    assert json.loads(about.value)["int8"] == how
    assert {opset.domain for opset in proto.opset_import} == {""}


def test_the_leaves_of_a_soft_tree_stay_in_float32(quantised):
    found = quantised("soft-tree", depth=5, predict="average")
    numbers = {one.name: one.data_type for one in onnx.load(found.int8.path).graph.initializer}
    kept = [name for name, kind in numbers.items() if kind == onnx.TensorProto.FLOAT and "distributions" in name]
    assert len(kept) == 1
    assert onnx.TensorProto.INT8 in numbers.values()


def test_trees_hold_nothing_to_quantise(digits, tmp_path):
    found = export_module(
        made("tree", digits), tmp_path / "tree.onnx", digits.classes, digits.inputs, digits.labels, int8=True
    )
    assert found.int8 is None
    assert "a model of kind sklearn-tree holds no matrices to quantise: no file of 8 bits was written" in found.lines()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tree.md", "tree.onnx"]


def test_nothing_that_the_libraries_say_reaches_the_terminal(digits, tmp_path, capfd, recwarn):
    export_module(made("convnet", digits), tmp_path / "c.onnx", digits.classes, digits.inputs, int8=True)
    assert capfd.readouterr() == ("", "")
    assert not list(recwarn)


def test_a_table_is_quantised_behind_its_columns(tmp_path):
    part = table(400)
    found = export_module(made("mlp", part), tmp_path / "m.onnx", part.classes, part.inputs, part.labels, int8=True)
    assert found.int8.accuracy >= found.accuracy - 0.01
    inputs = [one.name for one in onnxruntime.InferenceSession(found.int8.path).get_inputs()]
    assert inputs == list(part.form.names)


def test_a_far_value_leaves_the_other_rows_of_its_batch_their_bits(tmp_path):
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(600, 6)).astype(np.float32)
    labels = (inputs @ draw.normal(size=6) > 0).astype(np.int64)
    train = Part("train", inputs, labels, np.arange(600), ("no", "yes"))
    torch.manual_seed(0)
    model = build_model({"kind": "mlp", "widths": [64, 64]}, (6,), 2, inputs)
    learnt(model, train, epochs=5)
    far = np.concatenate([inputs[:99], np.full((1, 6), 300, np.float32)])  # hundreds of deviations away
    exported = export_module(model, tmp_path / "m.onnx", train.classes, far, int8=True)
    session = onnxruntime.InferenceSession(exported.int8.path)
    _, classes = session.run(None, {"inputs": far})
    of_model = np.array(train.classes)[predict_log_probs(model, far).argmax(axis=1)]
    assert (classes[:99] == of_model[:99]).mean() > 0.95
