import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from limbeck.bias import best_bias, raise_bias
from limbeck.errors import LimbeckError, UsageError
from limbeck.metrics import errors
from limbeck.models import build_model


def moved(log_probs, missing, bias):
    raised = log_probs.copy()
    raised[:, list(missing)] += bias
    return raised


@settings(max_examples=80, deadline=None)
@example(seed=72318, rows=8, missing={0, 1, 2, 3})
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 40), missing=st.sets(st.integers(0, 4), min_size=1, max_size=4))
def test_no_other_number_leaves_fewer_errors(seed, rows, missing):
    generator = np.random.default_rng(seed)
    log_probs = generator.normal(0, 3, (rows, 5)).round(1)  # rounded, so that rows tie
    labels = generator.integers(0, 5, rows)
    found = best_bias(log_probs, labels, sorted(missing))
    assert errors(moved(log_probs, missing, found.bias), labels) == found.errors
    tried = min(errors(moved(log_probs, missing, bias), labels) for bias in np.arange(-20, 20, 0.05) + 0.025)
    assert found.errors <= tried


def test_it_is_the_middle_of_the_widest_interval():
    # Class 1 is missing. Its rows need more than 2 and more than 3; the row of class 0 bears up to 7.
    log_probs = np.array([[0.0, -2.0], [0.0, -3.0], [0.0, -7.0]])
    found = best_bias(log_probs, np.array([1, 1, 0]), [1])
    assert (found.bias, found.errors) == (5.0, 0)


def test_an_interval_that_only_rounding_made_is_passed_over():
    # Both rows change at 2.6, as written; a number between 2.5999999999999996 and 2.6 is no choice.
    log_probs = np.array([[0.0, -(1.9 + 0.7)], [0.0, -2.5999999999999996]])
    found = best_bias(log_probs, np.array([0, 1]), [1])
    assert found.errors == 1
    assert abs(found.bias - 2.6) > 0.4


def test_it_may_be_negative_where_the_missing_class_is_chosen_too_often():
    found = best_bias(np.array([[0.0, 2.0], [0.0, 3.0]]), np.array([0, 0]), [1])
    assert found.bias < -3
    assert found.errors == 0


@pytest.mark.parametrize("missing", [[], [0, 1]])
def test_some_classes_must_be_missing_but_not_all(missing):
    with pytest.raises(UsageError, match="expected some, but not all"):
        best_bias(np.zeros((2, 2)), np.array([0, 1]), missing)


def test_raising_a_bias_adds_to_the_logits_of_its_classes_alone(digits):
    model = build_model({"kind": "mlp", "widths": [8]}, (8, 8), 10, digits.inputs).eval()
    inputs = torch.from_numpy(digits.inputs[:5])
    before = model(inputs).logits.detach().clone()
    raise_bias(model, [3, 7], 2.5)
    added = torch.zeros(10)
    added[[3, 7]] = 2.5
    torch.testing.assert_close(model(inputs).logits.detach(), before + added)


def test_a_model_without_such_a_layer_is_refused():
    with pytest.raises(LimbeckError, match="has no last layer with a bias for each class"):
        raise_bias(torch.nn.Linear(3, 3, bias=False), [0], 1.0)
