import pytest
import torch

from limbeck import precision
from limbeck.precision import autocast, resolve_precision


@pytest.mark.parametrize(
    ("setting", "kind", "native", "resolved"),
    [
        ("auto", "mlp", True, "bfloat16"),
        ("auto", "convnet", True, "bfloat16"),
        ("auto", None, True, "float32"),
        ("auto", "forest", True, "float32"),
        ("auto", "mlp", False, "float32"),
        ("float32", "mlp", True, "float32"),
        ("bfloat16", None, False, "bfloat16"),
    ],
)
def test_the_rule_looks_at_the_setting_the_kind_and_the_processor_s_flag(monkeypatch, setting, kind, native, resolved):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: native)
    assert resolve_precision(setting, kind) == resolved


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_a_product_is_computed_in_the_precision(name, dtype):
    with autocast(name):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
