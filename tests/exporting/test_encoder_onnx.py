"""Encoders as ONNX files: the same answers at any length, the tokenizer beside, and asked like any other model."""

import re
import shutil

import numpy as np
import onnxruntime
import pytest
import torch
from encoders_to_export import CLASSES, rows, saved, texts_file

from limbeck import LimbeckError, UsageError, predict_log_probs
from limbeck.data import TextForm
from limbeck.data.texts import packed
from limbeck.exporting import export, feeds
from limbeck.exporting.encoders import encoder_graph
from limbeck.models.onnx_texts import text_feeds
from limbeck.models.opening import open_model

KINDS = ("bert", "roberta", "distilbert")


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A function: an encoder of a type and what exporting it gave, made once."""
    found = {}

    def of(kind):
        if kind not in found:
            folder = tmp_path_factory.mktemp(kind)
            encoder, path = saved(folder, kind)
            texts = texts_file(folder / "texts.jsonl", times=12)
            found[kind] = encoder, export(path, folder / "m.onnx", rows=texts, label="label", int8=True)
        return found[kind]

    return of


@pytest.fixture
def file(exported, tmp_path):
    """A BERT's file with its tokenizer, in a folder of its own."""
    path = exported("bert")[1].path
    for one in path.parent.glob("m.*"):
        shutil.copy(one, tmp_path)
    return tmp_path / "m.onnx"


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_answers_as_the_model_at_any_length_and_batch(exported, kind):
    encoder, found = exported(kind)
    session = onnxruntime.InferenceSession(found.path)
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if kind == "bert" else [])]
    declared = [(one.name, one.type, one.shape) for one in session.get_inputs()]
    assert declared == [(name, "tensor(int64)", ["batch", "tokens"]) for name in names]
    draw = np.random.default_rng(0)
    for batch, tokens in ((1, 5), (7, 40), (1, 40), (7, 5), (2, 1)):
        ids = draw.integers(5, 100, (batch, tokens))
        mask = (np.arange(tokens) < draw.integers(1, tokens + 1, (batch, 1))).astype(np.int64)
        fed = dict(zip(names, (ids, mask, draw.integers(0, 2, ids.shape)), strict=False))
        with torch.inference_mode():
            logits = encoder.network(**{name: torch.from_numpy(value) for name, value in fed.items()}).logits
        probabilities, classes = session.run(None, fed)
        np.testing.assert_allclose(probabilities, logits.softmax(dim=1).numpy(), atol=1e-5)
        assert classes.tolist() == [CLASSES[place] for place in logits.argmax(dim=1)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_its_tokenizer_is_a_model_of_texts(exported, kind):
    encoder, found = exported(kind)
    model, classes = open_model(found.path)
    assert (classes, model.form, model.input_shape) == (CLASSES, TextForm(), ())
    many = rows(times=20)  # more than are asked at once
    np.testing.assert_allclose(predict_log_probs(model, many), predict_log_probs(encoder, many), atol=1e-4)


def test_the_check_is_told_and_the_long_texts_are_counted(exported):
    encoder, found = exported("bert")
    (first, held, speed, small, tokenizer, card) = found.lines()
    assert re.fullmatch(r".*m\.onnx: [\d.]+ kB, a model of kind encoder", first)
    assert "on 84 rows of" in held
    assert "in batches of 1, 7 and 64" in held
    assert found.check.difference < 1e-5
    assert speed.startswith(f"one text of {encoder.tokens.lengths(rows()[:1])[0]} tokens takes ")
    assert re.search(r"smaller \(dynamic quantisation\); accuracy [\d.]+%, in float32 [\d.]+%", small)
    assert tokenizer == f"tokenizer: {found.path.with_name('m.tokenizer.json')}"
    assert re.search(r"^- 12 of 84 rows of .* are longer than 64 tokens: cut there$", found.card.read_text(), re.M)
    assert card == f"card: {found.card}"


def test_weights_and_embeddings_are_in_8_bits(exported):
    import onnx

    proto = onnx.load(exported("bert")[1].int8.path)
    large = [one for one in proto.graph.initializer if np.prod(one.dims) > 32 * 32]
    assert len(large) >= 3
    assert {onnx.TensorProto.DataType.Name(one.data_type) for one in large} <= {"INT8", "UINT8"}


def test_the_python_of_the_card_runs(exported, monkeypatch):
    found = exported("bert")[1]
    monkeypatch.chdir(found.path.parent)
    (block,) = re.findall(r"```python\n(.*?)```", found.card.read_text(), re.DOTALL)
    names = {}
    exec(block, names)
    model = open_model(found.path)[0]
    expected = np.exp(predict_log_probs(model, packed(["a text", "and another one"])))
    np.testing.assert_allclose(names["probabilities"], expected, atol=1e-6)


def test_the_card_escapes_class_names(exported):
    text = exported("bert")[1].card.read_text()
    assert r"- 2 classes: neg, \<b\>\*pos\*\|" in text.splitlines()
    assert "- takes texts, cut to 64 tokens, their marks among them" in text.splitlines()


def test_predict_and_evaluate_take_the_file(file, limbeck, tmp_path):
    code, out, err = limbeck("predict", file, "a dull movie; never boring")
    assert (code, err) == (0, "")
    encoder_says = np.exp(predict_log_probs(open_model(file)[0], packed(["a dull movie; never boring"])))[0]
    best = int(encoder_says.argmax())
    assert out.startswith(f"0\t{CLASSES[best]} {encoder_says[best]:.4f}\t")
    code, out, err = limbeck("evaluate", file, texts_file(tmp_path / "texts.jsonl"), "--label", "label")
    assert (code, err) == (0, "")
    assert "reference  m" in out


def test_inspect_says_what_the_file_takes(file, limbeck):
    code, out, err = limbeck("inspect", file)
    assert (code, err) == (0, "")
    assert re.search(r"^  kind +encoder$", out, re.M)
    assert re.search(r"^  inputs +texts \(text\), by m\.tokenizer\.json$", out, re.M)
    assert limbeck("inspect", file, "--verify")[0] == 0


def test_a_missing_tokenizer_is_named(file, refused):
    file.with_name("m.tokenizer.json").unlink()
    beside = file.with_name("m.tokenizer.json")
    assert refused("predict", file, "a text") == (
        1,
        f"{file} wants its tokenizer, and there is no {beside}: keep them together",
    )


def test_another_tokenizer_is_refused(file):
    beside = file.with_name("m.tokenizer.json")
    beside.write_text(beside.read_text().replace('"good"', '"goot"'))
    with pytest.raises(LimbeckError, match=re.escape(f"{beside} is not the tokenizer that {file} was exported with")):
        open_model(file)


def test_a_file_of_single_texts_is_not_asked_about_pairs(file):
    with pytest.raises(LimbeckError, match=r"was made for 1 \(text\) columns of text, but the data have 2 \(a, b\)"):
        open_model(file, form=TextForm(("a", "b")))


def test_an_encoder_that_is_too_large_for_a_file_is_refused(exported, monkeypatch):
    monkeypatch.setattr("limbeck.exporting.encoders._MOST_BYTES", 1000)
    with pytest.raises(LimbeckError, match=r"more than a file of 2 GB has room for; give --to huggingface$"):
        encoder_graph(exported("bert")[0])


def test_texts_need_a_tokenizer():
    with pytest.raises(UsageError, match=r"give tokens = model\.tokens"):
        feeds(TextForm(), rows())


def test_pairs_are_told_apart_by_types(exported):
    encoder = exported("bert")[0]
    fed = text_feeds(encoder.tokens, packed(["good film"], ["bad plot scene"]), pairs=True)
    assert fed["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
    assert fed["attention_mask"].dtype == np.int64


def test_the_same_encoder_gives_the_same_bytes(exported, tmp_path):
    encoder, found = exported("distilbert")
    from limbeck.exporting import export_onnx

    export_onnx(encoder, tmp_path / "m.onnx", CLASSES, rows())
    assert (tmp_path / "m.onnx").read_bytes() == found.path.read_bytes()
    assert (tmp_path / "m.tokenizer.json").read_bytes() == found.path.with_name("m.tokenizer.json").read_bytes()
