import sys

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import RandomForestClassifier

from limbeck import evaluate
from limbeck.at_once.estimators import DEFAULTS, checked_settings, fit_estimator
from limbeck.data import Part
from limbeck.data.form import Column, TableForm
from limbeck.errors import LimbeckError, UsageError
from limbeck.models.estimator import OWN_KINDS

KINDS = sorted(DEFAULTS)
SMALL = {
    "random-forest": {"trees": 40},
    "gradient-boosting": {"iterations": 8, "min_samples_leaf": 5},
    "lightgbm": {"iterations": 8, "min_samples_leaf": 5},
}


@pytest.fixture(scope="module")
def wine():
    inputs, labels = load_wine(return_X_y=True)
    return Part("wine", inputs.astype(np.float32), labels.astype(np.int64), np.arange(178), ("a", "b", "c"))


@pytest.fixture(scope="module")
def cancer():
    inputs, labels = load_breast_cancer(return_X_y=True)
    return Part("cancer", inputs.astype(np.float32), labels.astype(np.int64), np.arange(569), ("malignant", "benign"))


def table(rows=300, categories=("red", "green", "blue", "grey"), seed=0):
    """The class is a matter of the colour, which has no order, and of a size that is missing now and then."""
    generator = np.random.default_rng(seed)
    colour, size = generator.integers(0, len(categories), rows), generator.normal(size=rows)
    labels = ((colour % 2 == 0) ^ (size > 0.5)).astype(np.int64)
    inputs = np.stack([colour, size], axis=1).astype(np.float32)
    inputs[generator.random(rows) < 0.05, 1] = np.nan
    form = TableForm((Column("colour", categories), Column("size", missing=True)))
    return Part("table", inputs, labels, np.arange(rows), ("no", "yes"), form)


def fit(kind, part, seed=0, folds=None, **settings):
    return fit_estimator(kind, {**SMALL[kind], **settings}, part, seed, folds)


def share(log_probs, part):
    return (log_probs.argmax(axis=1) == part.labels).mean()


def test_the_kinds_are_those_that_an_estimator_knows():
    assert set(DEFAULTS) == set(OWN_KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_to_tell_classes_apart(kind, wine):
    train, test = wine.take(np.arange(0, 178, 2)), wine.take(np.arange(1, 178, 2))
    row = evaluate(fit(kind, train).model, test)
    assert row["accuracy"] > 0.9
    assert row["parameters"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_two_classes_and_images_will_do(kind, cancer, digits):
    assert share(fit(kind, cancer).model.log_probs(cancer.inputs), cancer) > 0.95
    some = digits.take(np.arange(100))
    assert share(fit(kind, some).model.log_probs(some.inputs), some) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_categories_and_gaps_are_taken_as_they_are(kind):
    part = table()
    assert share(fit(kind, part).model.log_probs(part.inputs), part) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_a_category_that_is_not_known_counts_as_missing(kind):
    part = table()
    model = fit(kind, part).model
    unknown, missing = part.inputs[:20].copy(), part.inputs[:20].copy()
    unknown[:, 0], missing[:, 0] = -1, np.nan
    found = model.log_probs(unknown)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, model.log_probs(missing))


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_categories_and_gaps_in_training_rows_break_nothing(kind):
    part = table()
    inputs = part.inputs.copy()
    inputs[::9, 0], inputs[1::9, 0] = -1, np.nan
    part = Part("table", inputs, part.labels, part.ids, part.classes, part.form)
    assert share(fit(kind, part).model.log_probs(part.inputs), part) > 0.8


@pytest.mark.parametrize("kind", ["gradient-boosting", "lightgbm"])
def test_categories_are_told_to_gradient_boosting(kind):
    """With one question a tree, a set of categories parts the even ones from the odd ones, and a threshold does not."""
    part = table(1200, tuple(f"c{number}" for number in range(6)))
    numbers = Part("numbers", np.nan_to_num(part.inputs), part.labels, part.ids, part.classes)
    settings = {"leaves": 2, "iterations": 3, "min_samples_leaf": 5}
    told, untold = (share(fit(kind, one, **settings).model.log_probs(one.inputs), one) for one in (part, numbers))
    assert told > untold + 0.05


def test_a_column_of_too_many_categories_is_named():
    part = table(600, tuple(f"c{number}" for number in range(300)))
    with pytest.raises(LimbeckError) as refused:
        fit("gradient-boosting", part)
    assert str(refused.value) == (
        'column "colour" has 300 categories, but gradient boosting takes 255 at most: use kind = "lightgbm" or '
        '"random-forest", or leave the column out'
    )
    fit("lightgbm", part)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_and_not_the_threads_decide(kind):
    part = table(800)
    one, two, other = (
        fit_estimator(kind, SMALL[kind], part, seed, threads=threads).model.log_probs(part.inputs)
        for seed, threads in ((0, 1), (0, 2), (1, 2))
    )
    np.testing.assert_array_equal(one, two)
    if kind == "random-forest":  # boosting on few rows and all features draws no numbers
        assert not np.array_equal(one, other)


def test_a_forest_s_own_rows_are_answered_by_the_trees_that_left_them_out(cancer):
    fitted = fit("random-forest", cancer)
    known, answers = fitted.own.answers_for(cancer)
    assert known.all()
    expected = RandomForestClassifier(40, random_state=0, oob_score=True).fit(cancer.inputs, cancer.labels)
    np.testing.assert_allclose(np.exp(answers), np.maximum(expected.oob_decision_function_, 1e-7), atol=1e-6)
    assert share(fitted.model.log_probs(cancer.inputs), cancer) == 1
    assert 0.9 < share(answers, cancer) < 0.99
    assert fitted.model.own_rows is fitted.own
    assert not hasattr(fitted.model.members[0], "oob_decision_function_")


def test_too_few_trees_to_leave_every_row_out_are_refused(cancer):
    with pytest.raises(
        LimbeckError,
        match=r'^\d+ of the 569 rows of part "cancer" were left out by none of the 3 trees, so that none can say anything about them: grow more trees, or set folds = 3$',
    ):
        fit("random-forest", cancer, trees=3)


def test_boosting_has_no_rows_of_its_own_without_folds(cancer):
    assert fit("gradient-boosting", cancer).own is None


@pytest.mark.parametrize("kind", KINDS)
def test_folds_are_fitted_apart_and_each_row_is_answered_by_what_has_not_seen_it(kind, cancer):
    fitted = fit(kind, cancer, folds=3, **({"iterations": 30} if kind != "random-forest" else {}))
    assert len(fitted.model.members) == 3
    known, answers = fitted.own.answers_for(cancer)
    assert known.all()
    seen = fitted.model.log_probs(cancer.inputs)
    assert share(answers, cancer) < share(seen, cancer)
    assert share(answers, cancer) > 0.92


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_a_label_are_left_out(kind, wine):
    labels = np.where(np.arange(178) % 2 == 0, wine.labels, -1)
    part = Part("half", wine.inputs, labels, wine.ids, wine.classes)
    whole, half = fit(kind, part), fit(kind, wine.take(np.arange(0, 178, 2)))
    np.testing.assert_array_equal(whole.model.log_probs(wine.inputs), half.model.log_probs(wine.inputs))
    if whole.own is not None:
        np.testing.assert_array_equal(whole.own.answers_for(part)[0], labels >= 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_without_rows_gets_the_floor(kind, wine):
    model = fit(kind, wine.take(np.flatnonzero(wine.labels != 1))).model
    np.testing.assert_allclose(model.log_probs(wine.inputs)[:, 1], np.log(1e-7), rtol=1e-4)


def test_defaults_are_filled_in():
    assert checked_settings("lightgbm", {"leaves": 7}) == {**DEFAULTS["lightgbm"], "leaves": 7}
    checked_settings("random-forest", {"max_features": "all", "max_depth": 3})


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("forest", {}, 'no teacher of kind "forest", did you mean "random-forest"?: there are random-forest, gradient-boosting, lightgbm'),
        ("random-forest", {"tree": 3}, 'model of kind "random-forest": no setting "tree", did you mean "trees"?: there are trees, max_depth, min_samples_leaf, max_features'),
        ("random-forest", {"trees": 0}, 'model of kind "random-forest": trees = 0: expected a whole number, 1 or more'),
        ("random-forest", {"max_depth": 0}, 'model of kind "random-forest": max_depth = 0: expected a whole number, 1 or more, or none for no limit'),
        ("random-forest", {"max_features": "some"}, "model of kind \"random-forest\": max_features = 'some': expected \"sqrt\", \"log2\" or \"all\""),
        ("lightgbm", {"leaves": 1}, 'model of kind "lightgbm": leaves = 1: expected a whole number, 2 or more'),
        ("gradient-boosting", {"l2": -1}, 'model of kind "gradient-boosting": l2 = -1: expected a number, 0 or more'),
        ("gradient-boosting", {"learning_rate": True}, 'model of kind "gradient-boosting": learning_rate = True: expected a number above 0'),
    ],
)  # fmt: skip
def test_wrong_settings_are_one_line(kind, settings, message, wine):
    with pytest.raises(UsageError) as refused:
        fit_estimator(kind, settings, wine, 0)
    assert str(refused.value) == message


def test_without_lightgbm_one_line_says_what_to_install(wine, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(
        LimbeckError, match=r'^a model of kind "lightgbm" needs lightgbm: pip install "limbeck\[data\]"$'
    ):
        fit("lightgbm", wine)
