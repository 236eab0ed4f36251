import numpy as np
import pytest
import torch
from torch import nn

from limbeck.models import MLP, ConvNet
from limbeck.teachers import FunctionTeacher, TorchTeacher, as_teacher, log_probabilities


class Own(nn.Module):
    """A user's module, that nothing in limbeck knows of, with dropout and normalisation."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Dropout(0.5), nn.Linear(20, 10)
        )

    def forward(self, images):
        return {"logits": self.layers(images.float().flatten(1) / 16)}


@pytest.fixture
def own():
    torch.manual_seed(0)
    return Own()


def test_a_module_of_one_s_own_answers_in_evaluation_mode(own, digits):
    found = as_teacher(own).answer(digits.inputs[:30])
    with torch.no_grad():
        expected = own.eval()(torch.from_numpy(digits.inputs[:30]))["logits"].numpy()
    np.testing.assert_array_equal(found, expected)


def test_asking_changes_nothing_of_the_module(own, digits):
    own.train()
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    as_teacher(own).answer(digits.inputs[:30])
    assert own.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in own.state_dict().items())


def test_asking_records_nothing_for_gradients(own, digits):
    recorded = []
    own.layers[0].register_forward_hook(lambda *_: recorded.append(torch.is_grad_enabled()))
    as_teacher(own).answer(digits.inputs[:5])
    assert recorded == [False]


def test_a_function_is_asked_without_gradients(digits):
    weight = torch.zeros(64, 10, requires_grad=True)

    def function(inputs):
        assert not torch.is_grad_enabled()
        return torch.from_numpy(inputs).float().flatten(1) @ weight

    assert log_probabilities(as_teacher(function), digits.inputs[:5]).shape == (5, 10)


def test_an_answer_in_bfloat16_comes_out_as_float32(digits):
    class Narrow(nn.Module):
        def forward(self, inputs):
            return torch.zeros(len(inputs), 10, dtype=torch.bfloat16)

    assert as_teacher(Narrow()).answer(digits.inputs[:5]).dtype == np.float32


@pytest.mark.parametrize(
    ("model", "size"), [(ConvNet((8, 8), 10, [4, 4, 4]), 250), (MLP((8, 8), 10, [4]), 500), (Own(), 250)]
)
def test_the_batch_size_is_a_fixed_rule_by_kind(model, size):
    assert TorchTeacher(model).batch_size == size
    assert TorchTeacher(model, batch_size=7).batch_size == 7


def test_only_known_kinds_leave_float32_by_themselves(own):
    assert TorchTeacher(own).precision == "float32"
    assert TorchTeacher(own, precision="bfloat16").precision == "bfloat16"


def test_an_object_that_answers_is_a_teacher(digits):
    class Answers:
        def answer(self, inputs):
            return np.full((len(inputs), 2), 0.5)

    class SaysMore(Answers):
        outputs, batch_size, precision = "probabilities", 3, "float32"

    assert log_probabilities(as_teacher(Answers()), digits.inputs[:7]).shape == (7, 2)
    given = SaysMore()
    assert as_teacher(given) is given


def test_what_cannot_be_asked_is_no_teacher():
    with pytest.raises(TypeError, match="list is no teacher: expected a torch module, a function, or"):
        as_teacher([1, 2])


def test_a_function_says_what_its_outputs_are():
    teacher = FunctionTeacher(lambda inputs: np.tile([0.25, 0.75], (len(inputs), 1)), outputs="probabilities")
    np.testing.assert_allclose(np.exp(log_probabilities(teacher, np.zeros((3, 2)))), [[0.25, 0.75]] * 3, atol=1e-6)
