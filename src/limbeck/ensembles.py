"""How far the members of an ensemble differ, and what their mean makes of it.

Of rows that no member was trained on: on rows that they know by heart, members agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.averaging import checked_mean, checked_weights
from limbeck.errors import LimbeckError
from limbeck.metrics import errors, soft_targets

Array = npt.NDArray[Any]

_BLOCK_VALUES = 1 << 20  # in float64 at a time, of each member


def member_disagreement(
    members: Sequence[Array], weights: Sequence[float] | None = None, mean: str = "probabilities"
) -> Array:
    """How far the members' distributions lie apart, row by row: their mean divergence from what they are combined to.

    Of a mean of probabilities q = Σ w·p this is Σ w·KL(p ‖ q) = H(q) − Σ w·H(p): the generalised Jensen–Shannon
    divergence, known as mutual information or BALD (Houlsby et al. 2011; Lakshminarayanan et al. 2017, sec. 3.5). Of a
    mean of logits, q proportional to Π p^w, it is Σ w·KL(q ‖ p) = −log Σ Π p^w (Heskes 1998).

    Args:
        members: each one's log-probabilities at temperature 1, or logits, shape (rows, classes).
        weights: one for each member, not negative; they are made to sum to 1. Equal by default.
        mean: how they are combined, of "probabilities" or of "logits".

    Returns:
        Shape (rows,), float64, in nats, at least 0: 0 where all say the same. Of a mean of probabilities at most the
        entropy of the weights, the logarithm of the number of members if these are equal.

    Raises:
        LimbeckError: there are no members, their shapes differ, or as for `soft_targets`.
        UsageError: the weights do not fit the members, or the mean is neither.
    """
    _check_members(members)
    shares = checked_weights([1.0] * len(members) if weights is None else weights, len(members))
    of = checked_mean(mean)
    counted = [(member, share) for member, share in zip(members, shares, strict=True) if share > 0]
    apart = np.empty(len(members[0]))
    for rows in _blocks(members[0]):
        middle = np.zeros(members[0][rows].shape)
        inner = np.zeros(len(middle))
        for member, share in counted:
            said = soft_targets(member[rows], 1.0)
            if of == "probabilities":
                middle += share * said
                inner += share * entropies(said)
            else:
                with np.errstate(divide="ignore"):
                    middle += share * np.log(said)
        apart[rows] = entropies(middle) - inner if of == "probabilities" else -_log_sum_exp(middle)
    return np.maximum(apart, 0.0)  # rounding can leave equal members below it


def pairwise_disagreement(members: Sequence[Array]) -> float:
    """The share of rows on which two members choose different classes, averaged over all pairs of members.

    Args:
        members: each one's log-probabilities or logits, shape (rows, classes).

    Returns:
        Between 0 and 1; 0 for a single member.

    Raises:
        LimbeckError: there are no members, or their shapes differ.
    """
    if len(members) == 1:
        return 0.0
    votes = member_votes(members).astype(np.int64)
    alike = (votes * (votes - 1)).sum(axis=1)
    return float(1 - (alike / (len(members) * (len(members) - 1))).mean())


def member_votes(members: Sequence[Array]) -> Array:
    """How many members choose each class.

    Args:
        members: each one's log-probabilities or logits, shape (rows, classes).

    Returns:
        Shape (rows, classes), int32; rows sum to the number of members.

    Raises:
        LimbeckError: there are no members, or their shapes differ.
    """
    _check_members(members)
    votes = np.zeros(members[0].shape, dtype=np.int32)
    rows = np.arange(len(votes))
    for member in members:
        votes[rows, member.argmax(axis=1)] += 1
    return votes


def error_correlation(members: Sequence[Array], labels: Array) -> float | None:
    """Whether members err on the same rows: the correlation of "is wrong", averaged over all pairs of members.

    Args:
        members: each one's log-probabilities or logits, shape (rows, classes).
        labels: shape (rows,), integers in 0 … classes − 1.

    Returns:
        1 where they err together, 0 where they err by chance; None where no pair has it, as with a member that makes
        no errors.

    Raises:
        LimbeckError: there are no members, or their shapes differ.
    """
    _check_members(members)
    wrong = np.stack([member.argmax(axis=1) != labels for member in members]).astype(np.float64)
    # Rows that differ only: the correlation of a constant is not defined.
    varied = wrong[wrong.std(axis=1) > 0]
    if len(varied) < 2:
        return None
    table = np.corrcoef(varied)
    return float(np.mean([table[one, other] for one, other in combinations(range(len(varied)), 2)]))


def ensemble_facts(
    members: Sequence[Array],
    ensemble: Array,
    labels: Array,
    weights: Sequence[float] | None = None,
    mean: str = "probabilities",
) -> dict[str, Any]:
    """What an ensemble gains and how its members differ, as plain numbers.

    Args:
        members: each one's log-probabilities at temperature 1, shape (rows, classes).
        ensemble: those of what they are combined to.
        labels: shape (rows,), integers in 0 … classes − 1.
        weights: as for `member_disagreement`.
        mean: likewise.

    Returns:
        `test_rows`; `members_errors`, of each in order, and of these the `lowest`, the `mean_errors`, the `highest` and
        the `spread` (their standard deviation, of the sample; None for a single member); `errors` of the ensemble, and
        `errors_equal_weights`, what it would make with equal ones (None where weights are equal);
        `pairwise_disagreement`; `divergence`, the mean of `member_disagreement` in nats; `error_correlation`;
        `all_wrong`, the rows for which no member is right (what choosing the right member each time would leave);
        `same_wrong`, those of them for which all say the same wrong class.

    Raises:
        LimbeckError: as for `errors`, or there are no members or their shapes differ.
        UsageError: as for `member_disagreement`.
    """
    _check_members([*members, ensemble])
    each = [errors(member, labels) for member in members]
    votes = member_votes(members)
    none_right = votes[np.arange(len(labels)), labels] == 0
    return {
        "test_rows": len(labels),
        "members_errors": each,
        "lowest": min(each),
        "mean_errors": float(np.mean(each)),
        "highest": max(each),
        "spread": float(np.std(each, ddof=1)) if len(each) > 1 else None,
        "errors": errors(ensemble, labels),
        "errors_equal_weights": None if weights is None else errors(_equal_mean(members, mean), labels),
        "pairwise_disagreement": pairwise_disagreement(members),
        "divergence": float(member_disagreement(members, weights, mean).mean()),
        "error_correlation": error_correlation(members, labels),
        "all_wrong": int(np.count_nonzero(none_right)),
        "same_wrong": int(np.count_nonzero(none_right & (votes.max(axis=1) == len(members)))),
    }


def _equal_mean(members: Sequence[Array], mean: str) -> Array:
    """What orders classes as the mean of the members with equal weights does, shape (rows, classes)."""
    total = np.zeros(members[0].shape)
    for member in members:
        said = soft_targets(member, 1.0)
        total += said if mean == "probabilities" else np.log(np.maximum(said, np.finfo(np.float64).tiny))
    return total


def entropies(probabilities: Array) -> Array:
    """The entropy of each row, in nats.

    Args:
        probabilities: shape (rows, classes), float64, rows summing to 1.

    Returns:
        Shape (rows,), between 0 and the logarithm of the number of classes.
    """
    found: Array = -np.sum(probabilities * np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)), axis=1)
    return np.maximum(found, 0.0)


def _check_members(members: Sequence[Array]) -> None:
    if not len(members):
        raise LimbeckError("an ensemble needs at least one member, but none was given")
    for number, member in enumerate(members, start=1):
        if member.ndim != 2 or member.shape != members[0].shape:
            raise LimbeckError(
                f"log-probabilities of number {number} have shape {member.shape}, those of number 1 "
                f"{members[0].shape}, but must be of the same rows and classes"
            )


def _blocks(values: Array) -> Iterator[slice]:
    step = max(1, _BLOCK_VALUES // max(1, values.shape[1]))
    return (slice(start, start + step) for start in range(0, len(values), step))


def _log_sum_exp(values: Array) -> Array:
    highest = values.max(axis=1, keepdims=True)
    # Members that share no class have no geometric mean: their divergence is infinite.
    highest = np.where(np.isfinite(highest), highest, 0.0)
    with np.errstate(divide="ignore"):
        found: Array = np.log(np.exp(values - highest).sum(axis=1)) + highest[:, 0]
    return found
