"""How sure a teacher is of a part of the transfer set, and how the part differs from rows that it has not seen.

Soft targets are worth what the teacher knows. On inputs of another kind it still answers, and a student learns that,
too: so what can be seen of this without labels is said (Hendrycks and Gimpel 2017: the top probability alone tells
much of such inputs from those like the training rows).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.ensembles import entropies, member_disagreement
from limbeck.errors import LimbeckError
from limbeck.metrics import soft_targets

Array = npt.NDArray[Any]

BINS = 10
# How well confidence alone tells two sets of rows apart, as an area under the ROC curve. What Cohen (1988, ch. 2)
# calls a medium and a large difference, half and 0.8 of a standard deviation, are for normal distributions
# Φ(0.5 / √2) = 0.64 and Φ(0.8 / √2) = 0.71.
UNLIKE_AUC = 0.64
FAR_AUC = 0.71
# A part whose mean confidence is this much below that of validation rows can be far from them. Below it a large area
# means little: 99.9% sure and 99.99% sure are told apart easily, and teach the same.
DIFFERENT_CONFIDENCE = 0.05
# The share of rows that would have to be of another class for classes to come as often as in validation rows, beyond
# what two samples of these sizes differ by.
OTHER_PROPORTIONS = 0.1
FAR, UNLIKE, SURER, ALIKE = "far", "unlike", "surer", "alike"

_BLOCK_ROWS = 1 << 14


def part_facts(
    log_probs: Array,
    labels: Array,
    *,
    validation: Array | None = None,
    validation_labels: Array | None = None,
    members: Sequence[Array] | None = None,
    validation_members: Sequence[Array] | None = None,
    weights: Sequence[float] | None = None,
    mean: str = "probabilities",
    kept: int | None = None,
) -> dict[str, Any]:
    """What a teacher knows of a part, as plain numbers; the yardstick are rows that it was not trained on.

    Args:
        log_probs: the teacher's log-probabilities at temperature 1 for the part's rows, shape (rows, classes).
        labels: shape (rows,), −1 where there is none.
        validation: the teacher's log-probabilities for the validation rows, of the same classes.
        validation_labels: shape (validation rows,), −1 where there is none.
        members: of an ensemble, what each says about the part's rows.
        validation_members: and about the validation rows.
        weights: of the members, as for `member_disagreement`.
        mean: likewise.
        kept: how many rows a filter by confidence leaves; None without one.

    Returns:
        `rows`, `kept`, and what `row_facts` says of the part; `validation`, the same of the validation rows; and
        `difference` (part less validation): `confidence`, `entropy`, `disagreement`, `class_shares` (the total
        variation between the shares of classes, 0 … 1; `class_shares_by_chance` is what samples of these sizes from the
        same rows would differ by), `confidence_auc` (the chance that the teacher is surer of a
        validation row than of one of the part, ties counting half; 0.5: alike), `disagreement_auc` (that members
        differ more about a row of the part). `validation` and `difference` are None without validation rows.

    Raises:
        LimbeckError: there are no rows, or shapes do not fit.
    """
    facts, confidence, apart = _facts(log_probs, labels, members, weights, mean)
    found: dict[str, Any] = {"rows": len(log_probs), "kept": kept, **facts, "validation": None, "difference": None}
    if validation is None:
        return found
    if validation.ndim != 2 or validation.shape[1] != log_probs.shape[1]:
        raise LimbeckError(
            f"log-probabilities of validation rows have shape {validation.shape}, but must have "
            f"{log_probs.shape[1]} classes as the part's"
        )
    unlabelled = np.full(len(validation), -1)
    yardstick, yardstick_confidence, yardstick_apart = _facts(
        validation, unlabelled if validation_labels is None else validation_labels, validation_members, weights, mean
    )
    found["validation"] = {"rows": len(validation), **yardstick}
    ours, theirs = np.array(facts["class_shares"]), np.array(yardstick["class_shares"])
    differ = None if apart is None or yardstick_apart is None else chance_higher(apart, yardstick_apart)
    found["difference"] = {
        "confidence": facts["confidence"] - yardstick["confidence"],
        "entropy": facts["entropy"] - yardstick["entropy"],
        "disagreement": facts["disagreement"] - yardstick["disagreement"] if differ is not None else None,
        "class_shares": float(np.abs(ours - theirs).sum() / 2),
        "class_shares_by_chance": _by_chance(theirs, len(log_probs), len(validation)),
        "confidence_auc": chance_higher(yardstick_confidence, confidence),
        "disagreement_auc": differ,
    }
    return found


def row_facts(log_probs: Array, labels: Array) -> dict[str, Any]:
    """How sure a model is of rows, and of which classes.

    Args:
        log_probs: shape (rows, classes), log-probabilities at temperature 1, or logits.
        labels: shape (rows,), −1 where there is none.

    Returns:
        `confidence`, the mean probability of the top class, and the shares of rows in which it is `below_half`,
        `below_nine_tenths` and `at_least_99` (0.99); `entropy`, the mean in nats; `histogram`, rows by confidence in
        10 bins of equal width, closed on the right; `class_shares`, the share of rows for which each class is on top;
        `labelled`, how many rows have a label, and `agreement`, the share of these that the model gets right (None
        where there are none); `disagreement`, None: one model has nobody to differ from.

    Raises:
        LimbeckError: there are no rows, or shapes do not fit.
    """
    return _facts(log_probs, labels, None, None, "probabilities")[0]


def chance_higher(ones: Array, others: Array) -> float:
    """The chance that one of the first values is higher than one of the second, ties counting half.

    The area under the ROC curve by which the values tell the two apart, and Mann and Whitney's U over all pairs
    (Hanley and McNeil 1982).

    Args:
        ones: shape (n,), n at least 1.
        others: shape (m,), m at least 1.
    """
    ordered = np.sort(others)
    below = np.searchsorted(ordered, ones, side="left")
    not_above = np.searchsorted(ordered, ones, side="right")
    return float((below + not_above).mean() / (2 * len(others)))


def familiarity(facts: dict[str, Any]) -> str | None:
    """Whether a part is like what the teacher knows, by its confidence alone.

    Args:
        facts: as of `part_facts`.

    Returns:
        "far": confidence tells its rows from validation rows (an area of at least `FAR_AUC`) and is lower by
        `DIFFERENT_CONFIDENCE` on the average; "unlike": by `UNLIKE_AUC`, and lower likewise; "surer": the teacher is
        surer of them than of rows that it has not seen, as of rows that it was trained on (by as much on the average,
        or an area of 1 − `UNLIKE_AUC` or less); else "alike". None without validation rows.
    """
    difference = facts["difference"]
    if difference is None:
        return None
    area, higher = difference["confidence_auc"], difference["confidence"]
    if -higher >= DIFFERENT_CONFIDENCE and area >= UNLIKE_AUC:
        return FAR if area >= FAR_AUC else UNLIKE
    return SURER if higher >= DIFFERENT_CONFIDENCE or area <= 1 - UNLIKE_AUC else ALIKE


def part_words(name: str, facts: dict[str, Any]) -> str:
    """What `part_facts` found, in one sentence.

    `file:letters.npz: 5,000 rows, the teacher is 61% sure on the average, of validation rows 97%: far from what it
    knows`. By `familiarity`; beside it is said where classes come in other proportions (`OTHER_PROPORTIONS`).
    A `kept` is said in brackets.
    """
    rows = f"{facts['rows']:,} row{'' if facts['rows'] == 1 else 's'}"
    if facts.get("kept") is not None:
        rows += f" ({facts['kept']:,} kept)"
    sure = f"{name}: {rows}, the teacher is {percent(facts['confidence'])} sure on the average"
    known = familiarity_words(facts)
    return (
        sure if known is None else f"{sure}, of validation rows {percent(facts['validation']['confidence'])}: {known}"
    )


def familiarity_words(facts: dict[str, Any]) -> str | None:
    """`familiarity` in words, and whether classes come in other proportions; None without validation rows."""
    known = familiarity(facts)
    if known is None:
        return None
    said = {
        FAR: "far from what it knows",
        UNLIKE: "somewhat unlike the validation rows",
        SURER: "surer than of validation rows",
        ALIKE: "much like the validation rows",
    }[known]
    if facts["difference"]["class_shares"] - facts["difference"]["class_shares_by_chance"] >= OTHER_PROPORTIONS:
        said += f", {'but' if known == ALIKE else 'and'} classes come in other proportions"
    return said


def percent(share: float) -> str:
    """A share in per cent, with as many decimals as keep one that is not 1 from being shown as 100%."""
    for decimals in (0, 1, 2):
        shown = f"{100 * share:.{decimals}f}%"
        if float(shown[:-1]) < 100 or share >= 1:
            return shown
    return "over 99.99%"


def _by_chance(shares: Array, rows: int, others: int) -> float:
    """How far the shares of classes in two samples from the same rows differ on the average: half of Σ E|difference|.

    Each difference is close to normal, and the mean size of a normal number is √(2 / π) of its standard deviation.
    """
    deviations = np.sqrt(shares * (1 - shares) * (1 / rows + 1 / others))
    return float(np.sqrt(2 / np.pi) * deviations.sum() / 2)


def _facts(
    log_probs: Array, labels: Array, members: Sequence[Array] | None, weights: Sequence[float] | None, mean: str
) -> tuple[dict[str, Any], Array, Array | None]:
    """What is said of rows, each row's confidence, and how far members differ about each."""
    if log_probs.ndim != 2 or not log_probs.size:
        raise LimbeckError(f"log-probabilities have shape {log_probs.shape}, but must be (rows, classes), not empty")
    rows, classes = log_probs.shape
    if labels.shape != (rows,):
        raise LimbeckError(f"labels have shape {labels.shape}, but the log-probabilities have {rows} rows")
    confidence, entropy = np.empty(rows), np.empty(rows)
    for start in range(0, rows, _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        targets = soft_targets(log_probs[block], 1.0)
        confidence[block], entropy[block] = targets.max(axis=1), entropies(targets)
    apart = None if members is None else member_disagreement(members, weights, mean)
    if apart is not None and len(apart) != rows:
        raise LimbeckError(f"members answer for {len(apart)} rows, their ensemble for {rows}: the same are needed")
    chosen = log_probs.argmax(axis=1)
    labelled = labels >= 0
    # Left: a confidence that equals an edge goes into the bin below it.
    places = np.searchsorted(np.arange(1, BINS) / BINS, confidence, side="left")
    facts = {
        "labelled": int(np.count_nonzero(labelled)),
        "agreement": float(np.mean(chosen[labelled] == labels[labelled])) if labelled.any() else None,
        "confidence": float(confidence.mean()),
        "entropy": float(entropy.mean()),
        "below_half": float(np.mean(confidence < 0.5)),
        "below_nine_tenths": float(np.mean(confidence < 0.9)),
        "at_least_99": float(np.mean(confidence >= 0.99)),
        "histogram": np.bincount(places, minlength=BINS).tolist(),
        "class_shares": (np.bincount(chosen, minlength=classes) / rows).tolist(),
        "disagreement": None if apart is None else float(apart.mean()),
    }
    return facts, confidence, apart
