"""Weights fitted to labelled rows: the optimum beside scipy's, and never worse there than equal weights."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

from limbeck import metrics
from limbeck.averaging import MEANS, checked_weights
from limbeck.errors import UsageError
from limbeck.knowledge import combined
from limbeck.knowledge.weights import FittedWeights, fit_weights, likeliest_weights


def members_and_labels(strengths, rows=400, classes=4, seed=0):
    """Members that know the labels more or less, and err each for itself."""
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=rows)
    right = np.eye(classes)[labels]
    logits = [strength * right + random.normal(size=right.shape) for strength in strengths]
    return [log_softmax(one, axis=-1).astype(np.float32) for one in logits], labels


def by_scipy(members, labels, mean):
    """The least negative log-likelihood on the simplex, in float64."""
    several = np.stack([log_softmax(one.astype(np.float64), axis=-1) for one in members])

    def nll(weights):
        if mean == "probabilities":
            log_probs = logsumexp(several, axis=0, b=np.maximum(weights, 0)[:, None, None])
        else:
            log_probs = log_softmax(np.tensordot(weights, several, 1), axis=-1)
        return -log_probs[np.arange(len(labels)), labels].mean()

    count = len(members)
    return minimize(
        nll,
        np.full(count, 1 / count),
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("strengths", [(3, 2.5, 1), (2, 2), (1, 2, 3, 4, 0)])
def test_the_likelihood_is_the_best_that_scipy_finds(strengths, mean):
    members, labels = members_and_labels(strengths)
    found, best = likeliest_weights(members, labels, mean), by_scipy(members, labels, mean)
    reached = metrics.nll(combined(members, 1.0, weights=found.tolist(), mean=mean), labels)
    assert reached == pytest.approx(best.fun, abs=1e-6)
    np.testing.assert_allclose(found, best.x, atol=1e-3)


@pytest.mark.parametrize("mean", MEANS)
def test_the_likeliest_weights_are_taken_where_they_cost_no_errors(mean):
    members, labels = members_and_labels((4, 4, 0, 0), rows=3000)
    fitted = fit_weights(members, labels, mean)
    np.testing.assert_allclose(fitted.weights, likeliest_weights(members, labels, mean), atol=1e-6)
    assert fitted.nll < fitted.nll_equal - 0.05
    assert fitted.errors < fitted.errors_equal


@pytest.mark.parametrize("mean", MEANS)
def test_a_member_that_knows_nothing_gets_nearly_no_weight(mean):
    members, labels = members_and_labels((3, 3, 0), rows=2000)
    weights = fit_weights(members, labels, mean).weights
    assert weights[2] < 0.02
    assert min(weights[:2]) > 0.4


@pytest.mark.parametrize("mean", MEANS)
def test_members_that_say_the_same_keep_equal_weights(mean):
    (one,), labels = members_and_labels((2,))
    assert fit_weights([one] * 4, labels, mean).weights == (0.25,) * 4


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.integers(1, 40), st.integers(2, 5), st.integers(0, 2**32 - 1), st.sampled_from(MEANS))
def test_it_is_never_worse_than_equal_weights_on_the_rows_that_it_was_fitted_to(count, rows, classes, seed, mean):
    random = np.random.default_rng(seed)
    spread = random.uniform(0.1, 6, size=(count, 1, 1))
    members = list((spread * random.normal(size=(count, rows, classes))).astype(np.float16))
    labels = random.integers(-1, classes, size=rows)
    labels[0] = 0
    fitted = fit_weights(members, labels, mean)
    known = labels >= 0
    found, equal = (
        combined([member[known] for member in members], 1.0, weights=weights, mean=mean)
        for weights in (fitted.weights, None)
    )
    assert (fitted.nll, fitted.errors) == (metrics.nll(found, labels[known]), metrics.errors(found, labels[known]))
    assert (fitted.nll_equal, fitted.errors_equal) == (
        metrics.nll(equal, labels[known]),
        metrics.errors(equal, labels[known]),
    )
    assert fitted.nll <= fitted.nll_equal
    assert fitted.errors <= fitted.errors_equal
    assert min(fitted.weights) >= 0
    assert math.fsum(fitted.weights) == pytest.approx(1, abs=1e-12)
    assert fitted.weights == (1 / count,) * count or all(weight == round(weight, 6) for weight in fitted.weights)


def test_weights_that_cost_errors_go_back_towards_equal_ones():
    # The first member makes row 0 likely and is by itself wrong about row 1, which both get right together.
    first = np.log([[0.999, 0.001], [0.45, 0.55], [0.9, 0.1], [0.9, 0.1]])
    second = np.log([[0.5, 0.5], [0.6, 0.4], [0.5, 0.5], [0.5, 0.5]])
    labels = np.zeros(4, dtype=np.int64)
    assert by_scipy([first, second], labels, "probabilities").x[0] > 0.99
    fitted = fit_weights([first, second], labels)
    assert (fitted.errors, fitted.errors_equal) == (0, 0)
    assert fitted.weights == (0.65625, 0.34375)  # 5/16 of the way; at 6/16 row 1 would be wrong
    assert fitted.nll < fitted.nll_equal


def test_equal_weights_are_kept_as_they_are_where_nothing_is_better():
    say = np.log([[0.5, 0.5], [0.4, 0.6]])
    fitted = fit_weights([say, say, say], np.array([0, 1]))
    assert fitted.weights == pytest.approx((1 / 3,) * 3, abs=1e-6)
    assert math.fsum(fitted.weights) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("mean", MEANS)
def test_rows_without_labels_are_left_out(mean):
    members, labels = members_and_labels((3, 1))
    more = [np.concatenate([one, one[::-1]]) for one in members]
    unlabelled = np.concatenate([labels, np.full(len(labels), -1)])
    assert fit_weights(more, unlabelled, mean) == fit_weights(members, labels, mean)


@pytest.mark.parametrize("mean", MEANS)
def test_a_member_that_rules_out_a_label_is_no_hindrance(mean):
    members, labels = members_and_labels((3, 1))
    members[1][0, labels[0]] = -60000
    fitted = fit_weights([one.astype(np.float16) for one in members], labels, mean)
    assert isinstance(fitted, FittedWeights)
    assert np.isfinite(fitted.nll)
    assert fitted.nll <= fitted.nll_equal


@pytest.mark.parametrize("mean", MEANS)
def test_a_constant_added_to_a_row_changes_nothing(mean):
    members, labels = members_and_labels((3, 1))
    moved = [members[0] + np.float32(2), members[1] - np.float32(5)]
    np.testing.assert_allclose(
        fit_weights(moved, labels, mean).weights, fit_weights(members, labels, mean).weights, atol=1e-4
    )


@pytest.mark.parametrize(
    ("labels", "members", "message"),
    [
        ([-1, -1], [np.zeros((2, 3))] * 2, "fitted to labels, and none of 2 validation rows has one"),
        ([0, 3], [np.zeros((2, 3))] * 2, "found label 3, and the members answer for 3 classes"),
        ([0, 1], [np.zeros((2, 3)), np.zeros((2, 4))], r"answers of shapes \(2, 3\), \(2, 4\) for labels of shape"),
        ([0, 1, 2], [np.zeros((2, 3))] * 2, r"for labels of shape \(3,\)"),
        ([0, 1], [np.zeros((2, 3)), np.full((2, 3), np.nan)], "answers are not numbers"),
    ],
)
def test_rows_that_weights_cannot_be_fitted_to_are_refused(labels, members, message):
    with pytest.raises(UsageError, match=message):
        fit_weights(members, np.array(labels))


def test_a_mean_that_there_is_not_is_refused():
    with pytest.raises(UsageError, match=r'^mean = "median": expected "probabilities" or "logits"$'):
        fit_weights([np.zeros((1, 2))] * 2, np.array([0]), "median")


# ---------------------------------------------------------------- given ones


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1], "weights: found 1 for 2 members: give one for each member"),
        ([1, 2, 3], "weights: found 3 for 2 members: give one for each member"),
        ([1, -0.5], "weights: that of member 2 is -0.5: give 0 or more"),
        ([0, 0.0], "weights: those of all 2 members are 0: give one of them more"),
        ([float("nan"), 1], "weights: that of member 1 is not finite: give a finite number"),
        ([1, float("inf")], "weights: that of member 2 is not finite: give a finite number"),
        ([10**400, 1], "weights: that of member 1 is not finite: give a finite number"),
        (["1", 1], "weights: that of member 1 is '1': give a number"),
        ([True, 1], "weights: that of member 1 is True: give a number"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, message):
    with pytest.raises(UsageError) as error:
        checked_weights(weights, 2)
    assert str(error.value) == message


def test_weights_are_scaled_to_sum_one():
    assert checked_weights([1, 3], 2) == (0.25, 0.75)
    assert checked_weights([0.0, 5e-324], 2) == (0.0, 1.0)
    assert checked_weights([1e308] * 4, 4) == (0.25,) * 4


def test_weights_of_sum_one_stay_as_they_were_written():
    assert checked_weights([0.1, 0.2, 0.7], 3) == (0.1, 0.2, 0.7)
