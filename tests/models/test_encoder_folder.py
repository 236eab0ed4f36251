"""Encoders in folders: written, read, damaged, and what is no encoder's folder."""

import json
import shutil

import numpy as np
import pytest
import torch

from limbeck.data import TextForm
from limbeck.data.texts import packed
from limbeck.errors import LimbeckError
from limbeck.models import load_model
from limbeck.models.encoder_folder import FILES, load_encoder, open_encoder, save_encoder
from limbeck.models.opening import open_model
from tiny_texts import learnable_folder

TEXTS = packed(["a good film", "dull", "the worst plot of all time, çé!"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier of the library transformers."""
    return learnable_folder(tmp_path_factory.mktemp("folders") / "bert", layers=2, classifier=2, names=["no", "yes"])


@pytest.fixture
def encoder(folder):
    return open_encoder(folder, ("no", "yes"), TextForm(("review",)))[0]


def answers(encoder):
    with torch.inference_mode():
        return encoder(torch.from_numpy(TEXTS)).logits.numpy()


def test_what_is_saved_comes_back_and_answers_alike(encoder, tmp_path):
    save_encoder(tmp_path / "saved", encoder, ("no", "yes"))
    again, names = load_encoder(tmp_path / "saved")
    assert (names, again.form, again.settings) == (("no", "yes"), TextForm(("review",)), encoder.settings)
    np.testing.assert_array_equal(answers(again), answers(encoder))
    assert open_model(tmp_path / "saved")[1] == ("no", "yes")


def test_a_folder_saved_twice_has_the_same_bytes(encoder, tmp_path):
    for name in ("one", "two"):
        save_encoder(tmp_path / name, encoder, ("no", "yes"), {"identity": None})
    for name in (*FILES, "model.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    again = load_encoder(tmp_path / "one")[0]
    save_encoder(tmp_path / "three", again, ("no", "yes"), {"identity": None})
    for name in (*FILES, "model.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "three" / name).read_bytes(), name


def test_no_path_of_this_machine_is_in_what_is_saved(encoder, folder, tmp_path):
    save_encoder(tmp_path / "saved", encoder, ("no", "yes"))
    for name in (*FILES, "model.json"):
        assert str(folder.parent).encode() not in (tmp_path / "saved" / name).read_bytes()


def test_a_limit_of_tokens_is_kept(folder, tmp_path):
    short = open_encoder(folder, max_length=5)[0]
    save_encoder(tmp_path / "short", short, ("no", "yes"))
    again = load_encoder(tmp_path / "short")[0]
    assert again.tokens.max_length == 5
    np.testing.assert_array_equal(answers(again), answers(short))
    assert not np.allclose(answers(again), answers(open_encoder(folder)[0]))


def test_a_hugging_face_folder_is_opened_with_its_own_names(folder):
    encoder, names = open_encoder(folder)
    assert (names, encoder.form, encoder.training) == (("no", "yes"), TextForm(("text",)), False)
    other, names = open_encoder(folder, ("yes", "no"))
    assert names == ("yes", "no")
    np.testing.assert_allclose(answers(other), answers(encoder)[:, ::-1], atol=1e-6)


def test_a_folder_of_limbeck_s_needs_its_digests_to_be_right(encoder, tmp_path):
    from limbeck.artifacts import write_sums

    save_encoder(tmp_path, encoder, ("no", "yes"))
    write_sums(tmp_path)
    load_encoder(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_bytes(path.read_bytes().replace(b"good", b"goof", 1))
    with pytest.raises(LimbeckError, match="tokenizer.json"):
        load_encoder(tmp_path)


def problem(folder, **options):
    with pytest.raises(LimbeckError) as caught:
        open_encoder(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_without_a_classifier_says_what_to_do(tmp_path):
    headless = learnable_folder(tmp_path / "headless", layers=1)
    assert problem(headless, classes=("a", "b")) == (
        f"{headless} has no classifier for 2 classes: it has to be fine-tuned first, as a [[teacher]] with "
        'model = { kind = "encoder", from = … }'
    )


def test_tokenizer_and_model_have_to_belong_together(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "mixed")
    other = learnable_folder(tmp_path / "roberta", "roberta", layers=1)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(other / name, tmp_path / "mixed" / name)
    assert "tokenizer and model do not belong together" in problem(tmp_path / "mixed")


def test_a_folder_that_is_no_model_is_said_to_be_none(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "is no Hugging Face model: it has no config.json" in problem(tmp_path / "empty")


def test_a_description_without_a_form_is_damaged(encoder, tmp_path):
    save_encoder(tmp_path, encoder, ("no", "yes"))
    description = json.loads((tmp_path / "model.json").read_text())
    del description["form"]
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(LimbeckError, match="does not say what texts it reads"):
        load_encoder(tmp_path)


def test_load_model_opens_encoders_too(encoder, tmp_path):
    save_encoder(tmp_path, encoder, ("no", "yes"))
    loaded, names = load_model(tmp_path)
    assert names == ("no", "yes")
    for name, tensor in encoder.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor)
