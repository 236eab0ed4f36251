import numpy as np
import pytest
import torch
from torch import nn

from limbeck.errors import UsageError
from limbeck.knowledge import (
    CombinedTargets,
    LabelTargets,
    LiveTargets,
    RowWeights,
    StoredTargets,
    Targets,
    permuted,
    smoothed_labels,
)
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


def test_a_synthetic_row_has_no_label():
    labels = np.array([3, 1, -1, 0, 2])
    assert LabelTargets(labels, synthetic=True).batch(ROWS, VIEW).labels.tolist() == [-1, 3, -1]


def test_a_row_s_weight_is_the_same_in_every_view():
    weights = RowWeights(np.array([0.5, 1, 0.25, 0, 2], np.float32))
    for view in (VIEW, torch.zeros_like(VIEW)):
        found = weights.batch(ROWS, view)
        assert found.weights.tolist() == [2, 0.5, 0.25]
        assert (found.labels, found.logits) == (None, None)


class Shows(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(6, 10), nn.Dropout(0.5))

    def forward(self, inputs):
        hidden = inputs.flatten(1)
        return Outputs(self.layer(hidden), hidden=hidden)


@pytest.fixture
def inputs():
    return np.random.default_rng(1).normal(size=(3, 5, 2, 3)).astype(np.float32)


def test_a_live_teacher_is_asked_about_the_row_in_its_view(inputs):
    teacher = Shows()
    found = LiveTargets(teacher, inputs).batch(ROWS, VIEW)
    seen = torch.from_numpy(inputs[[1, 0, 2], [4, 0, 2]]).flatten(1)
    assert torch.equal(found.hidden, seen)
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


# ---------------------------------------------------------------- what is made of soft targets


@pytest.fixture
def log_probs():
    logits = torch.from_numpy(np.random.default_rng(1).normal(0, 3, (2, 400, 6)))
    return logits.log_softmax(dim=-1).numpy().astype(np.float16)


def test_permuted_targets_are_as_sure_as_before_and_of_no_similarity(log_probs):
    found = permuted(log_probs, seed=3)
    assert found.dtype == log_probs.dtype
    np.testing.assert_array_equal(found.argmax(axis=2), log_probs.argmax(axis=2))
    np.testing.assert_array_equal(np.sort(found, axis=2), np.sort(log_probs, axis=2))
    second = [np.argsort(values, axis=2)[:, :, -2] for values in (found, log_probs)]
    # The second class is another in four of five rows, as of five classes one is hit by chance.
    assert (second[0] == second[1]).mean() == pytest.approx(1 / 5, abs=0.06)


def test_rows_and_views_are_permuted_in_their_own_ways(log_probs):
    same = np.broadcast_to(log_probs[:1, :1], (2, 400, 6)).copy()
    found = permuted(same, seed=3)
    assert len({row.tobytes() for row in found.reshape(-1, 6)}) > 100


def test_the_seed_decides_the_permutation(log_probs):
    assert (permuted(log_probs, seed=3) == permuted(log_probs, seed=3)).all()
    assert (permuted(log_probs, seed=3) != permuted(log_probs, seed=4)).any()


def test_smoothed_labels_are_as_sure_as_the_teacher_on_the_average(log_probs):
    labels, chosen = np.random.default_rng(2).integers(0, 6, 400), np.arange(0, 400, 3)
    found = torch.from_numpy(smoothed_labels(log_probs, labels, 4.0, chosen))
    assert found.shape == log_probs.shape
    targets = (found / 4).softmax(dim=-1).double().numpy()
    wanted = torch.from_numpy(log_probs[:, chosen].astype(np.float64)).div(4).softmax(dim=-1).amax(dim=-1).mean()
    right = np.take_along_axis(targets, np.broadcast_to(labels[:, None], (2, 400, 1)), axis=2)
    np.testing.assert_allclose(right, float(wanted), rtol=1e-4)
    np.testing.assert_allclose(targets.min(axis=2), (1 - float(wanted)) / 5, rtol=1e-4)


def test_smoothed_labels_need_labels(log_probs):
    labels = np.full(400, 2)
    labels[7] = -1
    smoothed_labels(log_probs, labels, 4.0, np.arange(5))
    with pytest.raises(UsageError, match="need a label for every row"):
        smoothed_labels(log_probs, labels, 4.0)


def test_a_sure_teacher_s_smoothed_labels_are_finite(log_probs):
    sure = np.full((1, 3, 6), -60000, np.float16)
    sure[:, :, 1] = 0
    assert np.isfinite(smoothed_labels(sure, np.array([1, 1, 1]), 1.0)).all()
