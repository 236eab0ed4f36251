"""How good a model is, from its log-probabilities: accuracy, calibration, agreement, paired tests.

numpy in float64 throughout. Where two classes are equally probable, the first is the model's class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.errors import LimbeckError, UsageError

Array = npt.NDArray[Any]

SIGNIFICANCE = 0.05
# What float16 storage may add to, or take from, the sum of a row's probabilities: 2⁻¹¹ times the entropy.
_SUM_TOLERANCE = 0.01


def accuracy(log_probs: Array, labels: Array) -> float:
    """The fraction of rows whose top class is the label.

    Args:
        log_probs: shape (rows, classes), log-probabilities or logits.
        labels: shape (rows,), integers in 0 … classes − 1.

    Raises:
        LimbeckError: the shapes do not fit, there are no rows, a label is out of range, or a row has no
            finite top value (a −inf, probability zero, beside it is allowed).
    """
    return (len(labels) - errors(log_probs, labels)) / len(labels)


def errors(log_probs: Array, labels: Array) -> int:
    """The number of rows whose top class is not the label; arguments and errors as for `accuracy`."""
    _check_rows(log_probs)
    _check_labels(log_probs, labels)
    return int(np.count_nonzero(log_probs.argmax(axis=1) != labels))


def nll(log_probs: Array, labels: Array) -> float:
    """The mean negative log-likelihood of the labels, in nats.

    Args:
        log_probs: shape (rows, classes), log-probabilities at temperature 1.
        labels: shape (rows,), integers in 0 … classes − 1.

    Returns:
        At least 0; infinite if the probability of one of the labels is zero.

    Raises:
        LimbeckError: as for `accuracy`, or the rows are not log-probabilities.
    """
    _check_rows(log_probs)
    _check_labels(log_probs, labels)
    _check_normalised(log_probs)
    mean = log_probs[np.arange(len(labels)), labels].mean(dtype=np.float64)
    return max(0.0, -float(mean))  # rounding can leave a log-probability above 0


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """How often a model is right, by how sure it is: the points of a reliability diagram.

    Attributes:
        edges: shape (bins + 1,), from 0 to 1; bin b holds edges[b] < confidence <= edges[b + 1].
        confidence: shape (bins,), the mean probability of the top class; nan in an empty bin.
        accuracy: shape (bins,), the fraction right; nan in an empty bin.
        count: shape (bins,), int64, the number of rows.
    """

    edges: Array
    confidence: Array
    accuracy: Array
    count: Array


def reliability(log_probs: Array, labels: Array, bins: int = 15) -> ReliabilityBins:
    """Rows gathered in bins of equal width by the probability of the top class (Guo et al. 2017, sec. 2).

    Args:
        log_probs: shape (rows, classes), log-probabilities at temperature 1.
        labels: shape (rows,), integers in 0 … classes − 1.
        bins: how many, at least 1; closed on the right.

    Raises:
        LimbeckError: as for `nll`.
        UsageError: bins is below 1.
    """
    if bins < 1:
        raise UsageError(f"bins is {bins}, but must be at least 1")
    _check_rows(log_probs)
    _check_labels(log_probs, labels)
    _check_normalised(log_probs)
    confidence = np.exp(log_probs.max(axis=1).astype(np.float64))
    correct = log_probs.argmax(axis=1) == labels
    edges = np.arange(bins + 1) / bins
    # Left: a confidence that equals an edge goes into the bin below it.
    places = np.searchsorted(edges[1:-1], confidence, side="left")
    count = np.bincount(places, minlength=bins)
    filled = np.where(count > 0, count, np.nan)
    return ReliabilityBins(
        edges=edges,
        confidence=np.bincount(places, weights=confidence, minlength=bins) / filled,
        accuracy=np.bincount(places, weights=correct, minlength=bins) / filled,
        count=count,
    )


def ece(log_probs: Array, labels: Array, bins: int = 15) -> float:
    """Expected calibration error: Σ_b (n_b / n) · |accuracy_b − confidence_b| (Guo et al. 2017, eq. 3).

    Arguments and errors as for `reliability`. Between 0 and 1; 0 for bins as often right as they say.
    """
    found = reliability(log_probs, labels, bins)
    gaps = found.count * np.abs(found.accuracy - found.confidence)
    return float(np.nansum(gaps) / found.count.sum())


def agreement(log_probs_a: Array, log_probs_b: Array) -> float:
    """The fraction of rows on which two models have the same top class.

    Args:
        log_probs_a: shape (rows, classes), log-probabilities or logits.
        log_probs_b: the same rows and classes, by the other model.

    Raises:
        LimbeckError: the shapes differ, there are no rows, or a row has no finite top value.
    """
    _check_rows(log_probs_a)
    _check_rows(log_probs_b)
    if log_probs_a.shape != log_probs_b.shape:
        raise LimbeckError(
            f"the first model's log-probabilities have shape {log_probs_a.shape}, the second's "
            f"{log_probs_b.shape}, but must be of the same rows and classes"
        )
    return float(np.mean(log_probs_a.argmax(axis=1) == log_probs_b.argmax(axis=1)))


def auc(log_probs: Array, labels: Array) -> float:
    """The area under the ROC curve: of each class against the others, averaged over the classes that there are.

    The chance that a row of the class is thought likelier to be of it than a row of another class, ties counting half
    (Hand and Till 2001, one against the rest). For two classes both areas are the same.

    Args:
        log_probs: shape (rows, classes), log-probabilities at temperature 1.
        labels: shape (rows,), integers in 0 … classes − 1.

    Raises:
        LimbeckError: as for `nll`, or all rows are of one class.
    """
    from scipy.special import logsumexp
    from scipy.stats import rankdata
    from sklearn.metrics import roc_auc_score  # takes half a second to import

    _check_rows(log_probs)
    _check_labels(log_probs, labels)
    _check_normalised(log_probs)
    present = np.unique(labels)
    if len(present) < 2:
        raise LimbeckError(f"all {len(labels)} rows are of one class: there is no area under a curve")
    # By the odds: next to one, float32 has one and the same log-probability for all that a model is sure of. Rounded,
    # for what float32 leaves of equal odds differs in the sixth digit, and is no order.
    kept = log_probs.astype(np.float64)
    others = [logsumexp(np.delete(kept, one, axis=1), axis=1) for one in present]
    ranks = [rankdata(np.round(kept[:, one] - rest, 4)) for one, rest in zip(present, others, strict=True)]
    return float(np.mean([roc_auc_score(labels == one, rank) for one, rank in zip(present, ranks, strict=True)]))


def mcnemar_exact(correct_a: Array, correct_b: Array) -> float:
    """The p-value of McNemar's exact test, that two models are right equally often on the same rows.

    Of the rows on which only one model is right, each is as likely to be right if the models are equally
    good: twice the binomial tail with p = 1/2, two-sided (McNemar 1947).

    Args:
        correct_a: shape (rows,), bool: where the first model is right.
        correct_b: shape (rows,), bool: where the second is, on the same rows.

    Returns:
        Between 0 and 1; 1 where the models are never right apart.

    Raises:
        LimbeckError: the shapes differ, there are no rows, or the values are not bool.
    """
    for values in (correct_a, correct_b):
        if values.ndim != 1 or values.dtype != np.bool_ or len(values) == 0 or len(values) != len(correct_a):
            raise LimbeckError(
                f"a paired test needs two bool arrays of the same rows, but found {correct_a.dtype} "
                f"{correct_a.shape} and {correct_b.dtype} {correct_b.shape}"
            )
    from scipy.special import bdtr  # a third of a second to import

    only_a = np.count_nonzero(correct_a & ~correct_b)
    only_b = np.count_nonzero(correct_b & ~correct_a)
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def gap_recovered(student: float, baseline: float, teacher: float) -> float | None:
    """How much of the way from baseline to teacher the student went: (s − b) / (t − b) in accuracy.

    Returns:
        1 where the student is as good as the teacher, 0 where it is no better than the baseline, beyond
        either if it is better or worse. None where the teacher is no better than the baseline.
    """
    return (student - baseline) / (teacher - baseline) if teacher > baseline else None


def verdict(student_accuracy: float, baseline_accuracy: float, p_value: float) -> str:
    """What distilling did: "helps" or "hurts" where p < 0.05, by the sign; else "no difference"."""
    if p_value >= SIGNIFICANCE or student_accuracy == baseline_accuracy:
        return "no difference"
    return "helps" if student_accuracy > baseline_accuracy else "hurts"


def soft_targets(log_probs: Array, temperature: float) -> Array:
    """softmax(z / T) in float64 (Hinton et al. 2015, eq. 1).

    Args:
        log_probs: shape (rows, classes), log-probabilities at temperature 1, or logits.
        temperature: T, finite and above 0.

    Returns:
        Shape (rows, classes), float64; rows sum to 1.

    Raises:
        LimbeckError: the shape is not (rows, classes), there are no rows, or a row has no finite top value.
        UsageError: the temperature is not a finite number above 0.
    """
    if not 0 < temperature < math.inf:
        raise UsageError(f"temperature is {temperature!r}, but must be a finite number above 0")
    _check_rows(log_probs)
    values = log_probs.astype(np.float64)
    # The maximum out before the division, so that a low temperature cannot overflow.
    targets: Array = np.exp((values - values.max(axis=1, keepdims=True)) / temperature)
    targets /= targets.sum(axis=1, keepdims=True)
    return targets


def richest_rows(log_probs: Array, labels: Array, temperature: float, count: int) -> Array:
    """The rows about which a teacher that is right has most to say beside the right class.

    Args:
        log_probs: shape (rows, classes), log-probabilities at temperature 1, or logits.
        labels: shape (rows,), −1 where there is none.
        temperature: T of the soft targets whose entropy is taken.
        count: how many at most.

    Returns:
        Row numbers, shape (m,): rows whose top class is the label, those of the highest entropy first.

    Raises:
        LimbeckError: as for `soft_targets`.
        UsageError: as for `soft_targets`.
    """
    targets = soft_targets(log_probs, temperature)
    entropy = -np.sum(targets * np.log(np.maximum(targets, np.finfo(np.float64).tiny)), axis=1)
    right = np.flatnonzero(log_probs.argmax(axis=1) == labels)
    return right[np.argsort(-entropy[right], kind="stable")][:count]


def class_similarity(log_probs: Array, temperature: float) -> Array:
    """Which classes a teacher finds alike: its mean soft targets, by its own class.

    The knowledge that labels lack: how probable a 7 is, on the average, where the teacher sees a 1
    (Hinton et al. 2015, sec. 1 and 2).

    Args:
        log_probs: shape (rows, classes), log-probabilities at temperature 1, or logits.
        temperature: T of the soft targets, finite and above 0.

    Returns:
        Shape (classes, classes), float64: entry (i, j) is the mean soft target of class j over the rows
        whose top class is i. Rows sum to 1, or are nan where no row's top class is i.

    Raises:
        LimbeckError: the shape is not (rows, classes), there are no rows, or a row has no finite top value.
        UsageError: the temperature is not a finite number above 0.
    """
    targets = soft_targets(log_probs, temperature)
    chosen = log_probs.argmax(axis=1)
    similarity = np.full((log_probs.shape[1], log_probs.shape[1]), np.nan)
    for own in np.unique(chosen):
        similarity[own] = targets[chosen == own].mean(axis=0)
    return similarity


def most_alike(
    log_probs: Array, temperature: float, classes: Sequence[str], count: int = 3
) -> list[tuple[str, str, float]]:
    """The pairs of different classes that a teacher finds most alike.

    Args:
        log_probs: shape (rows, classes), log-probabilities at temperature 1, or logits.
        temperature: T of the soft targets, finite and above 0.
        classes: the names, in the order of the columns.
        count: how many pairs at most.

    Returns:
        (class, other class, similarity), the most alike first, the two in the order of the columns. The
        similarity is the mean of both directions of `class_similarity`; pairs with a class that is no row's
        top class are left out.

    Raises:
        LimbeckError: as for `class_similarity`, or the number of names is not that of the columns.
        UsageError: as for `class_similarity`.
    """
    similarity = class_similarity(log_probs, temperature)
    if len(classes) != len(similarity):
        raise LimbeckError(f"{len(classes)} class names were given for {len(similarity)} columns: one for each")
    first, second = np.triu_indices(len(classes), k=1)
    values = (similarity[first, second] + similarity[second, first]) / 2
    order = [pair for pair in np.argsort(-values, kind="stable") if not np.isnan(values[pair])]
    return [(classes[first[pair]], classes[second[pair]], float(values[pair])) for pair in order[:count]]


def _check_rows(log_probs: Array) -> None:
    if log_probs.ndim != 2 or log_probs.size == 0:
        raise LimbeckError(f"log-probabilities have shape {log_probs.shape}, but must be (rows, classes), not empty")
    # A row's maximum is nan if any of its values is, and -inf if no class is possible.
    bad: Array = ~np.isfinite(log_probs.max(axis=1))
    if bad.any():
        raise LimbeckError(
            f"log-probabilities hold nan or infinity in {np.count_nonzero(bad)} of {len(bad)} rows, "
            f"first in row {bad.argmax()}"
        )


def _check_labels(log_probs: Array, labels: Array) -> None:
    rows, classes = log_probs.shape
    if labels.shape != (rows,):
        raise LimbeckError(f"labels have shape {labels.shape}, but the log-probabilities have {rows} rows")
    if labels.dtype.kind not in "iu":
        raise LimbeckError(f"labels are {labels.dtype}, but must be integers: class numbers")
    bad = (labels < 0) | (labels >= classes)
    if bad.any():
        raise LimbeckError(
            f"label {labels[bad.argmax()]} in row {bad.argmax()} is not in 0 … {classes - 1}: "
            "only rows with a label can be scored"
        )


def _check_normalised(log_probs: Array) -> None:
    with np.errstate(over="ignore"):
        sums = np.exp(log_probs.astype(np.float64)).sum(axis=1)
    bad = np.abs(sums - 1) > _SUM_TOLERANCE
    if bad.any():
        raise LimbeckError(
            f"the probabilities of row {bad.argmax()} sum to {sums[bad.argmax()]:.4g}, not 1: "
            "give log-probabilities (logits minus their log-sum-exp)"
        )
