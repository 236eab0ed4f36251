"""`limbeck export --to huggingface`: an ordinary folder that transformers reads where limbeck is not installed."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from encoders_to_export import ASKED, CLASSES, rows, saved, texts_file

from limbeck import LimbeckError, build_model, predict_log_probs, save_model
from limbeck.exporting import export_huggingface
from limbeck.exporting.hugging_face import _read_again
from limbeck.exporting.origin import Rows
from limbeck.models.encoder_folder import write_network

ALONE = """
import json, sys

class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "limbeck":
            raise ImportError("limbeck is not installed here")

sys.meta_path.insert(0, Nowhere())
try:
    import limbeck
except ImportError:
    pass
else:
    sys.exit("limbeck was found")
texts = json.loads(sys.argv[2])
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1])
batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
with torch.inference_mode():
    probabilities = model(**batch).logits.softmax(dim=-1).tolist()
said = pipeline("text-classification", sys.argv[1])(texts, truncation=True)
print(json.dumps([probabilities, said]))
"""


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A function: an encoder of a type and its folder, made once."""
    found = {}

    def of(kind):
        if kind not in found:
            found[kind] = saved(tmp_path_factory.mktemp(kind), kind, layers=2)
        return found[kind]

    return of


@pytest.fixture
def away(tmp_path, monkeypatch):
    """A folder to work in that is empty."""
    folder = tmp_path / "away"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_transformers_reads_the_folder_without_limbeck(models, kind, away):
    encoder, path = models(kind)
    found = export_huggingface(path)
    assert found.path == away.relative_to(away) / f"saved-{kind}"
    ended = subprocess.run(
        [sys.executable, "-c", ALONE, found.path, json.dumps(ASKED)],
        capture_output=True, text=True, check=False, timeout=300, env={"HF_HUB_OFFLINE": "1", "PATH": ""},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    probabilities, said = json.loads(ended.stdout)
    expected = np.exp(predict_log_probs(encoder, rows()))
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert [one["label"] for one in said] == [CLASSES[place] for place in expected.argmax(axis=1)]
    np.testing.assert_allclose([one["score"] for one in said], expected.max(axis=1), atol=1e-5)


def test_the_folder_holds_what_hugging_faces_library_reads_and_the_card(models, away, limbeck):
    texts = texts_file(away / "texts.jsonl")
    code, out, err = limbeck("export", models("bert")[1], "--to", "huggingface", "--out", "small", "--rows", texts)
    assert (code, err) == (0, "")
    first, read, cut, card = out.splitlines()
    assert re.fullmatch(r"small: [\d.]+ kB, a Hugging Face folder with a model of type bert", first)
    assert re.fullmatch(
        rf"read again by transformers, and held against the model on 7 rows of {texts}: probabilities differ by at most "
        r"\d\.\de-\d\d, no text has another class",
        read,
    )
    assert cut == f"1 of 7 rows of {texts} are longer than 64 tokens: cut there"
    assert card == "card: small/README.md"
    names = ["README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(path.name for path in (away / "small").iterdir()) == names


def test_the_card_has_the_hubs_front_matter_and_says_only_what_is_known(models, away):
    yaml = pytest.importorskip("yaml")
    text = export_huggingface(models("bert")[1], "small").card.read_text()
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["text-classification", "limbeck"],
    }
    assert r"- 2 classes: neg, \<b\>\*pos\*\|" in body.splitlines()
    assert "## Measured" not in body
    assert "<b>" not in body


def test_the_python_of_the_card_runs(models, away):
    text = export_huggingface(models("bert")[1], "small").card.read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(block, names)
    assert names["probabilities"].shape == (2, 2)
    assert set(names["classes"]) <= set(CLASSES)


def test_an_earlier_export_is_replaced_and_anything_else_is_not(models, away):
    path = models("bert")[1]
    first = (export_huggingface(path, "small").path / "model.safetensors").read_bytes()
    (away / "small" / "model.safetensors").write_bytes(b"older")
    export_huggingface(path, "small")
    assert (away / "small" / "model.safetensors").read_bytes() == first
    (away / "mine").mkdir()
    (away / "mine" / "README.md").write_text("my own")
    with pytest.raises(LimbeckError, match=r"^mine is there and is no folder of an earlier export: give --out another"):
        export_huggingface(path, "mine")
    assert [one.name for one in (away / "mine").iterdir()] == ["README.md"]
    (away / "file").write_text("")
    with pytest.raises(LimbeckError, match=r"^file is a file: give --out the name of a folder$"):
        export_huggingface(path, "file")
    (away / "empty").mkdir()
    assert export_huggingface(path, "empty").card.is_file()


def test_what_is_no_encoder_is_refused_in_one_line(refused, away):
    save_model(away / "net", build_model({"kind": "mlp", "widths": [4]}, (3,), 2), ("a", "b"))
    assert refused("export", "net", "--to", "huggingface", "--out", "x") == (
        1,
        'net is a model of kind "mlp", and a Hugging Face folder holds encoders of texts: expected one of kind '
        '"encoder", or --to onnx',
    )
    assert not (away / "x").exists()


def test_other_forms_and_8_bits_are_refused(refused, models, away):
    path = models("bert")[1]
    assert refused("export", path, "--to", "tflite") == (2, 'to = "tflite": expected onnx or huggingface')
    assert refused("export", path, "--to", "huggingface", "--int8") == (
        2,
        "int8: a Hugging Face folder holds float32 weights; leave --int8 out, or give --to onnx",
    )


def test_a_folder_that_answers_otherwise_is_not_put_in_place(models, tmp_path):
    encoder, _ = models("bert")
    other, _ = saved(tmp_path, "bert", layers=1)
    write_network(tmp_path / "other", other.network, other.tokens)
    with pytest.raises(LimbeckError, match=r"^transformers does not answer as the model does: .* nothing was written$"):
        _read_again(tmp_path / "other", encoder, CLASSES, Rows(rows(), None, "rows", rows()))
