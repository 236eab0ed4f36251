"""Hidden states and projections taken by hooks: the numbers that attention is made of."""

import copy
import math

import pytest
import torch
import transformers
from small import TEXTS, tiny_folder

from limbeck import LimbeckError
from limbeck.encoders.finding import load_classifier
from limbeck.encoders.states import StateCapture

KINDS = ("bert", "roberta", "distilbert")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: tiny_folder(tmp_path_factory.mktemp("small"), kind) for kind in KINDS}


def opened(folder):
    texts = transformers.AutoTokenizer.from_pretrained(folder)(list(TEXTS), padding=True, return_tensors="pt")
    return load_classifier(folder, None)[0], texts


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_are_the_models_own(kind, folders):
    network, texts = opened(folders[kind])
    with StateCapture(network) as capture:
        network(**texts)
        assert torch.equal(capture.hidden, network.base_model(**texts).last_hidden_state)


@pytest.mark.parametrize("layer", [None, 0, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_queries_and_keys_give_the_layers_attention(kind, layer, folders):
    network, texts = opened(folders[kind])
    with StateCapture(network, layer) as capture:
        network(**texts)
        queries, keys, values = capture.projections
    batch, tokens = texts["input_ids"].shape
    assert queries.shape == keys.shape == values.shape == (batch, 2, tokens, 16)
    scores = queries @ keys.transpose(-1, -2) / math.sqrt(16)
    scores = scores.masked_fill(texts["attention_mask"][:, None, None] == 0, -math.inf)
    eager = type(network).from_pretrained(folders[kind], attn_implementation="eager")
    expected = eager(**texts, output_attentions=True).attentions[-1 if layer is None else layer]
    torch.testing.assert_close(scores.softmax(-1), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_flow_through_what_is_captured(kind, folders):
    network, texts = opened(folders[kind])
    with StateCapture(network) as capture:
        network(**texts)
        hidden, projections = capture.taken()
    (hidden.square().sum() + projections.square().sum()).backward()
    embeddings = network.base_model.embeddings.word_embeddings.weight.grad
    assert embeddings is not None
    assert embeddings.abs().sum() > 0


def test_values_are_those_of_the_layers_own_map(folders):
    network, texts = opened(folders["bert"])
    with StateCapture(network) as capture:
        hidden = network(**texts, output_hidden_states=True).hidden_states[-2]
        values = capture.projections[2]
    expected = network.bert.encoder.layer[-1].attention.self.value(hidden)
    assert torch.equal(values.transpose(1, 2).flatten(2), expected)


def test_a_model_without_a_head_is_captured_as_well(folders):
    network, texts = opened(folders["distilbert"])
    with StateCapture(network.base_model) as capture:
        expected = network.base_model(**texts).last_hidden_state
        assert torch.equal(capture.hidden, expected)


def test_what_is_detached_has_no_hooks_and_holds_nothing(folders):
    network, texts = opened(folders["bert"])
    capture = StateCapture(network).attach().attach()
    hooked = sum(len(module._forward_hooks) for module in network.modules())
    network(**texts)
    capture.detach()
    assert hooked == 4
    assert not any(module._forward_hooks for module in network.modules())
    with pytest.raises(RuntimeError, match="^no states were captured: attach before the model's forward pass$"):
        capture.hidden  # noqa: B018


def test_what_was_taken_is_forgotten(folders):
    network, texts = opened(folders["bert"])
    with StateCapture(network) as capture:
        network(**texts)
        capture.taken()
        with pytest.raises(RuntimeError, match="^no states were captured"):
            capture.taken()


def test_a_copied_model_is_captured_by_the_copy_of_its_capture(folders):
    network, texts = opened(folders["bert"])
    capture = StateCapture(network).attach()
    network(**texts)
    hidden, projections = capture.hidden.detach().clone(), capture.projections.detach().clone()
    capture.taken()
    copied, its = copy.deepcopy((network, capture))
    copied(**{name: one[:1] for name, one in texts.items()})
    assert its.projections.shape[1] == its.hidden.shape[0] == 1
    network(**texts)
    assert torch.equal(capture.hidden, hidden)
    assert torch.equal(capture.projections, projections)
    assert its.hidden.shape[0] == 1
    its.detach()
    assert not any(module._forward_hooks for module in copied.modules())


def test_a_layer_that_there_is_not_is_refused(folders):
    network, _ = opened(folders["bert"])
    with pytest.raises(LimbeckError, match="^found layer 4, expected numbers from 0 to 3: the model has 4 layers$"):
        StateCapture(network, 4)
