"""Teachers: whatever answers a batch of raw inputs with logits or probabilities."""

from limbeck.teachers.estimator_teacher import EstimatorTeacher
from limbeck.teachers.out_of_fold import OwnRows, memorised, out_of_fold
from limbeck.teachers.predictions import Predictions, read_predictions
from limbeck.teachers.protocol import (
    FLOOR,
    OwnAnswers,
    Teacher,
    answers_about,
    log_probabilities,
    own_answers,
    own_answers_by_content,
)
from limbeck.teachers.torch_module import FunctionTeacher, TorchTeacher, as_teacher

__all__ = [
    "FLOOR",
    "EstimatorTeacher",
    "FunctionTeacher",
    "OwnAnswers",
    "OwnRows",
    "Predictions",
    "Teacher",
    "TorchTeacher",
    "answers_about",
    "as_teacher",
    "log_probabilities",
    "memorised",
    "out_of_fold",
    "own_answers",
    "own_answers_by_content",
    "read_predictions",
]
