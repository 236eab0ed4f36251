import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from limbeck import evaluation
from limbeck.evaluation import (
    Asked,
    measure_cost,
    measure_costs,
    median_seconds,
    multiply_adds,
    result_row,
    serving_form,
)
from limbeck.models import MLP, ConvNet
from limbeck.rows import model_id

FIELDS = [
    "role", "name", "data", "variant", "teacher", "transfer", "parameters", "bytes", "multiply_adds", "accuracy",
    "errors", "nll", "ece", "agreement", "latency_ms", "examples_per_second", "train_seconds", "trials", "chosen", "metrics",
    "gap_recovered", "p_value", "verdict",
]  # fmt: skip
LABELS = np.arange(200) % 4


def answers(wrong, labels=LABELS):
    """Log-probabilities whose top class is the label but in the given rows."""
    top = labels.copy()
    top[list(wrong)] = (top[list(wrong)] + 1) % 4
    return np.log(np.eye(4)[top] * 0.9 + 0.025)


def test_every_row_has_every_field():
    for role in ("teacher", "student", "baseline", "reference"):
        assert sorted(result_row(role, "x", answers(range(5)), LABELS)) == sorted(FIELDS)


def test_accuracy_is_a_fraction_and_errors_are_a_count():
    row = result_row("teacher", "x", answers(range(5)), LABELS)
    assert (row["accuracy"], row["errors"]) == (pytest.approx(0.975), 5)
    assert row["nll"] == pytest.approx(-(195 * np.log(0.925) + 5 * np.log(0.025)) / 200)
    assert (row["verdict"], row["p_value"], row["gap_recovered"], row["agreement"]) == (None, None, None, None)


def test_a_student_is_set_against_its_baseline_and_its_teacher():
    row = result_row(
        "student", "x", answers(range(20)), LABELS,
        teacher_log_probs=answers(range(10)), baseline_log_probs=answers(range(15, 75)),
    )  # fmt: skip
    assert row["agreement"] == pytest.approx(190 / 200)
    assert row["gap_recovered"] == pytest.approx((60 - 20) / (60 - 10))
    # Rows 0 to 14 only the baseline has right, rows 20 to 74 only the student.
    assert row["p_value"] == pytest.approx(binomtest(15, 70).pvalue)
    assert row["verdict"] == "helps"


def test_a_student_worse_than_its_baseline_is_hurt_and_one_like_it_is_not():
    hurt = result_row("student", "x", answers(range(60)), LABELS, baseline_log_probs=answers(range(20)))
    assert hurt["verdict"] == "hurts"
    alike = result_row("student", "x", answers(range(20)), LABELS, baseline_log_probs=answers(range(2, 23)))
    assert alike["verdict"] == "no difference"
    assert alike["p_value"] > 0.05


def test_a_teacher_no_better_than_the_baseline_leaves_no_gap():
    row = result_row(
        "student", "x", answers(range(10)), LABELS,
        teacher_log_probs=answers(range(20)), baseline_log_probs=answers(range(20)),
    )  # fmt: skip
    assert row["gap_recovered"] is None


def test_a_baseline_has_no_verdict_of_its_own():
    row = result_row("baseline", "x", answers([]), LABELS, baseline_log_probs=answers([]))
    assert row["verdict"] is None


@pytest.mark.parametrize(
    ("variant", "shown"),
    [
        ({}, "student/2x16"),
        ({"temperature": 4}, "student/2x16-temperature=4"),
        ({"temperature": 2.5, "without": [3, "7"]}, "student/2x16-temperature=2.5,without=3+7"),
    ],
)
def test_a_model_s_name_tells_its_variant(variant, shown):
    assert model_id("student", "2x16", variant) == shown


@pytest.mark.parametrize(
    "classes",
    [list(range(100)), ["../up", "a/b"], ["é" * 200], ["a\nb", "\x00"]],
    ids=["many", "slashes", "long", "odd"],
)
def test_a_model_is_called_what_a_file_can_be_called(classes, tmp_path):
    names = {
        model_id("student", "2x16", {"temperature": 4, "without": left_out}) for left_out in (classes, classes[1:])
    }
    assert len(names) == 2
    for name in names:
        role, _, file = name.partition("/")
        assert role == "student"
        assert "/" not in file
        (tmp_path / f"{file}.safetensors").touch()


# ---------------------------------------------------------------- cost


def test_multiply_adds_of_an_mlp_are_its_weights():
    model = MLP((8, 8), 10, [16, 12])
    assert multiply_adds(model, np.zeros((3, 8, 8), np.uint8)) == 64 * 16 + 16 * 12 + 12 * 10


def test_multiply_adds_of_convolutions_count_every_place():
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2, groups=2))
    found = multiply_adds(model, np.zeros((1, 2, 9, 9), np.float32))
    assert found == 4 * 9 * 9 * (2 * 9) + 6 * 4 * 4 * (2 * 9)


def test_counting_leaves_no_hooks_behind():
    model = MLP((8, 8), 10, [16])
    multiply_adds(model, np.zeros((1, 8, 8), np.uint8))
    assert not any(layer._forward_hooks for layer in model.modules())


def test_cost_is_that_of_the_model_and_leaves_it_as_it_is(digits):
    model = ConvNet((8, 8), 10, [4, 4, 8], hidden=8)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    cost = measure_cost(model, 1234, digits.inputs[:7])
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert cost.bytes == 1234
    assert cost.multiply_adds == multiply_adds(model, digits.inputs)
    assert cost.latency_ms > 0
    assert cost.examples_per_second > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_models_that_stand_beside_each_other_are_timed_in_turns(digits, monkeypatch):
    nets = {"small": MLP((8, 8), 10, [16]), "large": MLP((8, 8), 10, [64])}
    opened = []

    def asked(name):
        return Asked(lambda: opened.append(name) or nets[name], 10, digits.inputs[:7])

    # A machine that is ten times slower for a while: in two rounds of five, for both models.
    seconds = {"small": 0.001, "large": 0.003}
    slow = iter([1] * 4 + [10] * 8 + [1] * 8)
    monkeypatch.setattr(evaluation, "median_seconds", lambda work, *limits, **least: seconds[opened[-1]] * next(slow))
    small, large = measure_costs([asked("small"), asked("large")])
    assert opened == ["small", "large"] * 5
    assert (small.latency_ms, large.latency_ms) == (1, 3)
    assert small.examples_per_second == pytest.approx(3 * large.examples_per_second, rel=1e-3)
    assert (small.parameters, large.parameters) == (64 * 16 + 16 + 170, 64 * 64 + 64 + 650)


def test_work_is_repeated_as_often_as_there_is_time_for():
    times = []
    median_seconds(lambda: times.append(0), repeats=50, at_most=10)
    assert len(times) == 5 + 50
    times.clear()
    median_seconds(lambda: times.append(0), repeats=50, at_most=0, least=1)
    assert len(times) == 5 + 1


def test_the_serving_form_folds_what_can_be_folded():
    assert not any(isinstance(m, nn.BatchNorm2d) for m in serving_form(ConvNet((8, 8), 10, [4, 4, 4])).modules())
    model = MLP((8, 8), 10, [16]).train()
    assert serving_form(model) is model
    assert not model.training
