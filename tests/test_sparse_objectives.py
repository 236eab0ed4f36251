import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax

from limbeck.errors import LimbeckError, UsageError
from limbeck.knowledge.sparse_targets import TEMPERATURES, SparseTargets, top_and_tails
from limbeck.objectives import soft_target_loss
from limbeck.sparse_objectives import sparse_soft_target_loss

ROWS, CLASSES = 6, 40


def logits(seed, rows=ROWS, classes=CLASSES, grad=False):
    values = np.random.default_rng(seed).normal(scale=3, size=(rows, classes))
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def exact(teacher, k):
    """Sparse targets in float64, for comparisons that float32 would blur."""
    log_probs = teacher.log_softmax(dim=1)
    values, indices = log_probs.topk(k, dim=1)
    rest = log_probs.scatter(1, indices, -torch.inf)
    tails = torch.stack([(rest / temperature).logsumexp(dim=1) for temperature in TEMPERATURES], dim=1)
    return SparseTargets(values, indices, tails, torch.tensor([0, len(teacher)]), teacher.shape[1])


def cells(distribution, indices):
    """Probabilities of the kept classes, and of the others together."""
    kept = np.take_along_axis(distribution, indices.numpy(), 1)
    return np.concatenate([kept, 1 - kept.sum(axis=1, keepdims=True)], axis=1)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_it_is_t_squared_times_the_relative_entropy_of_the_cells(temperature):
    student, targets = logits(0), exact(logits(1), 8)
    teacher = cells(softmax(logits(1).numpy() / temperature, axis=1), targets.indices)
    own = cells(softmax(student.numpy() / temperature, axis=1), targets.indices)
    expected = temperature**2 * rel_entr(teacher, own).sum(axis=1).mean()
    assert sparse_soft_target_loss(student, targets, temperature).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("tail", ["one_cell", "even"])
def test_with_all_classes_it_is_the_dense_loss_and_so_is_its_gradient(temperature, tail):
    student, same = logits(0, grad=True), logits(0, grad=True)
    sparse = sparse_soft_target_loss(student, exact(logits(1), CLASSES), temperature, tail=tail)
    dense = soft_target_loss(same, logits(1), temperature)
    assert sparse.item() == pytest.approx(dense.item(), rel=1e-12)
    sparse.backward()
    dense.backward()
    torch.testing.assert_close(student.grad, same.grad, atol=1e-14, rtol=1e-10)


@pytest.mark.parametrize("tail", ["one_cell", "even"])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_gradient_is_that_of_finite_differences(tail, temperature):
    student, targets = logits(0, rows=3, classes=9, grad=True), exact(logits(1, rows=3, classes=9), 4)
    weights = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda z: sparse_soft_target_loss(z, targets, temperature, tail=tail, weights=weights), student
    )


def test_an_even_tail_is_the_dense_loss_of_a_teacher_whose_other_classes_are_alike():
    teacher = logits(1)
    targets = exact(teacher, 5)
    flat = torch.full_like(teacher, -8.0).scatter(1, targets.indices, teacher.gather(1, targets.indices) + 20)
    for temperature in TEMPERATURES:
        found = sparse_soft_target_loss(logits(0), exact(flat, 5), temperature, tail="even")
        dense = soft_target_loss(logits(0), flat, temperature)
        assert found.item() == pytest.approx(dense.item(), rel=1e-10)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, CLASSES), st.sampled_from(TEMPERATURES))
def test_one_cell_is_never_above_the_dense_loss_nor_below_zero(seed, k, temperature):
    student, teacher = logits(seed), logits(seed + 1)
    found = sparse_soft_target_loss(student, exact(teacher, k), temperature).item()
    assert -1e-9 <= found <= soft_target_loss(student, teacher, temperature).item() + 1e-9


def test_a_student_that_has_learnt_its_teacher_has_no_loss_and_no_gradient():
    student = logits(1, grad=True)
    loss = sparse_soft_target_loss(student, exact(logits(1), 5), 2.0)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert student.grad.abs().max() < 1e-12


def test_a_constant_added_to_a_row_changes_nothing():
    targets, student = exact(logits(1), 5), logits(0)
    moved = student + torch.arange(ROWS, dtype=torch.float64)[:, None] * 100
    one, other = (sparse_soft_target_loss(z, targets, 2.0).item() for z in (student, moved))
    assert one == pytest.approx(other, rel=1e-10)


def test_a_student_whose_tail_is_nearly_nothing_gets_a_finite_gradient_that_raises_it():
    student = torch.tensor([[300.0, 0.0, 0.0, 1.0]], requires_grad=True)
    targets = top_and_tails(torch.tensor([[2.0, 1.0, 1.0, 1.0]]), 1)
    loss = sparse_soft_target_loss(student, targets, 1.0)
    loss.backward()
    assert math.isfinite(loss.item())
    outside = 3 * math.e / (3 * math.e + math.e**2)
    shares = torch.tensor([0.0, 0.0, 1.0]).softmax(dim=0)
    torch.testing.assert_close(student.grad[0, 1:], -outside * shares, atol=1e-6, rtol=1e-5)
    assert student.grad[0, 0].item() == pytest.approx(outside, rel=1e-5)


def test_what_is_computed_in_pieces_is_what_is_computed_at_once(monkeypatch):
    def found():
        student = logits(0, grad=True)
        loss = sparse_soft_target_loss(student, exact(logits(1), 7), 4.0)
        loss.backward()
        return loss.item(), student.grad

    loss, gradient = found()
    monkeypatch.setattr("limbeck.sparse_objectives._NUMBERS_AT_ONCE", 2 * CLASSES)
    in_pieces, same = found()
    assert in_pieces == pytest.approx(loss, rel=1e-14)
    torch.testing.assert_close(same, gradient, atol=1e-15, rtol=1e-12)


def test_narrow_logits_are_widened_and_get_a_gradient_of_their_own_kind():
    student = logits(0).half().requires_grad_()
    targets = top_and_tails(logits(1), 5)
    loss = sparse_soft_target_loss(student, targets, 2.0)
    loss.backward()
    assert (loss.dtype, student.grad.dtype) == (torch.float32, torch.float16)
    wide = sparse_soft_target_loss(student.detach().float(), targets, 2.0)
    assert loss.item() == wide.item()


def test_weights_make_a_weighted_mean():
    student, targets = logits(0), exact(logits(1), 5)
    alone = [
        sparse_soft_target_loss(student[row : row + 1], exact(logits(1)[row : row + 1], 5), 2.0).item()
        for row in range(ROWS)
    ]
    weights = torch.tensor([1.0, 0.0, 2.0, 0.5, 3.0, 0.25], dtype=torch.float64)
    found = sparse_soft_target_loss(student, targets, 2.0, weights=weights)
    assert found.item() == pytest.approx(np.average(alone, weights=weights.numpy()), rel=1e-10)
    none = sparse_soft_target_loss(student, targets, 2.0, weights=torch.zeros(ROWS))
    assert none.item() == 0


@pytest.mark.parametrize("temperature", [0.5, 3.0, 20.0, -1.0, math.nan])
def test_other_temperatures_are_refused_and_those_that_are_stored_named(temperature):
    with pytest.raises(UsageError, match=r"holds the tails at 1, 2, 4 and 10 alone"):
        sparse_soft_target_loss(logits(0), exact(logits(1), 5), temperature)


def test_what_does_not_fit_is_refused():
    targets = exact(logits(1), 5)
    with pytest.raises(LimbeckError, match=r"shape \(6, 41\), but the teacher's knowledge is of 6 outputs with 40"):
        sparse_soft_target_loss(logits(0, classes=41), targets, 1.0)
    with pytest.raises(LimbeckError, match=r"shape \(5, 40\)"):
        sparse_soft_target_loss(logits(0, rows=5), targets, 1.0)
    with pytest.raises(LimbeckError, match="not empty"):
        sparse_soft_target_loss(logits(0, rows=0), exact(logits(1, rows=0), 5), 1.0)
    with pytest.raises(LimbeckError, match=r"weights have shape \(2,\), but there are 6 outputs"):
        sparse_soft_target_loss(logits(0), targets, 1.0, weights=torch.ones(2))
    with pytest.raises(UsageError, match="tail is 'flat', but must be one of one_cell, even"):
        sparse_soft_target_loss(logits(0), targets, 1.0, tail="flat")
