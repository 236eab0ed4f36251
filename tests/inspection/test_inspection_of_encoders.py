"""What `limbeck inspect` says of Hugging Face folders and of encoders that limbeck made."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "encoders"))

from small import tiny_folder

from limbeck.artifacts import Identity
from limbeck.errors import LimbeckError
from limbeck.inspection.facts import inspect
from limbeck.inspection.verification import verify
from limbeck.models import save_model
from limbeck.models.encoder_folder import open_encoder


def changed(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_a_hugging_face_folder_says_what_it_is(tmp_path, kind, limbeck):
    folder = tiny_folder(tmp_path, kind, layers=3, classes=4)
    encoder, _ = open_encoder(folder)
    code, out, err = limbeck("inspect", folder)
    assert (code, err) == (0, "")
    head, *lines = out.splitlines()
    facts = {line[2:15].strip(): line[15:].strip() for line in lines}
    words = encoder.network.config.vocab_size
    assert head == f"{folder}: Hugging Face folder"
    assert facts["type"].startswith(f"{kind} (")
    assert facts["layers"] == "3, of width 32"
    assert facts["vocabulary"] == f"{words:,} pieces, {32 * words:,} parameters"
    assert facts["parameters"] == f"{encoder.parameter_count:,}"
    assert facts["head"] == "classifies texts"
    assert facts["bytes"] == f"{(folder / 'model.safetensors').stat().st_size:,}"
    assert facts["as a teacher"] == (
        f'as it is: from = "{folder}"; fine-tuned anew: model = {{ kind = "encoder", from = "{folder}" }}'
    )
    assert verify(folder) == []


def test_named_classes_are_listed(tmp_path):
    folder = tiny_folder(tmp_path)
    changed(folder, id2label={"0": "bad", "1": "good"})
    assert inspect(folder).facts["classes"] == "2: bad, good"


def test_why_a_folder_is_no_teacher(tmp_path):
    folder = tiny_folder(tmp_path)
    changed(folder, auto_map={"AutoModel": "mine.Model"})
    assert inspect(folder).facts["as a teacher"].startswith("no: it wants code of its own")
    changed(folder, model_type="gpt2", auto_map=None)
    assert inspect(folder).facts["as a teacher"] == (
        f'as it is: from = "{folder}"; students cannot begin with its layers'
    )
    (folder / "model.safetensors").unlink()
    assert inspect(folder).facts["as a teacher"].startswith("no: write its weights as .safetensors")
    assert inspect(folder).facts["bytes"] == "no weights (.safetensors)"


def test_a_config_or_weights_that_cannot_be_read_are_one_line(tmp_path, refused):
    folder = tiny_folder(tmp_path)
    (folder / "model.safetensors").write_bytes(b"no")
    with pytest.raises(LimbeckError, match=r"model\.safetensors is no safetensors file .*: get the model again$"):
        inspect(folder)
    (folder / "config.json").write_text("{}")
    assert refused("inspect", folder) == (
        1,
        f"{folder / 'config.json'} names no model_type: it is no Hugging Face model's, get the model again",
    )


def test_an_encoder_of_limbecks_says_its_layers_and_what_it_began_with(tmp_path):
    encoder, classes = open_encoder(tiny_folder(tmp_path, layers=2))
    model = {"kind": "encoder", "layers": [0, 3], "initial": "layers", "vocabulary": "transfer"}
    identity = Identity("student", 3, {"model": model}, {"start": "ab" * 32}, 0)
    save_model(tmp_path / "saved", encoder, classes, {"identity": identity.as_json()})
    found = inspect(tmp_path / "saved")
    assert found.kind == "student"
    facts = found.facts
    assert facts["inputs"] == "texts (text)"
    assert facts["layers"] == "2, of width 32"
    assert facts["parameters"] == f"{encoder.parameter_count:,}"
    assert facts["begun with"] == "layers 0, 3 of abababababab"
    assert facts["its vocabulary"] == "cut to the pieces that its transfer set uses"
    assert "input shape" not in facts
