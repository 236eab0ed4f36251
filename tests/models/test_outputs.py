from types import SimpleNamespace

import pytest
import torch

from limbeck.models import Outputs, logits_of

LOGITS = torch.ones(2, 3)


@pytest.mark.parametrize("returned", [LOGITS, Outputs(LOGITS), {"logits": LOGITS}, SimpleNamespace(logits=LOGITS)])
def test_logits_are_found_in_whatever_a_module_returns(returned):
    assert logits_of(returned) is LOGITS


@pytest.mark.parametrize(("returned", "kind"), [((LOGITS,), "tuple"), ({"y": LOGITS}, "dict"), (None, "NoneType")])
def test_what_holds_no_logits_is_refused_by_its_type(returned, kind):
    with pytest.raises(TypeError, match=f"the model returned {kind}: expected logits"):
        logits_of(returned)
