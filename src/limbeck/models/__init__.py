"""What can be a teacher or a student: models that are saved and loaded without running code from a file."""

from limbeck.models.convnet import ConvNet
from limbeck.models.encoding import TableEncoding, encoded, learn_preprocessing
from limbeck.models.estimator import Estimator
from limbeck.models.estimator_file import load_estimator, load_estimator_model, save_estimator, save_estimator_model
from limbeck.models.mlp import MLP
from limbeck.models.onnx_model import OnnxModel
from limbeck.models.outputs import Outputs, answer_of, logits_of
from limbeck.models.preprocessing import Standardize
from limbeck.models.saving import build_model, load_model, read_description, save_model
from limbeck.models.soft_tree import SoftDecisionTree
from limbeck.models.threshold_tree import ThresholdTree
from limbeck.models.tree_ensemble import TreeEnsemble

__all__ = [
    "MLP",
    "ConvNet",
    "Estimator",
    "OnnxModel",
    "Outputs",
    "SoftDecisionTree",
    "Standardize",
    "TableEncoding",
    "ThresholdTree",
    "TreeEnsemble",
    "answer_of",
    "build_model",
    "encoded",
    "learn_preprocessing",
    "load_estimator",
    "load_estimator_model",
    "load_model",
    "logits_of",
    "read_description",
    "save_estimator",
    "save_estimator_model",
    "save_model",
]
