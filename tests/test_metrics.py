from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax, softmax
from scipy.stats import binomtest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from limbeck.errors import LimbeckError, UsageError
from limbeck.metrics import (
    accuracy,
    agreement,
    auc,
    class_similarity,
    ece,
    errors,
    gap_recovered,
    mcnemar_exact,
    most_alike,
    nll,
    reliability,
    richest_rows,
    soft_targets,
    verdict,
)

DIGITS = tuple("0123456789")


def logs(*rows: list[float]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(rows))


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities and labels of rows that a linear model has not seen."""
    inputs, labels = load_digits(return_X_y=True)
    model = LogisticRegression(max_iter=200).fit(inputs[:600] / 16, labels[:600])
    return model.predict_log_proba(inputs[600:] / 16), labels[600:]


def test_metrics_need_no_torch() -> None:
    code = "import sys, limbeck.metrics; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- accuracy and likelihood ------------------------------------------------------------------------


def test_accuracy_and_likelihood_agree_with_scikit_learn(digits: tuple[np.ndarray, np.ndarray]) -> None:
    log_probs, labels = digits
    chosen = log_probs.argmax(axis=1)
    assert accuracy(log_probs, labels) == accuracy_score(labels, chosen)
    assert errors(log_probs, labels) == (chosen != labels).sum()
    assert nll(log_probs, labels) == pytest.approx(log_loss(labels, np.exp(log_probs)), rel=1e-9)


def test_accuracy_of_a_case_worked_out_by_hand() -> None:
    log_probs = logs([0.7, 0.3], [0.4, 0.6], [0.2, 0.8])
    labels = np.array([0, 0, 1])
    assert errors(log_probs, labels) == 1
    assert accuracy(log_probs, labels) == 2 / 3
    assert nll(log_probs, labels) == pytest.approx(-(math.log(0.7) + math.log(0.4) + math.log(0.8)) / 3)


def test_the_first_of_equally_probable_classes_is_the_models() -> None:
    tied = logs([0.5, 0.5], [0.5, 0.5])
    assert errors(tied, np.array([0, 1])) == 1
    assert agreement(tied, logs([0.9, 0.1], [0.1, 0.9])) == 0.5
    assert ece(tied, np.array([0, 1])) == 0


def test_a_label_of_probability_zero_has_infinite_likelihood() -> None:
    assert nll(logs([1.0, 0.0]), np.array([1])) == math.inf


def test_float16_is_averaged_in_float64(digits: tuple[np.ndarray, np.ndarray]) -> None:
    log_probs, labels = digits[0].astype(np.float16), digits[1]
    for metric in (nll, ece):
        assert metric(log_probs, labels) == pytest.approx(metric(log_probs.astype(np.float64), labels), rel=1e-12)


# --- calibration ------------------------------------------------------------------------------------


def test_ece_of_a_case_worked_out_by_hand() -> None:
    # Fifteen bins; 0.6 = 9/15 is an edge and belongs to the bin below, (8/15, 9/15].
    #   (8/15, 9/15]: 0.6 right, 0.55 wrong       -> accuracy 1/2, confidence 0.575
    #   (9/15, 10/15]: 0.65 right                 -> accuracy 1, confidence 0.65
    #   (14/15, 1]: 0.95 right, 1 right, 1 wrong  -> accuracy 2/3, confidence 2.95/3
    log_probs = logs([0.6, 0.4], [0.55, 0.45], [0.65, 0.35], [0.95, 0.05], [1.0, 0.0], [0.0, 1.0])
    labels = np.array([0, 1, 0, 0, 0, 0])
    bins = reliability(log_probs, labels)
    assert bins.count.tolist() == [0] * 8 + [2, 1, 0, 0, 0, 0, 3]
    assert bins.confidence[[8, 9, 14]] == pytest.approx([0.575, 0.65, 2.95 / 3])
    assert bins.accuracy[[8, 9, 14]] == pytest.approx([1 / 2, 1, 2 / 3])
    assert np.isnan(bins.accuracy[:8]).all()
    assert np.isnan(bins.confidence[:8]).all()
    expected = (2 * 0.075 + 1 * 0.35 + 3 * (2.95 / 3 - 2 / 3)) / 6
    assert ece(log_probs, labels) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("edge", [6, 9, 12])
def test_a_confidence_on_an_edge_belongs_to_the_bin_below(edge: int) -> None:
    confidence = edge / 15
    rest = (1 - confidence) / 2
    bins = reliability(logs([confidence, rest, rest]), np.array([0]))
    assert bins.count.argmax() == edge - 1
    assert bins.edges[edge] == confidence


def test_ece_agrees_with_a_plain_count(digits: tuple[np.ndarray, np.ndarray]) -> None:
    log_probs, labels = digits
    total = 0.0
    confidence = np.exp(log_probs).max(axis=1)
    for low, high in ((b / 15, (b + 1) / 15) for b in range(15)):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            right = (log_probs.argmax(axis=1) == labels)[inside].mean()
            total += inside.mean() * abs(right - confidence[inside].mean())
    assert ece(log_probs, labels) == pytest.approx(total, rel=1e-9)


def test_a_sure_model_that_is_right_is_calibrated_and_one_that_is_wrong_is_not() -> None:
    sure = logs([1.0, 0.0], [0.0, 1.0])
    assert ece(sure, np.array([0, 1])) == 0
    assert ece(sure, np.array([1, 0])) == 1


def test_with_one_bin_ece_is_the_distance_of_mean_confidence_and_accuracy(
    digits: tuple[np.ndarray, np.ndarray],
) -> None:
    log_probs, labels = digits
    expected = abs(np.exp(log_probs).max(axis=1).mean() - accuracy(log_probs, labels))
    assert ece(log_probs, labels, bins=1) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.float64, (7, 4), elements=st.floats(-30, 30)),
    hnp.arrays(np.int64, 7, elements=st.integers(0, 3)),
    st.integers(1, 30),
)
def test_every_row_is_in_the_bin_of_its_confidence(logits: np.ndarray, labels: np.ndarray, bins: int) -> None:
    log_probs = log_softmax(logits, axis=1)
    found = reliability(log_probs, labels, bins)
    filled = found.count > 0
    assert found.count.sum() == len(labels)
    assert (found.confidence[filled] > found.edges[:-1][filled] - 1e-12).all()
    assert (found.confidence[filled] <= found.edges[1:][filled] + 1e-12).all()
    assert 0 <= ece(log_probs, labels, bins) <= 1


# --- two models -------------------------------------------------------------------------------------


def test_agreement_is_the_fraction_of_rows_with_the_same_top_class() -> None:
    first = logs([0.7, 0.3], [0.4, 0.6], [0.2, 0.8], [0.9, 0.1])
    second = logs([0.6, 0.4], [0.9, 0.1], [0.4, 0.6], [0.2, 0.8])
    assert agreement(first, second) == 0.5
    assert agreement(first, first) == 1


def apart(only_a: int, only_b: int, both: int = 5) -> tuple[np.ndarray, np.ndarray]:
    a = np.array([True] * only_a + [False] * only_b + [True] * both + [False])
    b = np.array([False] * only_a + [True] * only_b + [True] * both + [False])
    return a, b


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_two_sided_binomial_test(only_a: int, only_b: int) -> None:
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar_exact(*apart(only_a, only_b)) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_exact(*apart(only_b, only_a)) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_cases_worked_out_by_hand() -> None:
    assert mcnemar_exact(*apart(0, 0)) == 1
    assert mcnemar_exact(*apart(3, 3)) == 1
    assert mcnemar_exact(*apart(0, 5)) == pytest.approx(2 / 2**5)
    assert mcnemar_exact(*apart(8, 1)) == pytest.approx(2 * (1 + 9) / 2**9)
    # Rows on which both are right tell nothing.
    assert mcnemar_exact(*apart(8, 1, both=9000)) == pytest.approx(2 * (1 + 9) / 2**9)


def test_gap_recovered_is_the_part_of_the_way_from_baseline_to_teacher() -> None:
    assert gap_recovered(0.98, 0.96, 1.0) == pytest.approx(0.5)
    assert gap_recovered(0.95, 0.96, 1.0) == pytest.approx(-0.25)
    assert gap_recovered(0.96, 0.96, 1.0) == 0
    assert gap_recovered(0.99, 0.96, 0.98) == pytest.approx(1.5)
    assert gap_recovered(0.98, 0.96, 0.96) is None
    assert gap_recovered(0.98, 0.96, 0.95) is None


@pytest.mark.parametrize(
    ("student", "baseline", "p_value", "expected"),
    [
        (0.99, 0.98, 0.049, "helps"),
        (0.98, 0.99, 0.049, "hurts"),
        (0.99, 0.98, 0.05, "no difference"),
        (0.98, 0.99, 1.0, "no difference"),
        (0.98, 0.98, 0.01, "no difference"),
    ],
)
def test_a_verdict_needs_a_small_p_value(student: float, baseline: float, p_value: float, expected: str) -> None:
    assert verdict(student, baseline, p_value) == expected


# --- which classes are alike -----------------------------------------------------------------------


def test_class_similarity_is_the_mean_soft_target_by_the_teachers_class() -> None:
    log_probs = logs([0.6, 0.3, 0.1], [0.8, 0.1, 0.1], [0.2, 0.7, 0.1])
    found = class_similarity(log_probs, 1)
    np.testing.assert_allclose(found[0], [0.7, 0.2, 0.1])
    np.testing.assert_allclose(found[1], [0.2, 0.7, 0.1])
    assert np.isnan(found[2]).all()


def test_class_similarity_tempers_each_row_before_the_mean(digits: tuple[np.ndarray, np.ndarray]) -> None:
    log_probs, _ = digits
    found = class_similarity(log_probs, 4)
    targets = softmax(log_probs / 4, axis=1)
    for own in range(10):
        np.testing.assert_allclose(found[own], targets[log_probs.argmax(axis=1) == own].mean(axis=0))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(class_similarity(log_probs + 7, 4), found)


def test_class_similarity_at_a_very_low_temperature_is_the_identity(
    digits: tuple[np.ndarray, np.ndarray],
) -> None:
    np.testing.assert_allclose(class_similarity(digits[0], 1e-300), np.eye(10), atol=1e-12)


def test_class_similarity_allows_probabilities_of_zero() -> None:
    np.testing.assert_allclose(class_similarity(logs([1.0, 0.0], [0.0, 1.0]), 20), np.eye(2))


def test_most_alike_orders_pairs_by_the_mean_of_both_directions() -> None:
    log_probs = logs([0.8, 0.15, 0.05], [0.1, 0.6, 0.3], [0.02, 0.2, 0.78])
    found = most_alike(log_probs, 1, ("cat", "lynx", "dog"))
    assert [pair[:2] for pair in found] == [("lynx", "dog"), ("cat", "lynx"), ("cat", "dog")]
    assert [pair[2] for pair in found] == pytest.approx([0.25, 0.125, 0.035])
    assert most_alike(log_probs, 1, ("cat", "lynx", "dog"), count=1) == found[:1]


def test_pairs_with_a_class_that_the_teacher_never_chooses_are_left_out() -> None:
    log_probs = logs([0.6, 0.1, 0.3], [0.2, 0.7, 0.1])
    found = most_alike(log_probs, 1, ("a", "b", "c"))
    assert [(first, second) for first, second, _ in found] == [("a", "b")]
    assert found[0][2] == pytest.approx(0.15)


def test_digits_that_look_alike_are_found(digits: tuple[np.ndarray, np.ndarray]) -> None:
    found = most_alike(digits[0], 4, DIGITS, count=45)
    values = [value for _, _, value in found]
    places = {(first, second): place for place, (first, second, _) in enumerate(found)}
    assert values == sorted(values, reverse=True)
    assert len(found) == 45
    assert places[("1", "8")] < 10 < places[("0", "1")]


# --- bad input --------------------------------------------------------------------------------------

TWO = logs([0.7, 0.3], [0.4, 0.6])


@pytest.mark.parametrize("metric", [accuracy, errors, nll, ece, reliability])
@pytest.mark.parametrize(
    ("log_probs", "labels", "message"),
    [
        (TWO, np.array([0]), r"labels have shape \(1,\), but the log-probabilities have 2 rows"),
        (TWO, np.array([[0], [1]]), r"labels have shape \(2, 1\), but the log-probabilities have 2 rows"),
        (TWO, np.array([0, -1]), "label -1 in row 1 is not in 0 … 1: only rows with a label can be scored"),
        (TWO, np.array([2, 0]), "label 2 in row 0 is not in 0 … 1"),
        (TWO, np.array([0.0, 1.0]), "labels are float64, but must be integers"),
        (TWO[:0], np.array([], dtype=np.int64), r"log-probabilities have shape \(0, 2\), but must be"),
        (TWO[0], np.array([0, 1]), r"log-probabilities have shape \(2,\), but must be"),
        (TWO * [[1], [math.nan]], np.array([0, 1]), "nan or infinity in 1 of 2 rows, first in row 1"),
        (
            np.array([[0, 0], [0, math.inf]]),
            np.array([0, 1]),
            "nan or infinity in 1 of 2 rows, first in row 1",
        ),
    ],
)
def test_rows_and_labels_that_do_not_fit_are_refused(
    metric: object, log_probs: np.ndarray, labels: np.ndarray, message: str
) -> None:
    assert callable(metric)
    with pytest.raises(LimbeckError, match=message):
        metric(log_probs, labels)


@pytest.mark.parametrize("metric", [nll, ece, reliability])
@pytest.mark.parametrize("shift", [5.0, 1000.0, -5.0])
def test_logits_are_not_taken_for_log_probabilities(metric: object, shift: float) -> None:
    assert callable(metric)
    with pytest.raises(LimbeckError, match=r"the probabilities of row 0 sum to .*, not 1"):
        metric(TWO + shift, np.array([0, 1]))


def test_models_of_other_rows_are_not_compared() -> None:
    with pytest.raises(LimbeckError, match=r"shape \(2, 2\), the second's \(1, 2\)"):
        agreement(TWO, TWO[:1])
    with pytest.raises(LimbeckError, match="paired test"):
        mcnemar_exact(np.array([True]), np.array([True, False]))
    with pytest.raises(LimbeckError, match="paired test"):
        mcnemar_exact(np.array([], dtype=bool), np.array([], dtype=bool))
    with pytest.raises(LimbeckError, match="paired test"):
        mcnemar_exact(np.array([1, 0]), np.array([1, 0]))


@pytest.mark.parametrize("temperature", [0, -1.0, math.inf, math.nan])
def test_similarity_at_an_impossible_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(UsageError, match=f"temperature is {temperature!r}, but must be"):
        class_similarity(TWO, temperature)


def test_a_wrong_number_of_names_or_bins_is_refused() -> None:
    with pytest.raises(LimbeckError, match="3 class names were given for 2 columns"):
        most_alike(TWO, 1, ("a", "b", "c"))
    with pytest.raises(UsageError, match="bins is 0, but must be at least 1"):
        ece(TWO, np.array([0, 1]), bins=0)


def test_soft_targets_are_the_softmax_at_their_temperature() -> None:
    logits = np.array([[2.0, 0.0, -2.0], [1000.0, 0.0, -1000.0]])
    found = soft_targets(logits, 2.0)
    np.testing.assert_allclose(found[0], np.exp([1, 0, -1]) / np.exp([1, 0, -1]).sum())
    np.testing.assert_allclose(found[1], [1, 0, 0], atol=1e-12)
    with pytest.raises(UsageError, match="temperature is 0"):
        soft_targets(logits, 0)


def test_the_richest_rows_are_right_and_of_the_highest_entropy() -> None:
    log_probs = np.log([[0.9, 0.1], [0.6, 0.4], [0.45, 0.55], [0.7, 0.3]])
    assert richest_rows(log_probs, np.array([0, 0, 0, -1]), 1.0, 5).tolist() == [1, 0]
    assert richest_rows(log_probs, np.array([0, 0, 0, 0]), 1.0, 2).tolist() == [1, 3]


def test_auc_is_the_chance_that_a_row_of_the_class_is_thought_likelier():
    log_probs = np.log(np.array([[0.7, 0.3], [0.4, 0.6], [0.6, 0.4], [0.2, 0.8]]))
    # Of the four pairs of a row of class 1 and one of class 0, three are in order.
    assert auc(log_probs, np.array([0, 0, 1, 1])) == pytest.approx(0.75)


def test_auc_of_several_classes_is_the_mean_over_those_there_are():
    log_probs = np.log(
        np.array([[0.5, 0.3, 0.1, 0.1], [0.2, 0.5, 0.2, 0.1], [0.3, 0.3, 0.3, 0.1], [0.6, 0.2, 0.1, 0.1]])
    )
    labels = np.array([0, 1, 2, 1])  # no row of class 3
    # Class 0: 0.5 against 0.2, 0.3, 0.6. Class 1: 0.5, 0.2 against 0.3, 0.3. Class 2: 0.3 against 0.1, 0.2, 0.1.
    assert auc(log_probs, labels) == pytest.approx((2 / 3 + 2 / 4 + 1) / 3)


def test_auc_tells_apart_what_a_model_is_very_sure_of():
    logits = np.array([[30.0, 0], [25, 0], [20, 0], [0, 20]], np.float32)
    log_probs = logits - np.logaddexp(logits[:, :1], logits[:, 1:])
    assert len(set(log_probs[:3, 0])) == 1  # nothing but zero
    assert auc(log_probs, np.array([0, 1, 1, 1])) == 1
    assert auc(log_probs, np.array([1, 0, 1, 1])) == pytest.approx(2 / 3)
    shares = np.random.default_rng(0).multinomial(10, [0.4, 0.3, 0.2, 0.1], size=400) / 10  # of ten neighbours
    floored = np.maximum(shares, 1e-6)
    rounded = np.log(floored / floored.sum(axis=1, keepdims=True)).astype(np.float32)
    several = np.random.default_rng(1).integers(0, 4, 400)
    exact = np.mean([roc_auc_score(several == one, shares[:, one]) for one in range(4)])
    assert auc(rounded, several) == pytest.approx(exact, abs=1e-9)
    certain = np.array([[0.0, -np.inf], [np.log(0.5), np.log(0.5)]])
    assert auc(certain, np.array([0, 1])) == 1


def test_auc_of_one_class_is_refused():
    with pytest.raises(LimbeckError, match="all 2 rows are of one class: there is no area under a curve"):
        auc(np.log(np.array([[0.5, 0.5], [0.4, 0.6]])), np.array([1, 1]))
