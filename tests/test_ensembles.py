from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from limbeck.ensembles import (
    ensemble_facts,
    error_correlation,
    member_disagreement,
    member_votes,
    pairwise_disagreement,
)
from limbeck.errors import LimbeckError, UsageError


def logs(*rows: list[float]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(rows))


def drawn(count: int, rows: int, classes: int, seed: int = 0) -> list[np.ndarray]:
    scores = np.random.default_rng(seed).normal(size=(count, rows, classes)) * 3
    return list(log_softmax(scores, axis=2))


def test_ensembles_need_no_torch() -> None:
    code = "import sys, limbeck.ensembles, limbeck.familiarity; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_disagreement_of_two_members_is_scipys_jensen_shannon_divergence() -> None:
    one, other = drawn(2, rows=50, classes=7)
    expected = jensenshannon(np.exp(one), np.exp(other), axis=1) ** 2
    assert member_disagreement([one, other]) == pytest.approx(expected, abs=1e-12)


def test_disagreement_is_the_entropy_of_the_mean_less_the_mean_entropy() -> None:
    members = drawn(5, rows=20, classes=4)
    probabilities = np.exp(np.stack(members))
    expected = entropy(probabilities.mean(axis=0), axis=1) - entropy(probabilities, axis=2).mean(axis=0)
    assert member_disagreement(members) == pytest.approx(expected, abs=1e-12)


def test_members_sure_of_different_classes_differ_by_the_logarithm_of_their_number() -> None:
    members = [logs([1.0, 0.0, 0.0]), logs([0.0, 1.0, 0.0]), logs([0.0, 0.0, 1.0])]
    assert member_disagreement(members) == pytest.approx([np.log(3)])


def test_weights_count_members_and_need_not_sum_to_one() -> None:
    one, other = drawn(2, rows=10, classes=3)
    assert member_disagreement([one, other], [4, 2]) == pytest.approx(member_disagreement([one, one, other]))
    assert member_disagreement([one, other], [3, 0]) == pytest.approx(np.zeros(10))


def test_of_a_mean_of_logits_disagreement_is_the_divergence_of_that_mean_from_the_members() -> None:
    members, weights = drawn(3, rows=8, classes=5), np.array([0.5, 0.3, 0.2])
    middle = softmax(np.tensordot(weights, np.stack(members), axes=1), axis=1)
    expected = sum(
        weight * entropy(middle, np.exp(member), axis=1) for weight, member in zip(weights, members, strict=True)
    )
    assert member_disagreement(members, weights, mean="logits") == pytest.approx(expected, abs=1e-12)


def test_members_that_share_no_class_have_no_mean_of_logits() -> None:
    members = [logs([1.0, 0.0]), logs([0.0, 1.0])]
    assert member_disagreement(members, mean="logits").tolist() == [np.inf]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(2, 6), st.integers(0, 1000), st.sampled_from(["probabilities", "logits"]))
def test_disagreement_is_not_negative_and_equal_members_have_none(
    count: int, classes: int, seed: int, mean: str
) -> None:
    members = drawn(count, rows=6, classes=classes, seed=seed)
    assert (member_disagreement(members, mean=mean) >= 0).all()
    assert member_disagreement([members[0]] * 4, mean=mean) == pytest.approx(np.zeros(6), abs=1e-12)


def test_disagreement_does_not_depend_on_the_blocks_it_is_found_in(monkeypatch: pytest.MonkeyPatch) -> None:
    members = drawn(3, rows=25, classes=4)
    whole = member_disagreement(members)
    monkeypatch.setattr("limbeck.ensembles._BLOCK_VALUES", 16)
    assert np.array_equal(member_disagreement(members), whole)


def test_pairs_that_choose_different_classes_are_counted() -> None:
    # Row 0: all say 0. Row 1: 0, 0, 1: two of three pairs differ. Row 2: 0, 1, 2: all three do.
    members = [
        logs([0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.8, 0.1, 0.1]),
        logs([0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]),
        logs([0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]),
    ]
    assert pairwise_disagreement(members) == pytest.approx((0 + 2 / 3 + 1) / 3)
    assert member_votes(members).tolist() == [[3, 0, 0], [2, 1, 0], [1, 1, 1]]
    assert pairwise_disagreement(members[:1]) == 0


def test_pairwise_disagreement_is_the_mean_over_pairs() -> None:
    members = drawn(4, rows=60, classes=3)
    chosen = [member.argmax(axis=1) for member in members]
    pairs = [np.mean(chosen[one] != chosen[other]) for one in range(4) for other in range(one)]
    assert pairwise_disagreement(members) == pytest.approx(np.mean(pairs))


def test_an_ensembles_facts_are_those_worked_out_by_hand() -> None:
    labels = np.array([0, 0, 1, 1])
    members = [
        logs([0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.9, 0.1]),  # right, wrong, right, wrong
        logs([0.9, 0.1], [0.8, 0.2], [0.9, 0.1], [0.9, 0.1]),  # right, right, wrong, wrong
        logs([0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.6, 0.4]),  # right, right, right, wrong
    ]
    facts = ensemble_facts(members, np.log(np.exp(members).mean(axis=0)), labels)
    assert facts["members_errors"] == [2, 2, 1]
    assert (facts["lowest"], facts["highest"], facts["mean_errors"]) == (1, 2, pytest.approx(5 / 3))
    assert facts["spread"] == pytest.approx(3**-0.5)
    assert (facts["test_rows"], facts["errors"], facts["all_wrong"], facts["same_wrong"]) == (4, 1, 1, 1)
    assert facts["pairwise_disagreement"] == pytest.approx(4 / 12)
    # Wrong in {1, 3}, {2, 3} and {3}: correlations 0, 1/√3 and 1/√3.
    assert facts["error_correlation"] == pytest.approx(2 / 3 / 3**0.5)
    assert facts["divergence"] == pytest.approx(member_disagreement(members).mean())


def test_facts_are_plain_json() -> None:
    members = [member.astype(np.float32) for member in drawn(3, rows=30, classes=4)]
    facts = ensemble_facts(members, members[0], np.arange(30) % 4)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_a_single_member_has_no_spread_and_nobody_to_differ_from() -> None:
    (member,) = drawn(1, rows=30, classes=4)
    facts = ensemble_facts([member], member, np.arange(30) % 4)
    assert facts["spread"] is None
    assert facts["error_correlation"] is None
    assert (facts["pairwise_disagreement"], facts["divergence"]) == (0, 0)


def test_members_without_errors_have_no_correlation() -> None:
    perfect = logs([0.9, 0.1], [0.2, 0.8])
    assert error_correlation([perfect, perfect], np.array([0, 1])) is None


def test_members_of_other_shapes_are_named() -> None:
    with pytest.raises(LimbeckError, match=r"number 2 have shape \(4, 3\), those of number 1 \(4, 2\)"):
        member_disagreement([np.zeros((4, 2)), np.zeros((4, 3))])
    with pytest.raises(LimbeckError, match="at least one member"):
        pairwise_disagreement([])


@pytest.mark.parametrize("weights", [[1.0], [0.5, -0.5], [0.0, 0.0], [np.nan, 1.0]])
def test_weights_that_do_not_fit_are_refused(weights: list[float]) -> None:
    with pytest.raises(UsageError, match="weights"):
        member_disagreement(drawn(2, rows=3, classes=2), weights)


def test_an_unknown_mean_is_refused() -> None:
    with pytest.raises(UsageError, match='mean = "median": expected "probabilities" or "logits"'):
        member_disagreement(drawn(2, rows=3, classes=2), mean="median")


def test_weights_stand_beside_what_equal_ones_would_make() -> None:
    labels = np.array([0, 1])
    members = [logs([0.9, 0.1], [0.8, 0.2]), logs([0.9, 0.1], [0.3, 0.7])]  # equal weights: 0.55 for the wrong class
    weighted = np.log(np.tensordot([0.2, 0.8], np.exp(members), axes=1))
    facts = ensemble_facts(members, weighted, labels, [0.2, 0.8])
    assert (facts["errors"], facts["errors_equal_weights"]) == (0, 1)
    assert ensemble_facts(members, weighted, labels)["errors_equal_weights"] is None
