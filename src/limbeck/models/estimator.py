"""Fitted classifiers with scikit-learn's interface, one or the mean of several, as a model like any other."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limbeck.data import Part
from limbeck.data.form import Form
from limbeck.errors import LimbeckError
from limbeck.models.estimator_classes import align_classes, classes_of, one_hot
from limbeck.models.estimator_rows import as_fitted, column_names, features_of
from limbeck.models.estimator_size import multiply_adds_of, parameters_of, summed
from limbeck.models.hard_labels import FLOOR
from limbeck.models.outputs import Outputs

Array = npt.NDArray[Any]

OWN_KINDS = ("random-forest", "gradient-boosting", "lightgbm")
"""The kinds that `limbeck.at_once.estimators` fits: their classes are numbers of labels, and they take NaN."""

_FEW_ROWS = 64  # below this, handing rows to workers takes longer than answering


class RowAnswers(Protocol):
    """Answers for certain rows: `limbeck.teachers.OwnAnswers`, which cannot be imported here."""

    def answers_for(self, part: Part) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        """Which of the rows have such an answer, (n,), and the log-probabilities of all, (n, classes)."""
        ...


class Estimator(nn.Module):
    """A fitted classifier with `predict_proba`, or with `predict` alone: the mean of its members' probabilities.

    A classifier that was fitted to a frame (`feature_names_in_`) gets a frame with its own columns, made by the form;
    any other gets float32 of shape (rows, features), images flattened and a table's categories as their codes.

    Nothing in here is trained by gradients, and `limbeck.models.estimator_file` saves it.

    Args:
        members: fitted classifiers, or one.
        input_shape: shape of one raw input, the batch left out.
        class_names: the data's classes, in the order of the log-probabilities.
        form: the columns of a table.
        kind: one of `OWN_KINDS`, or "estimator".
        settings: what it was fitted with.
        labels: whether the members' classes are numbers of labels, of which some may be missing in one; by default
            where limbeck fitted them.

    Attributes:
        classes: how many.
        own_rows: what is said about the rows that the members were fitted to, by those that have not seen them.
        hard: whether a member has no probabilities: its class then gets all of it.

    Raises:
        LimbeckError: a member is no fitted classifier, or its classes are not the data's.
    """

    def __init__(
        self,
        members: object,
        input_shape: Sequence[int],
        class_names: Sequence[str],
        *,
        form: Form | None = None,
        kind: str = "estimator",
        settings: Mapping[str, Any] | None = None,
        labels: bool | None = None,
    ) -> None:
        super().__init__()
        self.members: tuple[Any, ...] = tuple(members) if isinstance(members, list | tuple) else (members,)
        self.input_shape = tuple(input_shape)
        self.class_names = tuple(class_names)
        self.classes = len(self.class_names)
        self.form = form
        self.kind = kind
        self.settings: dict[str, Any] = dict(settings or {})
        self.labels = kind in OWN_KINDS if labels is None else labels
        self._places = tuple(
            align_classes(classes_of(one), self.class_names, partial=self.labels) for one in self.members
        )
        self.own_rows: RowAnswers | None = None
        self.hard = any(not hasattr(one, "predict_proba") for one in self.members)

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.kind if self.kind in OWN_KINDS else type(self.members[0]).__name__

    @property
    def warning(self) -> str | None:
        """What a user should know before it teaches."""
        if not self.hard:
            return None
        return f"{self.name} has no predict_proba: it teaches hard labels, which say no more than its class"

    @property
    def parameter_count(self) -> int:
        """Numbers in the members' trees or coefficients; 0 where that is not known."""
        return sum(parameters_of(member) for member in self.members)

    @property
    def multiply_adds(self) -> int | None:
        """Of the members' coefficients; 0 of trees, which compare; None where that is not known."""
        return summed([multiply_adds_of(member) for member in self.members])

    def forward(self, inputs: Tensor) -> Outputs:
        """Raw inputs (batch, *input_shape) to log-probabilities (batch, classes), float32."""
        return Outputs(torch.from_numpy(self.log_probs(inputs.detach().cpu().numpy())).to(inputs.device))

    def log_probs(self, inputs: Array) -> npt.NDArray[np.float32]:
        """Raw inputs (n, *input_shape) to log-probabilities (n, classes).

        Probabilities below `FLOOR` count as `FLOOR`, so that none is −inf.

        Raises:
            LimbeckError: a member does not take the inputs, or what it answers is no distribution.
        """
        total = np.zeros((len(inputs), self.classes))
        for member, places in zip(self.members, self._places, strict=True):
            total[:, places] += self._answer(member, inputs, len(places))
        floored = np.maximum(total / len(self.members), FLOOR)
        logs: npt.NDArray[np.float32] = np.log(floored / floored.sum(axis=1, keepdims=True)).astype(np.float32)
        return logs

    def _answer(self, member: Any, inputs: Array, columns: int) -> Array:
        """A member's probabilities, shape (n, columns), in its own order of classes."""
        own = self.kind in OWN_KINDS
        rows = features_of(inputs, self.form, unknown_as_missing=own)
        asked = as_fitted(member, inputs, rows, self.form)
        # The same sums in the same order, without 300 calls that each check the rows: 1 ms a row in place of 17.
        if _is_forest(member) and (own or np.isfinite(rows).all()):
            total = np.zeros((len(rows), columns))
            for tree in member.estimators_:
                total += tree.tree_.predict(rows).reshape(len(rows), -1)
            return total / len(member.estimators_)
        try:
            with _calmly(len(rows)):
                if not hasattr(member, "predict_proba"):
                    return one_hot(member.predict(asked), classes_of(member))
                answer = member.predict_proba(asked)
        except (MemoryError, LimbeckError):
            raise
        except Exception as error:  # every library has its own for rows that it does not take
            reason = " ".join(str(error).split())[:200]
            raise LimbeckError(
                f"{type(member).__name__} does not take rows of {rows.shape[1]} features: {reason}"
            ) from error
        return _checked(answer, (len(rows), columns), type(member).__name__)


def _is_forest(member: Any) -> bool:
    """A plain forest of scikit-learn's, asked for one output and fitted to an array."""
    kind = type(member)
    return (
        kind.__module__ == "sklearn.ensemble._forest"
        and kind.__name__ in ("RandomForestClassifier", "ExtraTreesClassifier")
        and getattr(member, "n_outputs_", None) == 1
        and column_names(member) is None
    )


@contextlib.contextmanager
def _calmly(rows: int) -> Iterator[None]:
    """No warning about names, and one thread for a few rows; otherwise the estimator's own n_jobs counts.

    Histogram gradient boosting wakes its threads for each tree: 780 trees took 42 ms a row with two, 4 ms with one.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        if rows < _FEW_ROWS:
            from joblib import parallel_backend  # type: ignore[import-untyped]

            stack.enter_context(parallel_backend("sequential"))
            stack.enter_context(_thread_pools().limit(limits=1, user_api="openmp"))
        yield


@functools.cache
def _thread_pools() -> Any:
    """The libraries' thread pools, which take 3 ms to find."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def _checked(answer: Any, shape: tuple[int, int], name: str) -> Array:
    if isinstance(answer, list):
        raise LimbeckError(
            f"predict_proba of {name} returned a list of {len(answer)}: expected one array of shape {shape}; give a "
            "classifier of one output"
        )
    found = np.asarray(answer, dtype=np.float64)
    if found.shape != shape:
        raise LimbeckError(
            f"predict_proba of {name} returned the shape {found.shape}: expected {shape}, (rows, classes)"
        )
    wrong = ~np.isfinite(found).all(axis=1) | (found < 0).any(axis=1) | (np.abs(found.sum(axis=1) - 1) > 1e-3)
    if wrong.any():
        row = int(np.argmax(wrong))
        shown = ", ".join(f"{value:.4g}" for value in found[row, :12])
        raise LimbeckError(
            f"predict_proba of {name} returned no probabilities for row {row} ({shown}): they must sum to 1"
        )
    return found
