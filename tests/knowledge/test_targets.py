import numpy as np
import pytest
import torch
from torch import nn

from limbeck.knowledge import CombinedTargets, LabelTargets, LiveTargets, StoredTargets, Targets
from limbeck.models import Outputs

ROWS, VIEW = torch.tensor([4, 0, 2]), torch.tensor([1, 0, 2])


@pytest.fixture
def views():
    return np.random.default_rng(0).normal(-3, 2, (3, 5, 10)).astype(np.float16)


def test_stored_targets_are_those_of_the_row_in_its_view(views):
    found = StoredTargets(views).batch(ROWS, VIEW).logits
    np.testing.assert_array_equal(found.numpy(), views[[1, 0, 2], [4, 0, 2]])


def test_stored_targets_are_widened_before_anything_is_done_to_them(views):
    assert StoredTargets(views).batch(ROWS, VIEW).logits.dtype == torch.float32


def test_stored_targets_copy_nothing(views):
    source = StoredTargets(views)
    views[1, 4] = 7
    assert (source.batch(ROWS, VIEW).logits[0] == 7).all()


def test_a_label_is_the_same_in_every_view():
    labels = np.array([3, 1, -1, 0, 2])
    for view in (VIEW, torch.zeros_like(VIEW)):
        assert LabelTargets(labels).batch(ROWS, view).labels.tolist() == [2, 3, -1]


class Shows(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(6, 10), nn.Dropout(0.5))

    def forward(self, inputs):
        hidden = inputs.flatten(1)
        return Outputs(self.layer(hidden), hidden=(hidden,), attentions=None)


@pytest.fixture
def inputs():
    return np.random.default_rng(1).normal(size=(3, 5, 2, 3)).astype(np.float32)


def test_a_live_teacher_is_asked_about_the_row_in_its_view(inputs):
    teacher = Shows()
    found = LiveTargets(teacher, inputs).batch(ROWS, VIEW)
    seen = torch.from_numpy(inputs[[1, 0, 2], [4, 0, 2]]).flatten(1)
    assert torch.equal(found.hidden[0], seen)
    torch.testing.assert_close(found.logits, teacher.layer[0](seen))


def test_a_live_teacher_s_forward_pass_is_not_recorded_for_gradients(inputs):
    found = LiveTargets(Shows(), inputs).batch(ROWS, VIEW)
    assert not found.logits.requires_grad
    assert found.logits.grad_fn is None


def test_the_first_source_that_has_a_field_gives_it(views):
    class Weighted:
        def batch(self, rows, view):
            return Targets(weights=rows.float(), labels=rows)

    combined = CombinedTargets(StoredTargets(views), LabelTargets(np.arange(5) * 2), Weighted())
    found = combined.batch(ROWS, VIEW)
    np.testing.assert_array_equal(found.logits.numpy(), views[[1, 0, 2], [4, 0, 2]])
    assert found.labels.tolist() == [8, 0, 4]
    assert found.weights.tolist() == [4, 0, 2]
    assert found.hidden is None
