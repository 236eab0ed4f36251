from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax, rel_entr, softmax
from torch import Tensor

from limbeck.errors import LimbeckError, UsageError
from limbeck.objectives import (
    Objective,
    hard_label_loss,
    logit_matching_loss,
    soft_target_loss,
    tempered,
)

ROWS, CLASSES = 6, 10
TEMPERATURES = (0.5, 1.0, 4.0, 20.0)


def logits(seed: int, *, rows: int = ROWS, grad: bool = False) -> Tensor:
    values = np.random.default_rng(seed).normal(scale=3, size=(rows, CLASSES))
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


LABELS = torch.tensor([3, 0, 9, 3, 5, 1])
SOME_LABELS = torch.tensor([3, -1, 9, -1, -1, 1])
WEIGHTS = torch.tensor([1.0, 0.0, 2.0, 0.5, 3.0, 0.25], dtype=torch.float64)


# --- soft targets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_soft_target_loss_is_t_squared_times_the_relative_entropy(temperature: float) -> None:
    student, teacher = logits(0), logits(1)
    targets = softmax(teacher.numpy() / temperature, axis=1)
    probabilities = softmax(student.numpy() / temperature, axis=1)
    expected = temperature**2 * rel_entr(targets, probabilities).sum(axis=1).mean()
    assert soft_target_loss(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-12)


def test_soft_target_loss_of_a_case_worked_out_by_hand() -> None:
    # Targets 3/4 and 1/4, student 1/2 and 1/2: KL = 3/4 ln(3/2) + 1/4 ln(1/2). At T = 2 the logits double.
    teacher = torch.tensor([[math.log(3), 0.0]], dtype=torch.float64)
    student = torch.zeros(1, 2, dtype=torch.float64)
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert soft_target_loss(student, teacher, 1).item() == pytest.approx(divergence, rel=1e-12)
    assert soft_target_loss(student, 2 * teacher, 2).item() == pytest.approx(4 * divergence, rel=1e-12)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_soft_target_gradient_is_t_times_the_difference_of_the_probabilities(temperature: float) -> None:
    student, teacher = logits(0, grad=True), logits(1)
    soft_target_loss(student, teacher, temperature).backward()
    difference = softmax(student.detach().numpy() / temperature, axis=1) - softmax(
        teacher.numpy() / temperature, axis=1
    )
    assert student.grad is not None
    np.testing.assert_allclose(student.grad.numpy(), temperature * difference / ROWS, atol=1e-14)


def test_at_temperature_20_the_divergence_is_reported_and_not_the_cross_entropy() -> None:
    # T² · ln 10 = 921: that is what the cross-entropy reads, whatever the student has learnt.
    student, teacher = logits(0, rows=128) / 3, logits(1, rows=128) / 3
    targets = softmax(teacher.numpy() / 20, axis=1)
    cross_entropy = -400 * (targets * log_softmax(student.numpy() / 20, axis=1)).sum(axis=1).mean()
    assert cross_entropy > 900
    assert soft_target_loss(student, teacher, 20).item() < 5


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_a_student_that_equals_its_teacher_has_no_loss_and_no_gradient(temperature: float) -> None:
    teacher = logits(1).log_softmax(dim=-1)
    student = (logits(1) + 5).requires_grad_()
    loss = soft_target_loss(student, teacher, temperature)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-14


def test_soft_target_loss_tends_to_logit_matching_at_high_temperature() -> None:
    student, teacher = logits(0), logits(1)
    matching = logit_matching_loss(student, teacher).item()
    assert soft_target_loss(student, teacher, 1000).item() == pytest.approx(matching, rel=5e-3)
    # The distance to the limit falls as 1 / T: it is a limit, not a likeness.
    off = [soft_target_loss(student, teacher, t).item() - matching for t in (1e3, 1e4)]
    assert off[0] / off[1] == pytest.approx(10, rel=0.05)


def test_targets_tend_to_the_hard_label_at_low_temperature() -> None:
    teacher = logits(1)
    targets = tempered(teacher.float(), 1e-3).exp()
    assert torch.equal(targets.argmax(dim=1), teacher.argmax(dim=1))
    torch.testing.assert_close(targets.amax(dim=1), torch.ones(ROWS))


def test_the_loss_times_t_squared_tends_to_zero_at_low_temperature() -> None:
    losses = [soft_target_loss(logits(0), logits(1), t).item() for t in (1e-1, 1e-2, 1e-3)]
    assert losses[0] > losses[1] > losses[2] > 0
    assert losses[2] < 0.02


def test_targets_tend_to_the_uniform_distribution_at_high_temperature() -> None:
    targets = tempered(logits(1), 1e6).exp()
    torch.testing.assert_close(targets, torch.full_like(targets, 1 / CLASSES), atol=1e-5, rtol=0)


def test_targets_at_temperature_1_are_the_stored_log_probabilities() -> None:
    stored = logits(1).log_softmax(dim=-1)
    torch.testing.assert_close(tempered(stored, 1), stored)


def test_float16_teacher_outputs_are_widened_before_the_division() -> None:
    stored = logits(1, rows=500).log_softmax(dim=-1).half()
    exact = softmax(stored.double().numpy() / 20, axis=1)
    targets = tempered(stored, 20)
    assert targets.dtype == torch.float32
    np.testing.assert_allclose(targets.exp().double().numpy(), exact, atol=1e-7)
    in_float16 = (stored / 20).softmax(dim=-1).double().numpy()
    assert np.abs(in_float16 - exact).max() > 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_losses_of_a_narrow_student_are_computed_in_float32(dtype: torch.dtype) -> None:
    student = logits(0).to(dtype).requires_grad_()
    objective = Objective(temperature=20, hard=0.5)
    loss = objective(student, teacher_logits=logits(1).half(), labels=LABELS)
    wide = objective(student.detach().float(), teacher_logits=logits(1).half().float(), labels=LABELS)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == wide.item()
    assert student.grad is not None
    assert student.grad.dtype == dtype


# --- hard labels ------------------------------------------------------------------------------------


def test_hard_label_loss_is_the_negative_log_softmax_of_the_label() -> None:
    student = logits(0)
    expected = -log_softmax(student.numpy(), axis=1)[np.arange(ROWS), LABELS.numpy()].mean()
    assert hard_label_loss(student, LABELS).item() == pytest.approx(expected, rel=1e-12)


def test_label_smoothing_mixes_the_label_with_the_uniform_distribution() -> None:
    student = logits(0)
    targets = 0.9 * np.eye(CLASSES)[LABELS.numpy()] + 0.1 / CLASSES
    expected = -(targets * log_softmax(student.numpy(), axis=1)).sum(axis=1).mean()
    assert hard_label_loss(student, LABELS, 0.1).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_hard_label_loss_averages_over_labelled_rows_only(smoothing: float) -> None:
    student = logits(0, grad=True)
    labelled = SOME_LABELS >= 0
    alone = hard_label_loss(student[labelled], SOME_LABELS[labelled], smoothing)
    loss = hard_label_loss(student, SOME_LABELS, smoothing)
    assert loss.item() == pytest.approx(alone.item(), rel=1e-12)
    loss.backward()
    assert student.grad is not None
    assert (student.grad[~labelled] == 0).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_without_any_label_the_loss_and_its_gradient_are_zero(smoothing: float, weights: Tensor | None) -> None:
    student = logits(0, grad=True)
    loss = hard_label_loss(student, torch.full((ROWS,), -1), smoothing, weights=weights)
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None
    assert (student.grad == 0).all()


def test_a_student_that_diverged_is_not_hidden() -> None:
    assert hard_label_loss(logits(0) * math.nan, LABELS).isnan()
    assert soft_target_loss(logits(0) * math.nan, logits(1), 4).isnan()


# --- logit matching ---------------------------------------------------------------------------------


def test_logit_matching_is_half_the_mean_squared_difference_of_zero_meaned_logits() -> None:
    student, teacher = logits(0).numpy(), logits(1).numpy()
    z = student - student.mean(axis=1, keepdims=True)
    v = teacher - teacher.mean(axis=1, keepdims=True)
    expected = (((z - v) ** 2).sum(axis=1) / (2 * CLASSES)).mean()
    assert logit_matching_loss(logits(0), logits(1)).item() == pytest.approx(expected, rel=1e-12)


def test_logit_matching_of_a_case_worked_out_by_hand() -> None:
    # Zero-meaned: (2, −2) and (−1, 1); the differences 3 and −3; (9 + 9) / (2 · 2) = 4.5.
    student = torch.tensor([[5.0, 1.0]])
    teacher = torch.tensor([[0.0, 2.0]])
    assert logit_matching_loss(student, teacher).item() == 4.5


# --- what all of them share ------------------------------------------------------------------------

FAR = st.floats(-50, 50)
ROWS_OF_LOGITS = hnp.arrays(np.float64, (4, 5), elements=FAR)


@settings(max_examples=50, deadline=None)
@given(ROWS_OF_LOGITS, ROWS_OF_LOGITS, hnp.arrays(np.float64, (4, 1), elements=FAR), st.floats(0.1, 50))
def test_a_constant_added_to_a_row_changes_nothing(
    student: np.ndarray, teacher: np.ndarray, constant: np.ndarray, temperature: float
) -> None:
    z, v, c = torch.tensor(student), torch.tensor(teacher), torch.tensor(constant)
    labels = torch.arange(4)
    for shifted, plain in (
        (soft_target_loss(z + c, v, temperature), soft_target_loss(z, v, temperature)),
        (soft_target_loss(z, v + c, temperature), soft_target_loss(z, v, temperature)),
        (logit_matching_loss(z + c, v), logit_matching_loss(z, v)),
        (logit_matching_loss(z, v + c), logit_matching_loss(z, v)),
        (hard_label_loss(z + c, labels), hard_label_loss(z, labels)),
    ):
        torch.testing.assert_close(shifted, plain, rtol=1e-9, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(ROWS_OF_LOGITS, ROWS_OF_LOGITS, st.floats(0.1, 50))
def test_losses_are_finite_and_never_negative(student: np.ndarray, teacher: np.ndarray, temperature: float) -> None:
    z, v = torch.tensor(student), torch.tensor(teacher)
    for loss in (
        soft_target_loss(z, v, temperature),
        logit_matching_loss(z, v),
        hard_label_loss(z, torch.arange(4), 0.1),
    ):
        assert -1e-9 <= loss.item() < math.inf


OBJECTIVES = [
    Objective(temperature=4),
    Objective(temperature=20, soft=0.7, hard=0.3, label_smoothing=0.1),
    Objective(loss="logit_matching", soft=2, hard=0.5),
    Objective(loss="hard_labels", label_smoothing=0.1),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
@pytest.mark.parametrize("labels", [LABELS, SOME_LABELS])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_gradients_agree_with_finite_differences(objective: Objective, labels: Tensor, weights: Tensor | None) -> None:
    def loss(student: Tensor) -> Tensor:
        return objective(student, teacher_logits=logits(1), labels=labels, weights=weights)

    assert torch.autograd.gradcheck(loss, (logits(0, grad=True),))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_a_row_of_weight_2_counts_as_two_rows_and_one_of_weight_0_as_none(objective: Objective) -> None:
    weights = torch.tensor([1.0, 0.0, 2.0, 1.0, 2.0, 0.0])
    repeated = torch.repeat_interleave(torch.arange(ROWS), weights.long())
    student, teacher = logits(0), logits(1)
    weighted = objective(student, teacher_logits=teacher, labels=SOME_LABELS, weights=weights)
    plain = objective(student[repeated], teacher_logits=teacher[repeated], labels=SOME_LABELS[repeated])
    assert weighted.item() == pytest.approx(plain.item(), rel=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_equal_weights_change_nothing_whatever_their_size(objective: Objective) -> None:
    student, teacher = logits(0), logits(1)
    plain = objective(student, teacher_logits=teacher, labels=SOME_LABELS)
    weights = torch.full((ROWS,), 0.125)
    weighted = objective(student, teacher_logits=teacher, labels=SOME_LABELS, weights=weights)
    assert weighted.item() == pytest.approx(plain.item(), rel=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_that_are_all_zero_give_zero_and_no_gradient(objective: Objective, dtype: torch.dtype) -> None:
    student = logits(0).to(dtype).requires_grad_()
    loss = objective(student, teacher_logits=logits(1), labels=LABELS, weights=torch.zeros(ROWS))
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None
    assert (student.grad == 0).all()


# --- the weighted sum -------------------------------------------------------------------------------


def test_the_objective_is_the_weighted_sum_of_its_terms() -> None:
    student, teacher = logits(0), logits(1)
    soft = soft_target_loss(student, teacher, 4).item()
    matching = logit_matching_loss(student, teacher).item()
    hard = hard_label_loss(student, SOME_LABELS, 0.1).item()

    def value(**settings: Any) -> float:
        objective = Objective(label_smoothing=0.1, temperature=4, **settings)
        return objective(student, teacher_logits=teacher, labels=SOME_LABELS).item()

    assert value() == pytest.approx(soft)
    assert value(soft=0.7, hard=0.3) == pytest.approx(0.7 * soft + 0.3 * hard)
    assert value(loss="logit_matching", soft=0.2, hard=3) == pytest.approx(0.2 * matching + 3 * hard)
    assert value(soft=0, hard=0.3) == pytest.approx(0.3 * hard)


def test_hard_labels_alone_are_unweighted() -> None:
    objective = Objective(loss="hard_labels", temperature=20, soft=0.7, hard=0.3)
    expected = hard_label_loss(logits(0), LABELS).item()
    assert objective(logits(0), labels=LABELS).item() == expected
    assert Objective(loss="hard_labels", soft=0)(logits(0), labels=LABELS).item() == expected


@pytest.mark.parametrize(
    ("objective", "teacher", "labels"),
    [
        (Objective(), True, False),
        (Objective(hard=0.1), True, True),
        (Objective(soft=0, hard=1), False, True),
        (Objective(loss="logit_matching"), True, False),
        (Objective(loss="hard_labels"), False, True),
    ],
    ids=str,
)
def test_an_objective_needs_only_what_its_terms_use(objective: Objective, teacher: bool, labels: bool) -> None:
    assert (objective.uses_teacher, objective.uses_labels) == (teacher, labels)
    given_terms: dict[str, Tensor] = {}
    if teacher:
        given_terms["teacher_logits"] = logits(1)
    if labels:
        given_terms["labels"] = LABELS
    assert objective(logits(0), **given_terms).item() > 0
    for missing in given_terms:
        with pytest.raises(UsageError, match="none were given"):
            objective(logits(0), **{name: term for name, term in given_terms.items() if name != missing})


def test_missing_labels_name_the_weight_that_asks_for_them() -> None:
    with pytest.raises(UsageError) as raised:
        Objective(hard=0.5)(logits(0), teacher_logits=logits(1))
    assert str(raised.value) == (
        "the hard-label loss needs labels, and none were given (the weight hard is 0.5: or set it to 0)"
    )


# --- bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0, 0.0, -1.0, math.inf, math.nan])
def test_a_temperature_that_is_not_finite_and_above_0_is_named(temperature: float) -> None:
    message = f"temperature is {temperature!r}, but must be a finite number above 0"
    for attempt in (
        lambda: Objective(temperature=temperature),
        lambda: tempered(logits(0), temperature),
        lambda: soft_target_loss(logits(0), logits(1), temperature),
    ):
        with pytest.raises(UsageError) as raised:
            attempt()
        assert str(raised.value) == message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"soft": -0.1}, "the weight soft is -0.1, but must be a finite number, at least 0"),
        ({"hard": -1}, "the weight hard is -1, but must be a finite number, at least 0"),
        ({"hard": math.nan}, "the weight hard is nan, but must be a finite number, at least 0"),
        ({"soft": math.inf}, "the weight soft is inf, but must be a finite number, at least 0"),
        ({"soft": 0}, "the weights soft and hard are both 0, so nothing would be learnt: raise one"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0, but must be at least 0 and below 1"),
        ({"label_smoothing": -0.1}, "label_smoothing is -0.1, but must be at least 0 and below 1"),
        (
            {"loss": "soft"},
            "loss is 'soft', but must be one of soft_targets, logit_matching, hard_labels",
        ),
    ],
    ids=str,
)
def test_a_setting_out_of_range_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        Objective(**settings)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "teacher",
    [torch.zeros(ROWS, 9), torch.zeros(5, CLASSES), torch.zeros(1, CLASSES), torch.zeros(CLASSES)],
    ids=lambda teacher: str(tuple(teacher.shape)),
)
def test_teacher_outputs_of_another_shape_are_refused_and_not_broadcast(teacher: Tensor) -> None:
    for loss in (
        lambda: soft_target_loss(logits(0), teacher, 4),
        lambda: logit_matching_loss(logits(0), teacher),
    ):
        with pytest.raises(LimbeckError, match=r"logits have shape \(6, 10\), the teacher's \("):
            loss()


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(LimbeckError, match=r"logits have shape \(6, 10\), the labels \(5,\)"):
        hard_label_loss(logits(0), LABELS[:5])
    with pytest.raises(LimbeckError, match=r"the labels \(6, 10\)"):
        hard_label_loss(logits(0), torch.zeros(ROWS, CLASSES))
    with pytest.raises(LimbeckError, match=r"labels are torch\.float32, but must be int64"):
        hard_label_loss(logits(0), LABELS.float())


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(LimbeckError, match=r"weights have shape \(6, 1\), but the batch has 6 rows"):
        soft_target_loss(logits(0), logits(1), 4, weights=torch.ones(ROWS, 1))


def test_an_empty_batch_is_refused() -> None:
    empty = torch.zeros(0, CLASSES)
    with pytest.raises(LimbeckError, match="not empty"):
        soft_target_loss(empty, empty, 4)
    with pytest.raises(LimbeckError, match="not empty"):
        hard_label_loss(empty, torch.zeros(0, dtype=torch.int64))
