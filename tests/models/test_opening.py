"""A saved model by its path, of whatever kind."""

import json

import numpy as np
import pytest
import torch

from limbeck.at_once.estimators import fit_estimator
from limbeck.errors import LimbeckError
from limbeck.files import DamagedFileError
from limbeck.models import build_model, save_model
from limbeck.models.estimator_file import save_estimator_model
from limbeck.models.opening import open_model, saved_files

NAMES = tuple("0123456789")


@pytest.fixture
def net(tmp_path, digits):
    torch.manual_seed(0)
    save_model(tmp_path / "net", build_model({"kind": "mlp", "widths": [4]}, (8, 8), 10, digits.inputs), NAMES)
    return tmp_path / "net"


@pytest.fixture
def forest(tmp_path, digits):
    fitted = fit_estimator("random-forest", {"trees": 30}, digits.take(np.arange(200)), 0)
    save_estimator_model(tmp_path / "forest", fitted.model, NAMES)
    return tmp_path / "forest"


def test_a_net_and_an_estimator_are_opened_alike(net, forest, digits):
    for path, kind in ((net, "mlp"), (forest, "random-forest")):
        model, classes = open_model(path)
        assert (model.kind, classes, tuple(model.input_shape)) == (kind, NAMES, (8, 8))
        assert not model.training
        assert model(torch.from_numpy(digits.inputs[:3])).logits.shape == (3, 10)


def test_its_path_may_be_text(net):
    assert open_model(str(net))[1] == NAMES


def test_the_numbers_of_a_model_are_in_its_files(net, forest):
    assert saved_files(net) == [net / "model.safetensors"]
    assert saved_files(forest) == [forest / "model.skops"]
    assert saved_files(net / "model.json") == [net / "model.json"]


def test_an_onnx_file_says_what_its_classes_are(net, tmp_path, digits):
    pytest.importorskip("onnxruntime")
    from limbeck.exporting import export

    np.save(tmp_path / "rows.npy", digits.inputs[:40])
    export(net, tmp_path / "net.onnx", rows=str(tmp_path / "rows.npy"))
    model, classes = open_model(tmp_path / "net.onnx")
    assert (model.kind, classes) == ("onnx", NAMES)
    (tmp_path / "link").symlink_to(tmp_path / "net.onnx")
    assert open_model(tmp_path / "link")[1] == NAMES
    assert saved_files(tmp_path / "net.onnx") == [tmp_path / "net.onnx"]


@pytest.mark.parametrize("name", ["rows.csv", "net.pt", "noend"])
def test_another_file_is_no_saved_model(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(LimbeckError) as error:
        open_model(tmp_path / name)
    assert str(error.value) == f"{tmp_path / name} is no saved model: expected the folder of one, or an .onnx file"


def test_a_file_that_only_teaches_is_called_what_it_is(tmp_path):
    for name in ("model.skops", "said.csv"):
        (tmp_path / name).write_bytes(b"x")
        (tmp_path / name.partition(".")[0]).symlink_to(tmp_path / name)
    for name, what in (
        ("model.skops", "is a skops file, whose fitted estimator is only asked as a teacher in a run"),
        ("model", "is a skops file, whose fitted estimator is only asked as a teacher in a run"),
        ("said", "is a file of predictions, which answers no rows but its own"),
    ):
        with pytest.raises(LimbeckError) as error:
            open_model(tmp_path / name)
        assert str(error.value) == f"{tmp_path / name} {what}: expected the folder of a saved model, or an .onnx file"


def test_an_onnx_file_is_named_as_it_was_given(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e.onnx").write_bytes(b"x")
    with pytest.raises(LimbeckError, match=r"^e\.onnx cannot be read as an ONNX model"):
        open_model("e.onnx")


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(LimbeckError, match=str(tmp_path)):
        open_model(tmp_path)
    with pytest.raises(LimbeckError, match="nowhere"):
        open_model(tmp_path / "nowhere")


def test_an_unknown_kind_is_named(net):
    described = json.loads((net / "model.json").read_text())
    (net / "model.json").write_text(json.dumps({**described, "kind": "oracle"}))
    with pytest.raises(LimbeckError, match='no model of kind "oracle"'):
        open_model(net)


def test_damage_is_named(net, forest):
    for path in (net / "model.safetensors", forest / "model.skops"):
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(DamagedFileError) as error:
            open_model(path.parent)
        assert error.value.path == path
