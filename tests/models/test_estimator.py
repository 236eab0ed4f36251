import copy

import numpy as np
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from limbeck import evaluate
from limbeck.data import Part
from limbeck.data.form import Column, TableForm
from limbeck.errors import LimbeckError
from limbeck.models import Estimator
from limbeck.models.estimator_classes import align_classes
from limbeck.models.hard_labels import FLOOR
from limbeck.models.mean import MeanModel

WINES = ("barolo", "grignolino", "barbera")


@pytest.fixture(scope="module")
def wine():
    inputs, labels = load_wine(return_X_y=True)
    inputs = inputs.astype(np.float32)
    return Part("wine", inputs, labels.astype(np.int64), np.arange(len(labels)), WINES)


@pytest.fixture(scope="module")
def forest(wine):
    return RandomForestClassifier(15, random_state=0).fit(wine.inputs, wine.labels)


def probabilities(model, inputs):
    return np.exp(model(torch.from_numpy(inputs)).logits.numpy())


class OnlyTheInterface:
    """As XGBoost and CatBoost have it: no base class of scikit-learn's."""

    classes_ = np.array([0, 1, 2])

    def __init__(self, answer=(0.5, 0.3, 0.2)):
        self.answer = answer

    def predict_proba(self, rows):
        assert rows.dtype == np.float32
        assert rows.ndim == 2
        return np.tile(np.array(self.answer, dtype=np.float32), (len(rows), 1))


def test_a_forest_answers_as_scikit_learn_has_it(forest, wine):
    model = Estimator(forest, (13,), WINES)
    expected = np.maximum(forest.predict_proba(wine.inputs), FLOOR)
    np.testing.assert_allclose(
        probabilities(model, wine.inputs), expected / expected.sum(axis=1, keepdims=True), rtol=1e-5
    )


def test_a_forest_that_sees_missing_values_answers_as_scikit_learn_has_it(wine):
    inputs = wine.inputs.copy()
    inputs[::3, 2] = np.nan
    forest = RandomForestClassifier(10, random_state=0).fit(inputs, wine.labels)
    expected = np.maximum(forest.predict_proba(inputs), FLOOR)
    for kind in ("estimator", "random-forest"):
        found = probabilities(Estimator(forest, (13,), WINES, kind=kind), inputs)
        np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), rtol=1e-5)


def test_a_row_alone_has_the_answer_that_it_has_among_others(forest, wine):
    model = Estimator(forest, (13,), WINES)
    together = model.log_probs(wine.inputs)
    alone = np.concatenate([model.log_probs(wine.inputs[row : row + 1]) for row in range(20)])
    np.testing.assert_array_equal(alone, together[:20])


def test_a_probability_of_zero_is_lifted_to_the_floor(wine):
    found = Estimator(OnlyTheInterface((1.0, 0.0, 0.0)), (13,), WINES).log_probs(wine.inputs[:2])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 1:], np.log(FLOOR), rtol=1e-6)


def test_the_mean_of_members_is_that_of_their_probabilities(wine):
    members = [OnlyTheInterface((0.5, 0.3, 0.2)), OnlyTheInterface((0.1, 0.1, 0.8))]
    np.testing.assert_allclose(
        probabilities(Estimator(members, (13,), WINES), wine.inputs[:3]), [[0.3, 0.2, 0.5]] * 3, rtol=1e-6
    )


def test_images_are_flattened(digits):
    fitted = LogisticRegression(tol=10).fit(digits.inputs.reshape(len(digits), -1)[:300], digits.labels[:300])
    found = probabilities(Estimator(fitted, (8, 8), digits.classes), digits.inputs[:5])
    np.testing.assert_allclose(
        found, fitted.predict_proba(digits.inputs[:5].reshape(5, -1).astype(np.float32)), atol=1e-6
    )


@pytest.mark.parametrize("wrapped", ["pipeline", "stack", "search", "calibrated", "extra", "histograms", "lightgbm"])
def test_whatever_has_the_interface_answers_as_by_itself(wrapped, wine):
    classifier = {
        "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
        "stack": StackingClassifier(
            [("forest", RandomForestClassifier(5, random_state=0))], LogisticRegression(), cv=2
        ),
        "search": GridSearchCV(ExtraTreesClassifier(5, random_state=0), {"max_depth": [2, 3]}, cv=2),
        "calibrated": CalibratedClassifierCV(RandomForestClassifier(5, random_state=0), cv=2),
        "extra": ExtraTreesClassifier(5, random_state=0, n_jobs=2),
        "histograms": HistGradientBoostingClassifier(max_iter=5),
        "lightgbm": pytest.importorskip("lightgbm").LGBMClassifier(n_estimators=5, verbosity=-1, n_jobs=1),
    }[wrapped].fit(wine.inputs, wine.labels)
    model = Estimator(classifier, (13,), WINES)
    expected = np.maximum(classifier.predict_proba(wine.inputs), FLOOR)
    np.testing.assert_allclose(
        probabilities(model, wine.inputs), expected / expected.sum(axis=1, keepdims=True), rtol=1e-5
    )
    assert model.parameter_count > 0
    assert not model.hard


def test_two_classes_have_two_columns():
    inputs, labels = load_breast_cancer(return_X_y=True)
    fitted = HistGradientBoostingClassifier(max_iter=3).fit(inputs.astype(np.float32), labels)
    found = probabilities(Estimator(fitted, (30,), ("malignant", "benign")), inputs[:50].astype(np.float32))
    np.testing.assert_allclose(found, fitted.predict_proba(inputs[:50].astype(np.float32)), rtol=1e-5)


def test_columns_come_in_the_order_of_the_data_s_class_names(wine):
    fitted = LogisticRegression(tol=10).fit(wine.inputs, np.array(WINES)[wine.labels])
    assert list(fitted.classes_) == ["barbera", "barolo", "grignolino"]
    found = probabilities(Estimator(fitted, (13,), WINES), wine.inputs[:20])
    np.testing.assert_allclose(found, fitted.predict_proba(wine.inputs[:20])[:, [1, 2, 0]], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("classes", "names", "expected"),
    [
        (np.array([0, 1, 2]), ("a", "b", "c"), [0, 1, 2]),
        (np.array([0.0, 1.0]), ("no", "yes"), [0, 1]),
        (np.array(["c", "a", "b"]), ("a", "b", "c"), [2, 0, 1]),
        (np.array([3, 5, 10]), ("10", "3", "5"), [1, 2, 0]),
        (np.array([0, 1, 2]), ("2", "1", "0"), [2, 1, 0]),  # by name where names fit, whatever the position
        (np.array([False, True]), ("True", "False"), [1, 0]),
        (np.array([3.0, 5.0]), ("5", "3"), [1, 0]),
    ],
)
def test_classes_go_by_name_and_else_by_position(classes, names, expected):
    assert align_classes(classes, names).tolist() == expected


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        ([0, 1], ("a", "b", "c")),
        (["a", "d"], ("a", "b")),
        ([1, 2], ("a", "b")),
        ([False, True], ("a", "b")),
        ([0, 1, 2], ("a", "b")),
    ],
)
def test_classes_that_only_one_side_has_are_refused_with_both_lists(classes, names):
    with pytest.raises(LimbeckError) as refused:
        align_classes(np.array(classes), names)
    assert str(refused.value) == (
        f"the teacher's classes are {', '.join(map(str, classes))}, but the data's are {', '.join(names)}: they must be the "
        f"same, by name or as the numbers 0 to {len(names) - 1} in the data's order"
    )


def test_a_class_missing_in_a_member_has_the_floor_where_labels_are_numbers(wine):
    some = wine.labels != 1
    fitted = RandomForestClassifier(5, random_state=0).fit(wine.inputs[some], wine.labels[some])
    found = Estimator(fitted, (13,), WINES, kind="random-forest").log_probs(wine.inputs)
    np.testing.assert_allclose(found[:, 1], np.log(FLOOR), rtol=1e-4)
    assert (found.argmax(axis=1)[some] == wine.labels[some]).all()


def test_an_estimator_without_probabilities_gives_hard_labels_and_says_so(wine):
    fitted = LinearSVC(random_state=0, tol=1).fit(wine.inputs, np.array(WINES)[wine.labels])
    model = Estimator(fitted, (13,), WINES)
    found = probabilities(model, wine.inputs)
    assert [WINES[c] for c in found.argmax(axis=1)] == fitted.predict(wine.inputs).tolist()
    assert (found.max(axis=1) > 1 - 1e-6).all()
    assert model.hard
    assert model.warning == "LinearSVC has no predict_proba: it teaches hard labels, which say no more than its class"


def test_what_is_not_fitted_or_no_classifier_is_refused():
    with pytest.raises(
        LimbeckError,
        match="^RandomForestClassifier has no classes_: expected a classifier that is fitted; call its fit first$",
    ):
        Estimator(RandomForestClassifier(), (13,), WINES)
    with pytest.raises(LimbeckError, match="Pipeline has no classes_"):
        Estimator(make_pipeline(StandardScaler(), LogisticRegression()), (13,), WINES)
    with pytest.raises(LimbeckError, match="StandardScaler has no classes_"):
        Estimator(StandardScaler().fit(np.eye(3)), (3,), WINES)


def test_a_classifier_of_several_outputs_is_refused(wine):
    two = RandomForestClassifier(3).fit(wine.inputs, np.stack([wine.labels, wine.labels > 0], axis=1))
    with pytest.raises(LimbeckError, match="RandomForestClassifier has 2 outputs: expected a classifier of one"):
        Estimator(two, (13,), WINES)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((0.5, 0.5), r"returned the shape \(4, 2\): expected \(4, 3\), \(rows, classes\)$"),
        ((0.5, 0.3, 0.3), r"no probabilities for row 0 \(0\.5, 0\.3, 0\.3\): they must sum to 1$"),
        ((1.5, -0.5, 0.0), "no probabilities for row 0"),
        ((np.nan, 0.5, 0.5), "no probabilities for row 0"),
    ],
)
def test_what_is_no_distribution_is_refused(answer, message, wine):
    with pytest.raises(
        LimbeckError, match="^predict_proba of OnlyTheInterface returned " + message.removeprefix("returned ")
    ):
        Estimator(OnlyTheInterface(answer), (13,), WINES).log_probs(wine.inputs[:4])


def test_a_list_of_probabilities_is_refused(wine):
    class Listed(OnlyTheInterface):
        def predict_proba(self, rows):
            return [super().predict_proba(rows)] * 2

    with pytest.raises(
        LimbeckError, match=r"predict_proba of Listed returned a list of 2: expected one array of shape \(4, 3\)"
    ):
        Estimator(Listed(), (13,), WINES).log_probs(wine.inputs[:4])


def test_rows_of_another_width_are_refused(forest, wine):
    with pytest.raises(LimbeckError, match="^RandomForestClassifier was fitted to 13 features, but the inputs have 5"):
        Estimator(forest, (13,), WINES).log_probs(wine.inputs[:, :5])


def test_rows_that_an_estimator_does_not_take_are_one_line(wine):
    fitted = LogisticRegression(tol=10).fit(wine.inputs, wine.labels)
    with pytest.raises(
        LimbeckError, match="^LogisticRegression does not take rows of 13 features: Input X contains NaN"
    ):
        Estimator(fitted, (13,), WINES).log_probs(np.full((3, 13), np.nan, np.float32))


@pytest.fixture(scope="module")
def table():
    """A colour and a size, and which of them somebody bought; in another order than the estimator's columns."""
    generator = np.random.default_rng(0)
    colour, size = generator.integers(0, 3, 200), generator.normal(size=200).round(2)
    labels = ((colour == 1) ^ (size > 0)).astype(np.int64)
    form = TableForm((Column("size"), Column("colour", ("red", "green", "blue"))))
    inputs = np.stack([size, colour], axis=1).astype(np.float32)
    return Part("table", inputs, labels, np.arange(200), ("no", "yes"), form)


@pytest.fixture(scope="module")
def of_frame(table):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "colour": np.array(["red", "green", "blue"])[table.inputs[:, 1].astype(int)],
            "size": table.inputs[:, 0].astype(float),
        }
    )
    encode = ColumnTransformer(
        [("colour", OneHotEncoder(handle_unknown="ignore"), ["colour"])], remainder="passthrough"
    )
    fitted = make_pipeline(encode, RandomForestClassifier(10, random_state=0))
    return fitted.fit(frame, np.array(["no", "yes"])[table.labels]), frame


def test_a_pipeline_fitted_to_a_frame_gets_a_frame_with_its_columns_in_its_order(of_frame, table):
    fitted, frame = of_frame
    found = probabilities(Estimator(fitted, (2,), ("no", "yes"), form=table.form), table.inputs)
    expected = np.maximum(fitted.predict_proba(frame), FLOOR)
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("kind", ["lightgbm", "histograms"])
def test_boosting_fitted_to_categories_of_a_frame_gets_categories(kind, of_frame, table):
    """In another order than the form's: pandas sorts them."""
    frame = of_frame[1].assign(colour=of_frame[1]["colour"].astype("category"))
    assert list(frame["colour"].cat.categories) == ["blue", "green", "red"]
    if kind == "lightgbm":
        fitted = pytest.importorskip("lightgbm").LGBMClassifier(n_estimators=5, verbosity=-1, n_jobs=1)
    else:
        fitted = HistGradientBoostingClassifier(max_iter=5, categorical_features=["colour"])
    fitted.fit(frame, table.labels)
    found = probabilities(Estimator(fitted, (2,), ("no", "yes"), form=table.form), table.inputs)
    np.testing.assert_allclose(found, fitted.predict_proba(frame), rtol=1e-5)


def test_a_column_that_the_data_does_not_have_is_named(of_frame, table):
    form = TableForm((Column("size"), Column("shade", ("red", "green", "blue"))))
    with pytest.raises(
        LimbeckError, match=r'^Pipeline was fitted to a column "colour", which the data does not have \(size, shade\)'
    ):
        Estimator(of_frame[0], (2,), ("no", "yes"), form=form).log_probs(table.inputs)


def test_numbers_without_names_are_taken_in_the_order_of_the_frame(wine):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(wine.inputs, columns=[f"column {number}" for number in range(13)])
    fitted = RandomForestClassifier(5, random_state=0).fit(frame, wine.labels)
    model = Estimator(fitted, (13,), WINES)
    assert (model.log_probs(wine.inputs).argmax(axis=1) == fitted.predict(frame)).all()
    with pytest.raises(LimbeckError, match="was fitted to 13 columns .* but the inputs have 12"):
        model.log_probs(wine.inputs[:, :12])


def test_an_estimator_is_measured_like_any_model(forest, wine):
    row = evaluate(Estimator(forest, (13,), WINES), wine)
    assert row["accuracy"] == forest.score(wine.inputs, wine.labels)
    assert row["multiply_adds"] == 0
    questions = sum(int((tree.tree_.children_left >= 0).sum()) for tree in forest.estimators_)
    leaves = sum(tree.get_n_leaves() for tree in forest.estimators_)
    assert row["parameters"] == 2 * questions + 3 * leaves


def test_coefficients_are_multiplied_trees_are_not_and_what_else_there_is_is_not_known(forest, wine):
    linear = LogisticRegression(max_iter=5000).fit(wine.inputs, wine.labels)
    nearest = KNeighborsClassifier().fit(wine.inputs, wine.labels)
    assert Estimator(linear, (13,), WINES).multiply_adds == 3 * 13
    vote = VotingClassifier([("a", linear), ("b", forest)], voting="soft").fit(wine.inputs, wine.labels)
    assert Estimator(vote, (13,), WINES).multiply_adds == 3 * 13
    assert Estimator(nearest, (13,), WINES).multiply_adds is None
    mean = MeanModel([Estimator(linear, (13,), WINES), Estimator(nearest, (13,), WINES)])
    assert evaluate(mean, wine)["multiply_adds"] is None


def test_a_copy_is_the_same_model(forest, wine):
    model = Estimator(forest, (13,), WINES)
    np.testing.assert_array_equal(copy.deepcopy(model).log_probs(wine.inputs), model.log_probs(wine.inputs))
