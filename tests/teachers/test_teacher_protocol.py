import math

import numpy as np
import pytest
import scipy.special

from limbeck.errors import LimbeckError, UsageError
from limbeck.teachers import FLOOR, FunctionTeacher, log_probabilities

INPUTS = np.arange(20, dtype=np.float32).reshape(10, 2)


def answers(values, outputs="logits", batch_size=4):
    """A teacher that has its answers in a table, by the row's first input."""
    table = np.asarray(values)
    return FunctionTeacher(
        lambda inputs: table[(inputs[:, 0] // 2).astype(int)], outputs=outputs, batch_size=batch_size
    )


def test_logits_become_log_probabilities_at_temperature_one():
    logits = np.random.default_rng(0).normal(0, 5, (10, 3))
    expected = scipy.special.log_softmax(logits, axis=1)
    np.testing.assert_allclose(log_probabilities(answers(logits), INPUTS), expected, atol=1e-5)


def test_a_constant_added_to_a_row_s_logits_makes_no_difference():
    logits = np.random.default_rng(0).normal(0, 5, (10, 3)).astype(np.float32)
    moved = log_probabilities(answers(logits + 100), INPUTS)
    np.testing.assert_allclose(moved, log_probabilities(answers(logits), INPUTS), atol=1e-4)


def test_probabilities_of_zero_are_lifted_to_the_floor():
    table = np.tile([[1.0, 0.0, 0.0]], (10, 1))
    found = log_probabilities(answers(table, "probabilities"), INPUTS)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:, 1:], math.log(FLOOR), rtol=1e-4)
    np.testing.assert_allclose(np.exp(found.astype(np.float64)).sum(axis=1), 1, atol=1e-6)


def test_probabilities_above_the_floor_stay_as_they_are():
    table = np.random.default_rng(0).dirichlet([1, 1, 1], 10)
    found = log_probabilities(answers(table, "probabilities"), INPUTS)
    np.testing.assert_allclose(np.exp(found), table, atol=1e-5)


def test_a_teacher_is_asked_in_batches_of_its_own_size():
    asked = []

    def function(inputs):
        asked.append(len(inputs))
        return np.zeros((len(inputs), 2))

    log_probabilities(FunctionTeacher(function, batch_size=4), INPUTS)
    assert asked == [4, 4, 2]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite_is_refused_with_its_row(value):
    table = np.zeros((10, 3))
    table[7, 1] = value
    with pytest.raises(LimbeckError, match="the teacher's output for row 7 is not finite"):
        log_probabilities(answers(table), INPUTS)
    with pytest.raises(LimbeckError, match="output for row 507"):
        log_probabilities(answers(table), INPUTS, 500)


@pytest.mark.parametrize("row", [[0.5, 0.4, 0.0], [2.0, -1.0, 0.0]])
def test_what_is_called_probabilities_and_is_none_is_refused_with_its_row(row):
    table = np.tile([[0.2, 0.3, 0.5]], (10, 1))
    table[6] = row
    with pytest.raises(LimbeckError, match=r'output for row 6 is no distribution \(.*outputs="logits"'):
        log_probabilities(answers(table, "probabilities"), INPUTS)


@pytest.mark.parametrize("shape", [(), (3,), (4,), (4, 3, 2), (3, 3)])
def test_an_answer_that_is_no_row_for_each_input_is_refused_with_its_shape(shape):
    with pytest.raises(LimbeckError, match=r"answered 4 inputs with an array of shape .*expected \(4, classes\)"):
        log_probabilities(FunctionTeacher(lambda _: np.zeros(shape), batch_size=4), INPUTS)


def test_a_message_about_many_classes_stays_short():
    with pytest.raises(LimbeckError) as refused:
        log_probabilities(answers(np.full((10, 3000), np.nan)), INPUTS)
    assert len(str(refused.value)) < 300


def test_no_inputs_are_refused():
    with pytest.raises(UsageError, match="no inputs"):
        log_probabilities(answers(np.zeros((10, 3))), INPUTS[:0])
