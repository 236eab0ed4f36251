"""Attention in training: the fused kernel's numbers, in the format in which its way back is fast."""

import json

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("transformers")

from small import tiny_folder
from transformers.integrations import sdpa_attention

from limbeck.encoders.attention import ATTENTION, attention
from limbeck.encoders.finding import load_masked
from limbeck.encoders.layers import student_network
from limbeck.encoders.masked_text import tokens_of
from limbeck.models.encoder_folder import write_network
from limbeck.precision import autocast

SHAPE = (2, 3, 5, 4)  # batch, heads, tokens, width of a head


def projected(seed=0):
    torch.manual_seed(seed)
    return [torch.randn(SHAPE).to(torch.bfloat16).requires_grad_() for _ in range(3)]


def formats(monkeypatch):
    """The formats that the kernel is then given, in the order of calls."""
    seen = []
    kernel = sdpa_attention.sdpa_attention_forward

    def seeing(module, query, *others, **named):
        seen.append((query.dtype, torch.is_autocast_enabled("cpu")))
        return kernel(module, query, *others, **named)

    monkeypatch.setattr(sdpa_attention, "sdpa_attention_forward", seeing)
    return seen


def test_outputs_and_gradients_are_those_of_attention():
    mask = torch.ones(2, 1, 5, 5, dtype=torch.bool)
    mask[1, :, :, 3:] = False
    here, there = projected(), [one.detach().double().requires_grad_() for one in projected()]
    module = torch.nn.Module()
    with autocast("bfloat16"):
        found, weights = attention(module, *here, mask)
    expected = F.scaled_dot_product_attention(*there, attn_mask=mask).transpose(1, 2)
    assert found.dtype == torch.bfloat16
    assert weights is None
    torch.testing.assert_close(found.double(), expected, atol=2e-2, rtol=2e-2)
    found.float().square().sum().backward()
    expected.square().sum().backward()
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, atol=5e-2, rtol=5e-2)


def test_only_what_has_a_gradient_to_come_and_no_dropout_is_computed_in_float32(monkeypatch):
    seen, module = formats(monkeypatch), torch.nn.Module()
    with autocast("bfloat16"):
        attention(module, *projected(), None)
        attention(module, *projected(), None, dropout=0.1)
        with torch.no_grad():
            attention(module, *[one.detach() for one in projected()], None)
    attention(module, *[one.detach().float().requires_grad_() for one in projected()], None)
    assert seen == [(torch.float32, False), (torch.bfloat16, True), (torch.bfloat16, True), (torch.float32, False)]


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_networks_attend_by_it_and_their_folders_say_nothing_of_it(kind, tmp_path, monkeypatch):
    folder = tiny_folder(tmp_path, kind)
    network, _ = load_masked(folder, 0)
    student = student_network(network, (0,), dropout=0.0).train()
    for one in (network, student):
        assert one.config._attn_implementation == ATTENTION
    seen = formats(monkeypatch)
    with autocast("bfloat16"):
        student(input_ids=torch.tensor([[5, 6, 7]]), attention_mask=torch.ones(1, 3, dtype=torch.long))
    assert seen == [(torch.float32, False)]
    write_network(tmp_path / "out", student, tokens_of(folder, network.config))
    assert ATTENTION not in json.dumps(json.loads((tmp_path / "out" / "config.json").read_text()))
