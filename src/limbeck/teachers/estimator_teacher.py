"""Fitted classifiers with scikit-learn's interface as teachers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from limbeck.data.form import Form
from limbeck.models.estimator import Estimator
from limbeck.models.estimator_classes import classes_of

EXTRACTION_BATCH = 8000
"""Rows asked at once: an estimator's own work for a call outweighs that for a row."""


class EstimatorTeacher:
    """A fitted classifier, such as a forest, gradient boosting or a pipeline, that answers raw inputs.

    Args:
        estimator: has `predict_proba`, or `predict` alone, and `classes_`; or an `Estimator`.
        classes: the data's class names, in their order, which the answers come in; by default the estimator's own.
        form: the columns of a table, for an estimator that was fitted to a frame.
        batch_size: rows asked at once.

    Raises:
        LimbeckError: it is not fitted, or its classes are not these.
    """

    outputs: Literal["logits"] = "logits"
    precision = "float32"

    def __init__(
        self,
        estimator: object,
        classes: Sequence[str] | None = None,
        form: Form | None = None,
        *,
        batch_size: int = EXTRACTION_BATCH,
    ) -> None:
        if isinstance(estimator, Estimator):
            self.model = estimator
        else:
            names = [str(one) for one in classes_of(estimator).tolist()] if classes is None else list(classes)
            shape = (int(getattr(estimator, "n_features_in_", 0)),)
            self.model = Estimator(estimator, shape, names, form=form)
        self.batch_size = batch_size

    @property
    def warning(self) -> str | None:
        """What a user should know before it teaches: that it gives hard labels."""
        return self.model.warning

    def answer(self, inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Raw inputs (batch, …) to log-probabilities (batch, classes)."""
        return self.model.log_probs(inputs)


def is_estimator(teacher: object) -> bool:
    """Whether it is asked as scikit-learn's classifiers are.

    What has `predict`, no classes and can be called, as models of other libraries, is called.
    """
    if callable(getattr(teacher, "predict_proba", None)):
        return True
    return callable(getattr(teacher, "predict", None)) and (hasattr(teacher, "classes_") or not callable(teacher))
