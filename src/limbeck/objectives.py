"""What a student minimises: soft targets, hard labels, logit matching, and their weighted sum.

Every loss is a plain function of tensors, a mean over the batch's rows; `Objective` is the weighted sum that
training calls in every step. Logits and targets narrower than float32 are widened before anything else is
done to them: a softmax in float16 loses digits that a high temperature needs.

None of them looks at a value (labels, weights, finiteness), which on a GPU would stall the step: they check
shapes and settings only.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import LimbeckError, UsageError
from limbeck.mixture import Mixture
from limbeck.state_objectives import States, hidden_cosine_loss, relation_loss

if TYPE_CHECKING:
    from limbeck.knowledge.sparse_targets import SparseTargets

LossName = Literal["soft_targets", "logit_matching", "hard_labels"]


def tempered(log_probs: Tensor, temperature: float) -> Tensor:
    """Log-probabilities at temperature T: log softmax(z / T) (Hinton et al. 2015, eq. 1).

    T = 1 leaves log-probabilities as they are; towards 0 the top class takes all, towards infinity the
    distribution becomes uniform.

    Args:
        log_probs: shape (…, classes), log-probabilities at temperature 1, or logits: a constant per row
            makes no difference. Widened to float32 before the division if narrower.
        temperature: T, finite and above 0.

    Returns:
        Shape (…, classes), float32 or wider.

    Raises:
        UsageError: the temperature is not a finite number above 0.
    """
    _check_temperature(temperature)
    return (_widened(log_probs) / temperature).log_softmax(dim=-1)


def soft_target_loss(
    student_logits: Tensor | Mixture,
    teacher_log_probs: Tensor,
    temperature: float,
    *,
    weights: Tensor | None = None,
) -> Tensor:
    """KL divergence of the student from the teacher's soft targets, scaled by T².

    T² · Σ_j q_j (log q_j − log p_j), where q = softmax(v / T) and p = softmax(z / T) for the teacher's logits
    v and the student's z. The T² keeps the gradient's size independent of the temperature, so that the weight
    between soft and hard targets needs no retuning when T changes (Hinton et al. 2015, sec. 2).
    KL and not cross-entropy: same gradient, but zero when the student has learnt its teacher.

    Args:
        student_logits: shape (batch, classes); or the mixture of a soft decision tree's leaves, each softened.
        teacher_log_probs: shape (batch, classes), log-probabilities at temperature 1, or logits: a constant
            per row makes no difference. Finite: a probability of zero needs a floor before it comes here.
        temperature: T, finite and above 0. At T = 1 the targets are the teacher's own probabilities.
        weights: shape (batch,), at least 0; the mean over rows is weighted by them. All alike if None.

    Returns:
        A scalar: the mean over the batch; zero where the weights are all zero.

    Raises:
        UsageError: the temperature is not a finite number above 0.
        LimbeckError: the shapes do not fit each other, or the batch is empty.
    """
    _check_pair(student_logits, teacher_log_probs)
    targets = tempered(teacher_log_probs, temperature)
    log_probs = _log_probs(student_logits, temperature)
    if weights is None:
        divergence = F.kl_div(log_probs, targets, reduction="sum", log_target=True)
        return divergence * (temperature**2 / len(targets))
    rows = F.kl_div(log_probs, targets, reduction="none", log_target=True).sum(dim=-1)
    return _weighted_mean(rows, weights) * temperature**2


def hard_label_loss(
    logits: Tensor | Mixture,
    labels: Tensor,
    label_smoothing: float = 0.0,
    *,
    weights: Tensor | None = None,
) -> Tensor:
    """Cross-entropy with the labels at temperature 1, over the rows that have one.

    −Σ_j q_j log softmax(z)_j, where q = (1 − ε) · one-hot(label) + ε / classes; ε > 0 is label smoothing
    (Szegedy et al. 2016, sec. 7). A teacher trained with it has weaker soft targets: they no longer tell
    which classes are alike (Müller et al. 2019).

    Args:
        logits: shape (batch, classes); or the mixture of a soft decision tree's leaves.
        labels: shape (batch,), int64, in 0 … classes − 1, or −1 for a row without a label.
        label_smoothing: ε, at least 0 and below 1.
        weights: shape (batch,), at least 0; the mean over labelled rows is weighted by them. All alike if
            None.

    Returns:
        A scalar: the mean over the labelled rows. Zero, with zero gradients, if no row is labelled or the
        weights of the labelled rows are all zero.

    Raises:
        UsageError: label_smoothing is out of range.
        LimbeckError: the shapes or the labels' type do not fit, or the batch is empty.
    """
    _check_smoothing(label_smoothing)
    _check_labels(logits, labels)
    if isinstance(logits, Mixture):
        rows = _leaf_cross_entropy(logits.log_probs(), labels, label_smoothing)
        return _weighted_mean(rows, torch.ones_like(rows) if weights is None else weights, labels >= 0)
    logits = _widened(logits)
    if weights is None:
        mean = F.cross_entropy(logits, labels, ignore_index=-1, label_smoothing=label_smoothing)
        # The mean over no rows is 0/0. Replaced on that ground alone, so that a nan of the student's shows.
        return torch.where((labels >= 0).any(), mean, 0.0)
    rows = F.cross_entropy(logits, labels, ignore_index=-1, label_smoothing=label_smoothing, reduction="none")
    return _weighted_mean(rows, weights, labels >= 0)


def logit_matching_loss(
    student_logits: Tensor | Mixture, teacher_logits: Tensor, *, weights: Tensor | None = None
) -> Tensor:
    """Half the mean squared difference of the logits, each row's mean taken out first.

    (1 / 2N) Σ_j (z_j − v_j)² over the N classes, with Σ_j z_j = Σ_j v_j = 0: the limit of `soft_target_loss`
    as the temperature grows (Hinton et al. 2015, sec. 2.1).

    Args:
        student_logits: shape (batch, classes); or the mixture of a soft decision tree's leaves.
        teacher_logits: shape (batch, classes), logits or log-probabilities at temperature 1: a constant per
            row makes no difference.
        weights: shape (batch,), at least 0; the mean over rows is weighted by them. All alike if None.

    Returns:
        A scalar: the mean over the batch; zero where the weights are all zero.

    Raises:
        LimbeckError: the shapes do not fit each other, or the batch is empty.
    """
    _check_pair(student_logits, teacher_logits)
    if isinstance(student_logits, Mixture):
        rows = student_logits.squared_distance(_widened(teacher_logits))
    else:
        # The variance over classes is the mean square after the row's mean is taken out.
        rows = 0.5 * (_widened(student_logits) - _widened(teacher_logits)).var(dim=-1, correction=0)
    return rows.mean() if weights is None else _weighted_mean(rows, weights)


@dataclass(frozen=True)
class Objective:
    """The weighted sum that a student is trained on: soft · L_soft + hard · L_hard (+ what is seen of a live teacher).

    L_soft is `soft_target_loss` (loss = "soft_targets") or `logit_matching_loss` ("logit_matching"), L_hard
    is `hard_label_loss`. A term of weight 0 is not computed, and what it needs may be left out.
    "hard_labels" is L_hard alone, unweighted, as a baseline is trained: soft, hard and temperature are then
    without effect.

    Attributes:
        loss: which loss the teacher's outputs enter.
        temperature: T of the soft targets, finite and above 0. Logit matching has none.
        soft: weight of L_soft, at least 0.
        hard: weight of L_hard, at least 0; Hinton et al. found a considerably lower one than soft to be best.
        label_smoothing: ε of L_hard, at least 0 and below 1.
        hidden: weight of `hidden_cosine_loss`, at least 0: the teacher is asked in every step.
        relations: weight of `relation_loss`, likewise.

    Raises:
        UsageError: a value is out of range, or no term has a weight above 0.
    """

    loss: LossName = "soft_targets"
    temperature: float = 1.0
    soft: float = 1.0
    hard: float = 0.0
    label_smoothing: float = 0.0
    hidden: float = 0.0
    relations: float = 0.0

    def __post_init__(self) -> None:
        if self.loss not in get_args(LossName):
            raise UsageError(f"loss is {self.loss!r}, but must be one of {', '.join(get_args(LossName))}")
        _check_temperature(self.temperature)
        _check_smoothing(self.label_smoothing)
        for name in ("soft", "hard", "hidden", "relations"):
            if not 0 <= (weight := getattr(self, name)) < math.inf:
                raise UsageError(f"the weight {name} is {weight!r}, but must be a finite number, at least 0")
        if not (self.uses_teacher or self.uses_labels or self.uses_states):
            raise UsageError("the weights soft and hard are both 0, so nothing would be learnt: raise one")

    @property
    def uses_teacher(self) -> bool:
        """Whether the teacher's outputs have a part in the sum."""
        return self.loss != "hard_labels" and self.soft > 0

    @property
    def uses_labels(self) -> bool:
        """Whether the labels have a part in the sum."""
        return self.loss == "hard_labels" or self.hard > 0

    @property
    def uses_states(self) -> bool:
        """Whether the last layers' states have a part in the sum, for which a teacher has to be asked in every step."""
        return self.loss != "hard_labels" and (self.hidden > 0 or self.relations > 0)

    def in_effect(self) -> dict[str, Any]:
        """The settings that make a difference: equal for objectives that are the same sum."""
        settings = asdict(self)
        without = {name for name in ("hidden", "relations") if not self.uses_states or not settings[name]}
        if self.loss == "hard_labels":
            without |= {"temperature", "soft", "hard"}
        if not self.uses_teacher:
            without |= {"temperature", "soft"}
        if self.loss == "logit_matching":
            without |= {"temperature"}
        if not self.uses_labels:
            without |= {"label_smoothing"}
        return {name: value for name, value in settings.items() if name not in without}

    def __call__(
        self,
        student_logits: Tensor | Mixture,
        *,
        teacher_logits: Tensor | SparseTargets | None = None,
        labels: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """The objective of one batch.

        Args:
            student_logits: shape (batch, classes); or the mixture of a soft decision tree's leaves.
            teacher_logits: shape (batch, classes), logits or log-probabilities at temperature 1; or the most likely of
                them, as the sparse form of knowledge has them.
            labels: shape (batch,), int64, −1 for a row without a label.
            weights: shape (batch,), at least 0: each row's weight in both means. All alike if None.

        Returns:
            A scalar.

        Raises:
            UsageError: a term with a weight above 0 lacks the teacher's outputs or the labels.
            LimbeckError: the shapes do not fit each other, or the batch is empty.
        """
        if not self.uses_teacher:
            if not self.uses_labels:
                return torch.zeros(())
            hard = self._hard_loss(student_logits, labels, weights)
            return hard if self.loss == "hard_labels" else _scaled(hard, self.hard)
        soft = _scaled(self._soft_loss(student_logits, teacher_logits, weights), self.soft)
        if not self.uses_labels:
            return soft
        return torch.add(soft, self._hard_loss(student_logits, labels, weights), alpha=self.hard)

    def state_loss(self, student: States, teacher: States, mask: Tensor | None) -> Tensor:
        """The terms that a live teacher's last layer has in the sum.

        Args:
            student: what it shows of its last layer.
            teacher: likewise, of the same batch.
            mask: which tokens count, shape (batch, tokens).

        Raises:
            UsageError: one of the two shows no such states.
        """
        total = torch.zeros(())
        for name, weight, loss in (
            ("hidden", self.hidden, hidden_cosine_loss),
            ("projections", self.relations, relation_loss),
        ):
            if weight:
                ours, theirs = getattr(student, name), getattr(teacher, name)
                if ours is None or theirs is None or mask is None:
                    who = "student" if ours is None or mask is None else "teacher"
                    raise UsageError(
                        f"a loss on {name} needs models that show them, and the {who} does not: leave it out"
                    )
                total = total + weight * loss(ours, theirs, mask)
        return total

    def _soft_loss(
        self, logits: Tensor | Mixture, teacher: Tensor | SparseTargets | None, weights: Tensor | None
    ) -> Tensor:
        if teacher is None:
            raise UsageError(f"the loss {self.loss} needs the teacher's logits, and none were given")
        if not isinstance(teacher, Tensor):
            if self.loss != "soft_targets" or not isinstance(logits, Tensor):
                raise UsageError(f"sparse knowledge is for soft targets of a network: not for {self.loss} or a tree")
            from limbeck.sparse_objectives import sparse_soft_target_loss  # made of knowledge, which knows objectives

            return sparse_soft_target_loss(logits, teacher, self.temperature, weights=weights)
        if self.loss == "logit_matching":
            return logit_matching_loss(logits, teacher, weights=weights)
        return soft_target_loss(logits, teacher, self.temperature, weights=weights)

    def _hard_loss(self, logits: Tensor | Mixture, labels: Tensor | None, weights: Tensor | None) -> Tensor:
        if labels is None:
            remedy = "" if self.loss == "hard_labels" else f" (the weight hard is {self.hard}: or set it to 0)"
            raise UsageError(f"the hard-label loss needs labels, and none were given{remedy}")
        return hard_label_loss(logits, labels, self.label_smoothing, weights=weights)


def _widened(values: Tensor) -> Tensor:
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _log_probs(student: Tensor | Mixture, temperature: float) -> Tensor:
    return student.log_probs(temperature) if isinstance(student, Mixture) else tempered(student, temperature)


def _leaf_cross_entropy(log_probs: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """Of each row, 0 for one without a label; torch's own would make log-probabilities of them again."""
    rows = F.nll_loss(log_probs, labels, ignore_index=-1, reduction="none")
    if not label_smoothing:
        return rows
    uniform = -log_probs.mean(dim=-1) * (labels >= 0)
    return (1 - label_smoothing) * rows + label_smoothing * uniform


def _scaled(loss: Tensor, weight: float) -> Tensor:
    return loss if weight == 1 else loss * weight


def _weighted_mean(rows: Tensor, weights: Tensor, counted: Tensor | None = None) -> Tensor:
    """Σ w·x / Σ w over the counted rows, 0 where the weights are all zero; rows not counted hold 0."""
    if weights.shape != rows.shape:
        raise LimbeckError(
            f"weights have shape {tuple(weights.shape)}, but the batch has {len(rows)} rows: one for each"
        )
    weights = weights.to(rows.dtype)
    total = weights.sum() if counted is None else (weights * counted).sum()
    # The weights are divided, not the sum: dividing that by tiny would make the gradient infinity times zero.
    return torch.dot(weights / total.clamp(min=torch.finfo(rows.dtype).tiny), rows)


def _check_temperature(temperature: float) -> None:
    if not 0 < temperature < math.inf:
        raise UsageError(f"temperature is {temperature!r}, but must be a finite number above 0")


def _check_smoothing(label_smoothing: float) -> None:
    if not 0 <= label_smoothing < 1:
        raise UsageError(f"label_smoothing is {label_smoothing!r}, but must be at least 0 and below 1")


def _check_pair(student: Tensor | Mixture, teacher: Tensor) -> None:
    if tuple(student.shape) != tuple(teacher.shape) or teacher.ndim != 2 or teacher.numel() == 0:
        raise LimbeckError(
            f"the student's logits have shape {tuple(student.shape)}, the teacher's {tuple(teacher.shape)}, "
            "but both must be (batch, classes), alike and not empty"
        )


def _check_labels(logits: Tensor | Mixture, labels: Tensor) -> None:
    shape = tuple(logits.shape)
    if len(shape) != 2 or tuple(labels.shape) != shape[:1] or 0 in shape:
        raise LimbeckError(
            f"the logits have shape {tuple(logits.shape)}, the labels {tuple(labels.shape)}, "
            "but must be (batch, classes) and (batch,), not empty"
        )
    if labels.dtype != torch.int64:
        raise LimbeckError(f"the labels are {labels.dtype}, but must be int64 class numbers, −1 for none")
