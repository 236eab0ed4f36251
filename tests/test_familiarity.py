from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import entropy, mannwhitneyu
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from limbeck.ensembles import member_disagreement
from limbeck.errors import LimbeckError
from limbeck.familiarity import chance_higher, familiarity, part_facts, part_words, percent, row_facts

Answers = tuple[LogisticRegression, np.ndarray, np.ndarray]


def logs(*rows: list[float]) -> np.ndarray:
    return np.log(np.array(rows))


@pytest.fixture(scope="module")
def digits() -> Answers:
    """A linear model of 600 rows, and the rows and labels that it has not seen."""
    inputs, labels = load_digits(return_X_y=True)
    model = LogisticRegression(max_iter=200).fit(inputs[:600] / 16, labels[:600])
    return model, inputs[600:] / 16, labels[600:].astype(np.int64)


def test_row_facts_are_those_worked_out_by_hand() -> None:
    rows = logs([0.4, 0.3, 0.3], [0.1, 0.8, 0.1], [0.005, 0.99, 0.005], [0.05, 0.04, 0.91])
    facts = row_facts(rows, np.array([0, 2, -1, 2]))
    assert facts["confidence"] == pytest.approx((0.4 + 0.8 + 0.99 + 0.91) / 4)
    assert facts["entropy"] == pytest.approx(entropy(np.exp(rows), axis=1).mean())
    assert (facts["below_half"], facts["below_nine_tenths"], facts["at_least_99"]) == (0.25, 0.5, 0.25)
    assert facts["class_shares"] == [0.25, 0.5, 0.25]
    assert (facts["labelled"], facts["agreement"]) == (3, pytest.approx(2 / 3))
    assert sum(facts["histogram"]) == 4
    assert facts["histogram"][9] == 2


def test_bins_of_confidence_are_closed_on_the_right() -> None:
    facts = row_facts(logs([0.5, 0.5], [0.5001, 0.4999]), np.array([-1, -1]))
    assert facts["histogram"] == [0, 0, 0, 0, 1, 1, 0, 0, 0, 0]
    assert facts["agreement"] is None


def test_chance_higher_is_mann_and_whitneys_u_over_all_pairs() -> None:
    generator = np.random.default_rng(0)
    ones, others = generator.integers(0, 9, 40), generator.integers(2, 12, 55)
    expected = mannwhitneyu(ones, others).statistic / (40 * 55)
    assert chance_higher(ones, others) == pytest.approx(expected)
    assert chance_higher(ones, ones) == 0.5


def test_rows_drawn_alike_are_much_like_the_validation_rows(digits: Answers) -> None:
    model, inputs, labels = digits
    known = model.predict_log_proba(inputs)
    part, rest = np.split(np.random.default_rng(0).permutation(len(known)), [600])
    facts = part_facts(known[part], labels[part], validation=known[rest], validation_labels=labels[rest])
    assert abs(facts["difference"]["confidence_auc"] - 0.5) < 0.05
    assert familiarity(facts) == "alike"
    assert part_words("unlabelled", facts).endswith("much like the validation rows")
    assert facts["validation"]["agreement"] == pytest.approx(np.mean(known[rest].argmax(axis=1) == labels[rest]))


def test_scrambled_rows_are_far_from_what_the_teacher_knows(digits: Answers) -> None:
    model, inputs, _ = digits
    scrambled = np.random.default_rng(0).permuted(inputs[::2], axis=1)
    facts = part_facts(
        model.predict_log_proba(scrambled), np.full(len(scrambled), -1), validation=model.predict_log_proba(inputs)
    )
    assert familiarity(facts) == "far"
    assert facts["difference"]["confidence"] < -0.2
    assert "far from what it knows" in part_words("file:scrambled.npz", facts)


def test_rows_that_it_was_trained_on_are_said_to_be_surer(digits: Answers) -> None:
    model, inputs, _ = digits
    validation = model.predict_log_proba(inputs)
    sure = np.log(np.maximum(np.eye(10)[validation.argmax(axis=1)], 1e-6))
    facts = part_facts(sure, np.full(len(sure), -1), validation=validation)
    assert familiarity(facts) == "surer"
    assert "surer than of validation rows" in part_words("labelled", facts)


def test_sets_that_are_told_apart_by_thousandths_are_not_far() -> None:
    sure, surer = np.tile(logs([0.999, 0.001]), (100, 1)), np.tile(logs([0.9999, 0.0001]), (100, 1))
    facts = part_facts(sure, np.full(100, -1), validation=surer)
    assert facts["difference"]["confidence_auc"] == 1
    assert familiarity(facts) == "alike"


def test_classes_in_other_proportions_are_said(digits: Answers) -> None:
    model, inputs, labels = digits
    known = model.predict_log_proba(inputs)
    even = labels % 2 == 0
    facts = part_facts(known[even], labels[even], validation=known)
    assert facts["difference"]["class_shares"] == pytest.approx(0.5, abs=0.05)
    assert "classes come in other proportions" in part_words("even", facts)


def test_few_rows_of_many_classes_are_not_called_of_other_proportions() -> None:
    generator = np.random.default_rng(0)
    rows = log_softmax(generator.normal(size=(400, 100)) * 4, axis=1)
    facts = part_facts(rows[:200], np.full(200, -1), validation=rows[200:])
    assert facts["difference"]["class_shares"] > 0.2
    assert facts["difference"]["class_shares"] == pytest.approx(facts["difference"]["class_shares_by_chance"], rel=0.2)
    assert "proportions" not in part_words("unlabelled", facts)


def test_members_differ_more_about_rows_far_from_what_they_know() -> None:
    validation = [logs([0.9, 0.1], [0.1, 0.9]), logs([0.9, 0.1], [0.2, 0.8])]
    part = [logs([0.9, 0.1], [0.9, 0.1]), logs([0.1, 0.9], [0.1, 0.9])]
    facts = part_facts(
        np.log(np.exp(part).mean(axis=0)),
        np.array([-1, -1]),
        validation=np.log(np.exp(validation).mean(axis=0)),
        members=part,
        validation_members=validation,
    )
    assert facts["disagreement"] == pytest.approx(member_disagreement(part).mean())
    assert facts["validation"]["disagreement"] == pytest.approx(member_disagreement(validation).mean())
    assert facts["difference"]["disagreement"] == facts["disagreement"] - facts["validation"]["disagreement"]
    assert facts["difference"]["disagreement_auc"] == 1


def test_without_validation_rows_only_the_part_is_described() -> None:
    facts = part_facts(logs([0.6, 0.4]), np.array([0]), kept=1)
    assert facts["validation"] is None
    assert facts["difference"] is None
    assert familiarity(facts) is None
    assert part_words("train", facts) == "train: 1 row (1 kept), the teacher is 60% sure on the average"


def test_the_sentence_says_rows_and_how_sure_the_teacher_is_of_both() -> None:
    unsure, sure = np.tile(logs([0.61, 0.39]), (5000, 1)), np.tile(logs([0.97, 0.03]), (600, 1))
    facts = part_facts(unsure, np.full(5000, -1), validation=sure)
    assert part_words("file:letters.npz", facts) == (
        "file:letters.npz: 5,000 rows, the teacher is 61% sure on the average, of validation rows 97%: "
        "far from what it knows"
    )


@pytest.mark.parametrize(
    ("share", "shown"), [(0.614, "61%"), (1.0, "100%"), (0.9991, "99.9%"), (0.99996, "over 99.99%"), (0.0, "0%")]
)
def test_a_share_short_of_all_is_not_shown_as_all(share: float, shown: str) -> None:
    assert percent(share) == shown


def test_facts_are_plain_json(digits: Answers) -> None:
    model, inputs, labels = digits
    known = model.predict_log_proba(inputs).astype(np.float16)
    facts = part_facts(known, labels, validation=known, members=[known, known], validation_members=[known, known])
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_an_empty_part_and_other_classes_are_refused() -> None:
    with pytest.raises(LimbeckError, match="not empty"):
        part_facts(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
    with pytest.raises(LimbeckError, match="must have 2 classes"):
        part_facts(logs([0.6, 0.4]), np.array([0]), validation=np.zeros((4, 3)))
