import numpy as np
import pytest
import torch

from limbeck.models import MLP
from limbeck.models.dropout import ByteDropout


def test_logits_are_those_of_the_formula(digits):
    torch.manual_seed(0)
    model = MLP((8, 8), 10, [6, 5])
    model.preprocessing.fit(digits.inputs)
    x = (digits.inputs[:7].reshape(7, 64) - digits.inputs.mean()) / digits.inputs.std()
    first, second, last = (layer for layer in model.layers if hasattr(layer, "weight"))
    for layer in (first, second):
        x = np.maximum(x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy(), 0)
    expected = x @ last.weight.detach().numpy().T + last.bias.detach().numpy()
    found = model(torch.from_numpy(digits.inputs[:7])).logits.detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_dropout_follows_every_hidden_layer_and_is_off_in_evaluation(digits):
    inputs = torch.from_numpy(digits.inputs[:20])
    model = MLP((8, 8), 10, [32, 32], dropout=0.5)
    assert sum(isinstance(layer, ByteDropout) for layer in model.layers) == 2
    assert not torch.equal(model(inputs).logits, model(inputs).logits)
    model.eval()
    assert torch.equal(model(inputs).logits, model(inputs).logits)


@pytest.mark.parametrize("shape", [(5,), (8, 8), (8, 8, 3)])
def test_inputs_may_have_any_shape(shape):
    assert MLP(shape, 4, [3])(torch.zeros(2, *shape, dtype=torch.uint8)).logits.shape == (2, 4)


def test_dropout_of_the_inputs_comes_first():
    model = MLP((8, 8), 10, [32], input_dropout=0.2)
    assert [isinstance(layer, ByteDropout) for layer in model.layers] == [True, False, False, False]


def test_weights_into_a_hidden_unit_stay_within_the_norm():
    torch.manual_seed(0)
    model = MLP((8, 8), 10, [32, 16], max_norm=0.5)
    first, second, last = (layer for layer in model.layers if isinstance(layer, torch.nn.Linear))
    with torch.no_grad():
        first.weight[0] *= 0.01
        last.weight *= 100
    small, classes = first.weight[0].clone(), last.weight.clone()
    model.after_step()
    for layer in (first, second):
        assert layer.weight.norm(dim=1).max() <= 0.5 + 1e-6
    assert torch.equal(first.weight[0], small)
    assert torch.equal(last.weight, classes)
