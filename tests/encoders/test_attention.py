"""Attention in training: the fused kernel's numbers, in the format in which its way back is fast."""

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("transformers")

from small import tiny_folder
from transformers.integrations import sdpa_attention

from limbeck.encoders.attention import FUSED, attention, fast_way_back
from limbeck.encoders.finding import load_masked
from limbeck.encoders.layers import student_network
from limbeck.encoders.masked import MaskedEncoder
from limbeck.encoders.masked_text import tokens_of
from limbeck.precision import autocast

SHAPE = (2, 3, 5, 4)  # batch, heads, tokens, width of a head


def projected():
    torch.manual_seed(0)
    return [torch.randn(SHAPE).to(torch.bfloat16).requires_grad_() for _ in range(3)]


@pytest.fixture
def seen(monkeypatch):
    """The formats that the kernel is given, and whether they may be changed on the way, in the order of calls."""
    found = []
    kernel = sdpa_attention.sdpa_attention_forward

    def seeing(module, query, *others, **named):
        found.append((query.dtype, torch.is_autocast_enabled("cpu")))
        return kernel(module, query, *others, **named)

    monkeypatch.setattr(sdpa_attention, "sdpa_attention_forward", seeing)
    return found


@pytest.mark.parametrize("added", [False, True])
def test_outputs_and_gradients_are_those_of_attention_in_float32(added):
    mask = torch.ones(2, 1, 5, 5, dtype=torch.bool)
    mask[1, :, :, 3:] = False
    given = torch.zeros(mask.shape, dtype=torch.bfloat16).masked_fill(~mask, -1e9) if added else mask
    here, there = projected(), [one.detach().float().requires_grad_() for one in projected()]
    with autocast("bfloat16"):
        found, weights = attention(torch.nn.Module(), *here, given, scaling=0.7, is_causal=False)
    expected = F.scaled_dot_product_attention(*there, attn_mask=mask, scale=0.7).transpose(1, 2)
    assert weights is None
    torch.testing.assert_close(found, expected.to(torch.bfloat16), atol=0, rtol=0.01)
    found.float().sum().backward()
    expected.sum().backward()
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(one.grad, other.grad.to(torch.bfloat16), atol=1e-3, rtol=0.01)


@pytest.mark.parametrize("added", [False, True, None])
def test_with_dropout_it_is_the_kernel_s_attention_with_some_weights_left_out(added, monkeypatch):
    mask = torch.ones(2, 1, 5, 5, dtype=torch.bool)
    mask[1, :, :, 3:] = False
    given = None if added is None else torch.zeros(mask.shape).masked_fill(~mask, -1e9) if added else mask
    query, key, value = (one.detach().float() for one in projected())
    shown = None if added is None else mask
    asked = {"scaling": 0.7, "is_causal": False}
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=shown, scale=0.7).transpose(1, 2)
    with monkeypatch.context() as patched:
        patched.setattr("limbeck.models.dropout.dropped_by_bytes", lambda weights, _: weights)
        found, weights = attention(torch.nn.Module(), query, key, value, given, dropout=0.25, **asked)
    assert weights is None
    torch.testing.assert_close(found, expected)

    # Of an identity of values the answer is the weights themselves.
    keys = torch.randn(400, 3, 5, 4)
    identity = torch.eye(5).expand(400, 3, 5, 5)
    torch.manual_seed(0)
    dropped, _ = attention(torch.nn.Module(), keys, keys, identity, None, dropout=0.25, **asked)
    whole = F.scaled_dot_product_attention(keys, keys, identity, scale=0.7).transpose(1, 2)
    assert (dropped == 0).float().mean() == pytest.approx(0.25, abs=0.01)
    torch.testing.assert_close(dropped[dropped != 0], whole[dropped != 0] / 0.75)


def test_only_what_has_a_gradient_to_come_and_no_dropout_is_computed_in_float32(seen):
    module = torch.nn.Module()
    query, key, value = projected()
    with autocast("bfloat16"):
        attention(module, query, key, value, None, is_causal=False)
        attention(module, query.detach(), key, value, None, is_causal=False)
        attention(module, query, key, value, None, dropout=0.1, is_causal=False)
        with torch.no_grad():
            attention(module, query.detach(), key.detach(), value.detach(), None, is_causal=False)
    attention(module, query.float(), key.float(), value.float(), None, is_causal=False)
    changed, kept = (torch.float32, False), (torch.bfloat16, True)
    assert seen == [changed, changed, kept, (torch.float32, False)]  # none with dropout


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_networks_attend_by_it_only_while_they_are_trained(kind, tmp_path, seen):
    folder = tiny_folder(tmp_path, kind)
    network, _ = load_masked(folder, 0)
    student = MaskedEncoder(
        student_network(network, (0,), dropout=0.0), tokens_of(folder, network.config), "masked"
    ).train()
    inputs = torch.tensor([[[5, 6, 7, 8]] * 2, [[5, 6, student.tokens.pad_id, student.tokens.pad_id]] * 2])
    with autocast("bfloat16"):
        student(inputs)
    assert seen == [(torch.float32, False)]
    assert student.network.config._attn_implementation == FUSED
    with fast_way_back(student.network):  # not in bfloat16
        assert student.network.config._attn_implementation == FUSED
    with autocast("bfloat16"), fast_way_back(student.eval().network):
        assert student.network.config._attn_implementation == FUSED


def test_a_failed_step_leaves_the_network_as_it_was(tmp_path):
    network, _ = load_masked(tiny_folder(tmp_path, "bert"), 0)
    with pytest.raises(ValueError, match="stopped"), autocast("bfloat16"), fast_way_back(network.train()):
        assert network.config._attn_implementation != FUSED
        raise ValueError("stopped")
    assert network.config._attn_implementation == FUSED
