"""Teachers: whatever answers a batch of raw inputs with logits or probabilities."""

from limbeck.teachers.protocol import FLOOR, Teacher, log_probabilities
from limbeck.teachers.torch_module import FunctionTeacher, TorchTeacher, as_teacher

__all__ = ["FLOOR", "FunctionTeacher", "Teacher", "TorchTeacher", "as_teacher", "log_probabilities"]
