"""Several teachers put together: against scipy in float64, and never tempered after they were averaged."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from limbeck.errors import UsageError
from limbeck.knowledge import combination, combined

A = log_softmax(np.array([[3.0, 1.0, -2.0], [0.0, 0.5, 4.0]]), axis=-1)
B = log_softmax(np.array([[-1.0, 2.0, 0.0], [2.0, 2.0, -3.0]]), axis=-1)
C = log_softmax(np.array([[0.0, 0.0, 5.0], [1.0, 0.0, 1.0]]), axis=-1)
MEMBERS = [one.astype(np.float32) for one in (A, B, C)]


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_what_a_student_reads_is_the_mean_of_the_softened_distributions(temperature):
    found = combined(MEMBERS, temperature)
    expected = np.mean([softmax(one / temperature, axis=-1) for one in (A, B, C)], axis=0)
    np.testing.assert_allclose(softmax(found.astype(np.float64) / temperature, axis=-1), expected, atol=1e-6)
    np.testing.assert_allclose(found, temperature * np.log(expected), atol=2e-5)


def test_two_members_worked_by_hand():
    members = [np.log(np.array([[0.9, 0.1]], np.float32)), np.log(np.array([[0.5, 0.5]], np.float32))]
    np.testing.assert_allclose(np.exp(combined(members, 1.0)), [[0.7, 0.3]], atol=1e-6)
    # At T = 2: sqrt(0.9) and sqrt(0.1) are 3 to 1, and the mean of (0.75, 0.25) and (0.5, 0.5) is 5 to 3.
    np.testing.assert_allclose(combined(members, 2.0), 2 * np.log([[0.625, 0.375]]), atol=1e-6)


@pytest.mark.parametrize("temperature", [2.0, 4.0])
def test_it_is_not_the_mean_at_1_softened_afterwards(temperature):
    at_once = softmax(combined(MEMBERS, temperature).astype(np.float64) / temperature, axis=-1)
    afterwards = softmax(combined(MEMBERS, 1.0).astype(np.float64) / temperature, axis=-1)
    assert np.abs(at_once - afterwards).max() > 0.01


def test_without_a_temperature_it_is_the_geometric_mean():
    found = combined(MEMBERS, None)
    np.testing.assert_allclose(found, (A + B + C) / 3, atol=1e-6)
    product = np.exp(A + B + C) ** (1 / 3)
    np.testing.assert_allclose(
        softmax(found.astype(np.float64), axis=-1), product / product.sum(axis=-1, keepdims=True), atol=1e-6
    )


@pytest.mark.parametrize("temperature", [1.0, 4.0, None])
def test_a_constant_added_to_a_row_of_a_member_changes_nothing_that_is_learnt(temperature):
    moved = [MEMBERS[0] + np.float32(3), MEMBERS[1], MEMBERS[2] - np.float32(7)]
    one, other = (combined(members, temperature).astype(np.float64) for members in (MEMBERS, moved))
    scale = temperature or 1.0
    np.testing.assert_allclose(softmax(one / scale, axis=-1), softmax(other / scale, axis=-1), atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_mean_of_a_member_with_itself_is_that_member(temperature):
    found = combined([MEMBERS[0], MEMBERS[0]], temperature).astype(np.float64) / temperature
    np.testing.assert_allclose(softmax(found, axis=-1), softmax(A / temperature, axis=-1), atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0, None])
def test_half_precision_is_widened_before_it_is_divided(temperature):
    halves = [one.astype(np.float16) for one in MEMBERS]
    found = combined(halves, temperature)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, combined([half.astype(np.float32) for half in halves], temperature))


def test_shapes_are_kept_and_chunks_make_no_difference(monkeypatch):
    random = np.random.default_rng(0)
    members = [random.normal(size=(3, 7, 5)).astype(np.float16) for _ in range(2)]
    whole = combined(members, 4.0)
    assert whole.shape == (3, 7, 5)
    monkeypatch.setattr(combination, "_CHUNK_VALUES", 10)
    np.testing.assert_array_equal(combined(members, 4.0), whole)


def test_a_class_that_one_member_rules_out_is_not_ruled_out():
    members = [np.array([[0.0, -60000.0]], np.float16), np.log(np.array([[0.5, 0.5]], np.float32))]
    found = combined(members, 1.0)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.exp(found), [[0.75, 0.25]], atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 5, 20])
@pytest.mark.parametrize("temperature", [1.0, 4.0, None])
def test_equal_weights_give_what_the_plain_formula_gives(count, temperature):
    random = np.random.default_rng(0)
    members = [(4 * random.normal(size=(700, 7))).astype(np.float16) for _ in range(count)]
    several = torch.stack([torch.from_numpy(member).float() for member in members])
    if temperature is None:
        plain = several.log_softmax(dim=-1).mean(dim=0)
    else:
        plain = temperature * ((several / temperature).log_softmax(dim=-1).logsumexp(dim=0) - math.log(count))
    np.testing.assert_array_max_ulp(combined(members, temperature), plain.numpy(), maxulp=4)


# ---------------------------------------------------------------- weights


WEIGHTS = (0.5, 0.3, 0.2)


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_weighted_what_a_student_reads_is_the_weighted_mean_of_the_softened_distributions(temperature):
    found = combined(MEMBERS, temperature, weights=WEIGHTS)
    expected = sum(w * softmax(one / temperature, axis=-1) for w, one in zip(WEIGHTS, (A, B, C), strict=True))
    np.testing.assert_allclose(found, temperature * np.log(expected), atol=2e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_a_mean_of_logits_is_normalised_and_no_temperature_changes_it(temperature):
    found = combined(MEMBERS, temperature, weights=WEIGHTS, mean="logits")
    expected = log_softmax(0.5 * A + 0.3 * B + 0.2 * C, axis=-1)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_array_equal(found, combined(MEMBERS, 2.5, weights=WEIGHTS, mean="logits"))


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
def test_without_a_temperature_either_mean_is_the_weighted_mean_of_log_probabilities(mean):
    np.testing.assert_allclose(
        combined(MEMBERS, None, weights=WEIGHTS, mean=mean), 0.5 * A + 0.3 * B + 0.2 * C, atol=2e-6
    )


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
@pytest.mark.parametrize("temperature", [1.0, 4.0, None])
def test_equal_weights_are_no_weights_to_the_bit(temperature, mean):
    given = combined(MEMBERS, temperature, weights=[2, 2, 2], mean=mean)
    np.testing.assert_array_equal(given, combined(MEMBERS, temperature, mean=mean))


@pytest.mark.parametrize("scale", [1e-3, 7, 1e300])
def test_weights_are_shares_so_their_sum_tempers_nothing(scale):
    scaled = [scale * weight for weight in WEIGHTS]
    for mean in ("probabilities", "logits"):
        found = combined(MEMBERS, 4.0, weights=scaled, mean=mean)
        np.testing.assert_allclose(found, combined(MEMBERS, 4.0, weights=WEIGHTS, mean=mean), atol=1e-6)


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
@pytest.mark.parametrize("temperature", [1.0, 4.0, None])
def test_a_member_of_weight_0_rules_nothing_out(temperature, mean):
    sure = np.array([[0, -np.inf, -np.inf]] * 2, np.float32)
    found = combined([MEMBERS[0], sure, MEMBERS[2]], temperature, weights=[3, 0, 1], mean=mean)
    np.testing.assert_array_equal(found, combined([MEMBERS[0], MEMBERS[2]], temperature, weights=[3, 1], mean=mean))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
def test_weighted_chunks_make_no_difference(monkeypatch, mean):
    random = np.random.default_rng(0)
    members = [random.normal(size=(3, 7, 5)).astype(np.float16) for _ in range(3)]
    whole = combined(members, 4.0, weights=WEIGHTS, mean=mean)
    monkeypatch.setattr(combination, "_CHUNK_VALUES", 10)
    np.testing.assert_allclose(combined(members, 4.0, weights=WEIGHTS, mean=mean), whole, atol=1e-6)


def test_what_the_members_know_is_left_as_it_was():
    before = [one.copy() for one in MEMBERS]
    for temperature in (1.0, 4.0, None):
        for mean in ("probabilities", "logits"):
            combined(MEMBERS, temperature, weights=WEIGHTS, mean=mean)
    np.testing.assert_array_equal(MEMBERS, before)


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match=r"^weights: found 2 for 3 members: give one for each member$"):
        combined(MEMBERS, 4.0, weights=[1, 2])


def test_a_mean_that_there_is_not_is_refused():
    with pytest.raises(UsageError, match=r'^mean = "median": expected "probabilities" or "logits"$'):
        combined(MEMBERS, 4.0, mean="median")
