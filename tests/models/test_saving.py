import json
import pickle
import shutil
import warnings

import numpy as np
import pytest
import torch

from limbeck.artifacts import write_sums
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import DamagedFileError, read_tensors, write_tensors
from limbeck.models import MLP, ConvNet, build_model, load_model, save_model

NAMES = tuple("0123456789")


@pytest.fixture(params=["mlp", "convnet"])
def model(request, digits):
    torch.manual_seed(1)
    settings = {"mlp": {"widths": [12], "dropout": 0.2}, "convnet": {"widths": [4, 4, 8], "hidden": 8, "dropout": 0.1}}
    return build_model({"kind": request.param, **settings[request.param]}, (8, 8), 10, digits.inputs)


@pytest.fixture
def folder(model, tmp_path):
    save_model(tmp_path / "model", model, NAMES)
    return tmp_path / "model"


def change(folder, **changed):
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def message(folder, kind=LimbeckError):
    with pytest.raises(kind) as refused:
        load_model(folder)
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_model_loaded_is_the_model_saved(model, folder, digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded, classes = load_model(folder)
    inputs = torch.from_numpy(digits.inputs[:50])
    assert type(loaded) is type(model)
    assert loaded.settings == model.settings
    assert classes == NAMES
    assert not loaded.training
    assert torch.equal(loaded(inputs).logits, model.eval()(inputs).logits)


def test_preprocessing_is_saved_with_the_model(model, folder, digits):
    loaded, _ = load_model(folder)
    assert loaded.preprocessing.mean.item() == pytest.approx(digits.inputs.mean())
    assert torch.equal(loaded.preprocessing.std, model.preprocessing.std)


def test_a_loaded_model_can_be_trained_on(folder, digits):
    loaded, _ = load_model(folder)
    loaded.train()(torch.from_numpy(digits.inputs[:4])).logits.sum().backward()
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter -= parameter.grad


def test_saving_twice_gives_the_same_bytes(model, folder, tmp_path):
    save_model(tmp_path / "again", model, NAMES)
    for name in ("model.safetensors", "model.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_a_module_of_one_s_own_is_not_saved_but_told_how(tmp_path):
    with pytest.raises(LimbeckError, match=r"Sequential is no model of a kind .*save_file"):
        save_model(tmp_path / "model", torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)), NAMES)
    assert not (tmp_path / "model").exists()


def test_a_pickle_in_the_weights_place_is_refused_and_not_run(folder, tmp_path):
    class Harmful:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    for content in (pickle.dumps(Harmful()), b"PK\x03\x04" + pickle.dumps(Harmful())):
        (folder / "model.safetensors").write_bytes(content)
        assert "model.safetensors is damaged: not a safetensors file" in message(folder, DamagedFileError)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["transformer", "__import__('os')", "torch.nn.Linear", None, 3])
def test_an_unknown_kind_is_named_with_those_there_are(folder, kind):
    change(folder, kind=kind)
    assert f'no model of kind "{kind}"' in message(folder)
    assert "mlp, convnet" in message(folder)


def test_a_newer_format_asks_for_a_newer_limbeck(folder):
    (folder / "model.json").write_text('{"format": 2, "what": "it will be nobody knows"}')
    assert "model.json has format 2, this version reads 1: update limbeck" in message(folder)


def test_a_changed_weight_is_damage(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "model.safetensors is damaged" in message(folder, DamagedFileError)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_in_an_artifact_every_file_is_checked_against_the_sums(folder, model, tmp_path, name):
    write_sums(folder)
    load_model(folder)
    other = tmp_path / "other"
    with torch.no_grad():
        model.preprocessing.mean += 1
    save_model(other, model, NAMES[::-1])
    shutil.copy(other / name, folder / name)
    assert f"{name} is damaged: it does not give the digest in SHA256SUMS" in message(folder, DamagedFileError)


def test_missing_files_are_named(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    assert "model.safetensors is damaged: it is missing" in message(folder, DamagedFileError)
    (folder / "model.json").unlink()
    assert "holds no model: expected model.json and model.safetensors in it" in message(folder)
    assert message(tmp_path / "nothing").endswith(
        "does not exist: give the folder of a model, such as one in a run's models/"
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"settings": {"widths": "wide"}},
        {"settings": {"widths": [-3, 4, 4]}},
        {"settings": {"widths": [4]}, "kind": "convnet"},
        {"settings": {"depth": 3}},
        {"settings": []},
        {"settings": None},
        {"classes": 10},
        {"classes": NAMES[:7]},
        {"input_shape": "8x8"},
        {"input_shape": [4, 4]},
        {"input_shape": [-8, 8]},
        {"input_shape": None},
        {"format": None},
    ],
)
def test_a_description_that_does_not_fit_its_weights_is_one_clear_line(folder, changed):
    change(folder, **changed)
    assert message(folder)


def test_a_description_that_is_no_description_is_damaged(folder):
    for content in ("", "{", "[]", "{}", '"model"', '{"format": 1}', "\xff"):
        (folder / "model.json").write_bytes(content.encode("latin-1"))
        assert "model.json is damaged" in message(folder, DamagedFileError)


def test_weights_of_another_model_do_not_fit(folder):
    tensors, header = read_tensors(folder / "model.safetensors")
    header.pop("digest")
    name = next(name for name in tensors if name.endswith("weight"))
    write_tensors(folder / "model.safetensors", {**tensors, name: np.zeros((1, 1), np.float32)}, header)
    assert "its tensors do not fit model.json" in message(folder, DamagedFileError)
    tensors.pop(name)
    write_tensors(folder / "model.safetensors", tensors, header)
    assert name in message(folder, DamagedFileError)


def test_building_an_unknown_kind_suggests_the_nearest():
    with pytest.raises(UsageError, match='no model of kind "convet", did you mean "convnet"'):
        build_model({"kind": "convet"}, (8, 8), 10)


def test_building_with_a_setting_that_a_kind_does_not_take_names_it():
    with pytest.raises(UsageError, match=r'model of kind "mlp": .*hidden'):
        build_model({"kind": "mlp", "hidden": 3}, (8, 8), 10)


def test_the_same_seed_gives_the_same_weights():
    built = []
    for _ in range(2):
        torch.manual_seed(5)
        built.append(build_model({"kind": "convnet", "widths": [4, 4, 4]}, (8, 8), 10))
    assert isinstance(built[0], ConvNet)
    assert not isinstance(built[0], MLP)
    first, second = (model.state_dict() for model in built)
    assert all(torch.equal(first[name], second[name]) for name in first)
