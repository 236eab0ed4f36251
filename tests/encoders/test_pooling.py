"""What fine-tuning begins its classifier with comes through distillation without a task."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from small import TEXTS, tiny_folder

from limbeck.data import Part, TextForm
from limbeck.data.texts import packed
from limbeck.encoders.finding import load_classifier
from limbeck.encoders.general import GeneralSettings, distilled_encoder, load_masked_encoder, save_masked
from limbeck.encoders.layers import student_network
from limbeck.encoders.masked_head import train_masked_head
from limbeck.encoders.masked_text import TextSettings
from limbeck.encoders.pooling import pooler_of
from limbeck.objectives import Objective
from limbeck.train_settings import TrainSettings

TRAIN = TrainSettings(epochs=1, batch_size=4, keep="last")
STATES = Objective(soft=0, hard=0, hidden=1)


@pytest.fixture(scope="module")
def texts():
    return Part("text", packed(TEXTS), np.full(len(TEXTS), -1), np.arange(len(TEXTS)), (), TextForm())


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("bert"))


def distilled(teacher, texts, folder, **settings):
    given = GeneralSettings(text=TextSettings(24), **{"objective": STATES, **settings})
    encoder, _ = distilled_encoder(teacher, (0, 3), texts, given, TRAIN, seed=0)
    save_masked(folder, encoder)
    return folder


def head_of(folder):
    return load_classifier(folder, ("bad", "good"), 0)[0]


@pytest.mark.parametrize("objective", [STATES, Objective(soft=0, hard=1, hidden=1)])
def test_the_pooler_is_the_teacher_s_with_a_head_for_masked_words_and_without(bert, texts, tmp_path, objective):
    from transformers import AutoModel

    folder = distilled(bert, texts, tmp_path / "made", objective=objective)
    theirs = load_classifier(bert, None)[0].bert.pooler.dense
    for ours in (head_of(folder).bert.pooler.dense, AutoModel.from_pretrained(folder).pooler.dense):
        assert torch.equal(ours.weight, theirs.weight)
        assert torch.equal(ours.bias, theirs.bias)
    # And through another saving.
    save_masked(tmp_path / "again", load_masked_encoder(folder))
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_a_teacher_that_was_given_a_head_keeps_its_pooler(bert, texts, tmp_path):
    with_head, _ = train_masked_head(bert, texts, TextSettings(24), TRAIN, seed=0)
    save_masked(tmp_path / "head", with_head)
    folder = distilled(tmp_path / "head", texts, tmp_path / "made", objective=Objective(soft=1, hard=1, hidden=1))
    assert torch.equal(pooler_of(folder).dense.weight, pooler_of(bert).dense.weight)


@pytest.mark.parametrize("objective", [STATES, Objective(soft=0, hard=1, hidden=1)])
def test_a_distilbert_has_it_as_its_classifier_s_first_map_and_no_types_of_tokens(bert, texts, tmp_path, objective):
    folder = distilled(bert, texts, tmp_path / "made", architecture="distilbert", objective=objective)
    made = head_of(folder)
    directly = student_network(load_classifier(bert, ("bad", "good"), 0)[0], (0, 3), "distilbert")
    assert torch.equal(made.pre_classifier.weight, directly.pre_classifier.weight)
    assert torch.equal(made.pre_classifier.bias, directly.pre_classifier.bias)
    assert json.loads((folder / "tokenizer_config.json").read_text())["model_input_names"] == [
        "input_ids",
        "attention_mask",
    ]
    # And through another saving, and another distillation.
    save_masked(tmp_path / "again", load_masked_encoder(folder))
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    given = GeneralSettings(text=TextSettings(24), objective=STATES)
    encoder, _ = distilled_encoder(folder, (1,), texts, given, TRAIN, seed=0)
    save_masked(tmp_path / "twice", encoder)
    assert torch.equal(head_of(tmp_path / "twice").pre_classifier.weight, directly.pre_classifier.weight)


def test_random_layers_take_no_pooler(bert, texts, tmp_path):
    assert pooler_of(distilled(bert, texts, tmp_path / "made", initial="random")) is None


@pytest.mark.parametrize("kind", ["roberta", "distilbert"])
def test_what_has_none_is_saved_without(texts, tmp_path, kind):
    from transformers import AutoModel

    teacher = tiny_folder(tmp_path, kind)
    AutoModel.from_pretrained(
        teacher, **({} if kind == "distilbert" else {"add_pooling_layer": False})
    ).save_pretrained(teacher)
    assert pooler_of(teacher) is None
    assert pooler_of(distilled(teacher, texts, tmp_path / "made")) is None
