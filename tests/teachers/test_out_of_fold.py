import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from limbeck import distill, extract
from limbeck.data import Part
from limbeck.data.form import Column, TableForm
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import DamagedFileError
from limbeck.models import MLP, Estimator
from limbeck.models.mean import MeanModel
from limbeck.progress import Silent
from limbeck.teachers import (
    EstimatorTeacher,
    OwnRows,
    Predictions,
    as_teacher,
    log_probabilities,
    memorised,
    out_of_fold,
)
from limbeck.teachers.out_of_fold import OWN_ROWS, fold_rows
from limbeck.train_settings import TrainSettings

WINES = ("barolo", "grignolino", "barbera")
QUICK = TrainSettings(epochs=2, batch_size=32)


class Heard(Silent):
    def __init__(self):
        self.said = []

    def line(self, text):
        self.said.append(text)

    def start(self, title, total):
        self.said.append((title, total))

    def at(self, done, note=""):
        self.said.append(done)


@pytest.fixture(scope="module")
def wine():
    inputs, labels = load_wine(return_X_y=True)
    return Part("wine", inputs.astype(np.float32), labels.astype(np.int64), np.arange(1000, 1178), WINES)


@pytest.fixture(scope="module")
def forest(wine):
    return RandomForestClassifier(10, random_state=0).fit(wine.inputs, wine.labels)


@pytest.fixture(scope="module")
def neighbour(wine):
    """One nearest neighbour, which knows its own rows by heart, in three folds."""
    return out_of_fold(KNeighborsClassifier(1), wine, folds=3, seed=1)


# Plain classifiers


def test_a_plain_classifier_teaches(forest, wine):
    distilled = distill(forest, MLP((13,), 3, [4]), wine, QUICK)
    assert distilled.knowledge.classes == WINES
    np.testing.assert_allclose(
        distilled.knowledge.log_probs(), Estimator(forest, (13,), WINES).log_probs(wine.inputs), atol=1e-5
    )


def test_a_plain_classifier_teaches_about_an_array_in_its_own_order(forest, wine):
    distilled = distill(forest, MLP((13,), 3, [4]), wine.inputs, QUICK, labels=wine.labels)
    assert (distilled.knowledge.log_probs().argmax(axis=1) == forest.predict(wine.inputs)).all()


def test_classes_as_texts_come_in_the_part_s_order(wine):
    fitted = GaussianNB().fit(wine.inputs, np.array(WINES)[wine.labels])
    knowledge = distill(fitted, MLP((13,), 3, [4]), wine, QUICK).knowledge
    assert [WINES[c] for c in knowledge.log_probs().argmax(axis=1)] == fitted.predict(wine.inputs).tolist()


def test_what_a_plain_classifier_knows_is_kept_under_its_name(forest, wine, tmp_path):
    kept = extract(forest, wine, tmp_path, name="forest")
    again = extract(forest, wine, tmp_path, name="forest")
    assert kept.folder == again.folder
    np.testing.assert_allclose(kept.log_probs(), Estimator(forest, (13,), WINES).log_probs(wine.inputs), atol=2e-2)


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_estimator_without_a_name_cannot_be_told_from_another(forest, wine, tmp_path, wrapped):
    teacher = Estimator(forest, (13,), WINES) if wrapped else forest
    with pytest.raises(UsageError, match="cannot be told from another teacher by its weights: pass name="):
        extract(teacher, wine, tmp_path)


def test_a_classifier_of_other_classes_is_refused(forest, wine):
    other = Part("other", wine.inputs, np.minimum(wine.labels, 1), wine.ids, ("red", "white"))
    with pytest.raises(
        LimbeckError, match="the teacher's classes are 0, 1, 2, but the data's are red, white: they must"
    ):
        distill(forest, MLP((13,), 2, [4]), other, QUICK)


def test_a_classifier_that_is_not_fitted_is_no_teacher(wine):
    with pytest.raises(
        LimbeckError, match="RandomForestClassifier has no classes_: expected a classifier that is fitted"
    ):
        as_teacher(RandomForestClassifier(), wine)


def test_a_caller_with_a_progress_hears_of_hard_labels(wine, tmp_path):
    fitted, heard = LinearSVC(random_state=0, tol=1).fit(wine.inputs, wine.labels), Heard()
    extract(fitted, wine, tmp_path, name="svc", progress=heard)
    assert "LinearSVC has no predict_proba: it teaches hard labels, which say no more than its class" in heard.said
    again = Heard()
    distill(fitted, MLP((13,), 3, [4]), wine, QUICK, progress=again)
    assert "LinearSVC has no predict_proba: it teaches hard labels, which say no more than its class" in again.said


def test_a_class_with_the_interface_alone_is_a_teacher(wine):
    class Booster:
        classes_ = [2, 0, 1]

        def predict_proba(self, rows):
            return np.tile(np.float32([0.7, 0.2, 0.1]), (len(rows), 1))

    found = np.exp(log_probabilities(as_teacher(Booster(), wine), wine.inputs[:3]))
    np.testing.assert_allclose(found, [[0.2, 0.1, 0.7]] * 3, rtol=1e-5)


def test_what_predicts_without_classes_but_can_be_called_is_called(wine):
    class Called:
        def predict(self, inputs):
            raise AssertionError

        def __call__(self, inputs):
            return np.zeros((len(inputs), 3))

    assert log_probabilities(as_teacher(Called(), wine), wine.inputs[:2]).shape == (2, 3)


def test_an_estimator_is_asked_as_one_even_as_a_module(forest):
    assert isinstance(as_teacher(Estimator(forest, (13,), WINES)), EstimatorTeacher)


# Folds


def test_every_labelled_row_is_left_out_once(wine):
    labels = wine.labels.copy()
    labels[::10] = -1
    folds = fold_rows(Part("part", wine.inputs, labels, wine.ids, WINES), 4, 0)
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.flatnonzero(labels >= 0))
    shares = [np.bincount(labels[rows], minlength=3) for rows in folds]
    assert (np.ptp(shares, axis=0) <= 1).all()


def test_equal_rows_lie_in_one_fold(wine):
    twins = np.r_[np.arange(60), np.arange(60)]
    part = Part("part", wine.inputs[twins], wine.labels[twins], np.arange(120), WINES)
    for rows in fold_rows(part, 3, 0):
        assert set(rows % 60) == set(rows[rows < 60])


def test_a_class_rarer_than_folds_needs_no_strata(wine):
    rows = np.r_[0:30, 60:90, 177]
    part = wine.take(rows)
    assert (part.labels == 2).sum() == 1
    folds = fold_rows(part, 5, 0)
    assert sorted(map(len, folds)) == [12, 12, 12, 12, 13]


@pytest.mark.parametrize("folds", [1, 0, -3, 2.5, True])
def test_a_number_of_folds_is_two_or_more(wine, folds):
    with pytest.raises(UsageError, match=r"^folds = .*: expected a whole number, 2 or more$"):
        fold_rows(wine, folds, 0)


def test_more_folds_than_rows_are_refused(wine):
    with pytest.raises(
        LimbeckError, match='^folds = 5, but part "wine" has 4 different labelled rows: ask for fewer folds$'
    ):
        fold_rows(wine.take(np.array([0, 1, 100, 101])), 5, 0)


def test_the_seed_decides_the_folds(wine):
    one, same, other = fold_rows(wine, 3, 0), fold_rows(wine, 3, 0), fold_rows(wine, 3, 1)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# Out of fold


def test_each_row_is_answered_by_the_model_that_has_not_seen_it(wine):
    teacher = out_of_fold(GaussianNB(), wine, folds=3, seed=2)
    known, answers = teacher.model.own_rows.answers_for(wine)
    assert known.all()
    for rows in fold_rows(wine, 3, 2):
        others = np.setdiff1d(np.arange(len(wine)), rows)
        expected = np.maximum(
            GaussianNB().fit(wine.inputs[others], wine.labels[others]).predict_proba(wine.inputs[rows]), 1e-7
        )
        np.testing.assert_allclose(np.exp(answers[rows]), expected / expected.sum(axis=1, keepdims=True), rtol=1e-4)


def test_other_rows_are_answered_by_the_mean(wine):
    train, others = wine.take(np.arange(0, 178, 2)), wine.take(np.arange(1, 178, 2))
    teacher = out_of_fold(GaussianNB(), train, folds=2, seed=0)
    assert not teacher.model.own_rows.answers_for(others)[0].any()
    each = [member.predict_proba(others.inputs) for member in teacher.model.members]
    np.testing.assert_allclose(np.exp(teacher.answer(others.inputs)), np.mean(each, axis=0), atol=1e-5)


def test_knowledge_out_of_fold_is_honest_where_the_teacher_s_own_is_not(neighbour, wine, tmp_path):
    by_heart = KNeighborsClassifier(1).fit(wine.inputs, wine.labels)
    assert (by_heart.predict(wine.inputs) == wine.labels).all()
    for knowledge in (
        distill(neighbour, MLP((13,), 3, [4]), wine, QUICK).knowledge,
        extract(neighbour, wine, tmp_path, name="1nn"),
    ):
        share = (knowledge.log_probs().argmax(axis=1) == wine.labels).mean()
        assert 0.6 < share < 0.85


def test_an_array_s_rows_are_known_by_their_content(neighbour, wine):
    order = np.arange(178)[::-1]
    of_part = distill(neighbour, MLP((13,), 3, [4]), wine.take(order), QUICK).knowledge.log_probs()
    of_array = distill(neighbour, MLP((13,), 3, [4]), wine.inputs[order], QUICK).knowledge.log_probs()
    np.testing.assert_array_equal(of_array, of_part)
    mean = MeanModel([neighbour.model, neighbour.model])
    for of_member in distill(mean, MLP((13,), 3, [4]), wine.inputs[order], QUICK).knowledge:
        np.testing.assert_allclose(np.exp(of_member.log_probs()), np.exp(of_part), atol=1e-6)


def test_equal_rows_with_different_answers_are_asked_for_with_their_numbers(wine):
    twins = Part("twins", wine.inputs[[0, 1, 1]], np.full(3, -1), np.arange(3), WINES)
    teacher = out_of_fold(GaussianNB(), wine, folds=2)
    answers = np.log(np.float32([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]]))
    teacher.model.own_rows = OwnRows(twins.ids, twins.row_hashes, answers)
    with pytest.raises(UsageError) as error:
        distill(teacher, MLP((13,), 3, [4]), wine.inputs, QUICK)
    assert str(error.value) == (
        "1 of 178 inputs, the first in row 1, are equal to several rows that the teacher was fitted to, with different "
        "answers: hand over the part, with its row numbers, in place of an array"
    )
    kept = distill(teacher, MLP((13,), 3, [4]), twins, QUICK, validation=0).knowledge
    np.testing.assert_array_equal(kept.log_probs(), answers)


def test_a_teacher_that_knows_rows_by_numbers_alone_asks_for_the_part(wine):
    teacher = out_of_fold(GaussianNB(), wine, folds=2)
    teacher.model.own_rows = Predictions(wine.ids, np.zeros((178, 3), np.float32), WINES, "hard", Path("p.csv"))
    with pytest.raises(UsageError) as error:
        distill(teacher, MLP((13,), 3, [4]), wine.inputs, QUICK)
    assert str(error.value) == (
        "the teacher has answers for rows by their numbers, and an array has none: hand over the part, with its row "
        "numbers, in place of an array"
    )


def test_rows_without_a_label_are_not_fitted_to_and_get_the_mean(wine):
    labels = np.where(np.arange(178) % 3 == 0, -1, wine.labels)
    part = Part("some", wine.inputs, labels, wine.ids, WINES)
    known, answers = out_of_fold(GaussianNB(), part, folds=2).model.own_rows.answers_for(part)
    np.testing.assert_array_equal(known, labels >= 0)
    assert (answers[~known] == 0).all()


def test_rows_are_known_by_id_and_content(neighbour, wine):
    own = neighbour.model.own_rows
    backwards = wine.take(np.arange(178)[::-1])
    np.testing.assert_array_equal(own.answers_for(backwards)[1], own.answers_for(wine)[1][::-1])
    renumbered = Part("other", wine.inputs, wine.labels, wine.ids + 1, WINES)
    assert not own.answers_for(renumbered)[0].any()
    moved = Part("view", wine.inputs + np.float32(0.5), wine.labels, wine.ids, WINES)
    assert not own.answers_for(moved)[0].any()


def test_own_rows_go_through_a_file(neighbour, wine, tmp_path):
    path = tmp_path / OWN_ROWS
    neighbour.model.own_rows.save(path)
    for before, after in zip(
        neighbour.model.own_rows.answers_for(wine), OwnRows.load(path).answers_for(wine), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    first = path.read_bytes()
    OwnRows.load(path).save(path)
    assert path.read_bytes() == first


def test_damaged_own_rows_are_named(neighbour, tmp_path):
    path = tmp_path / OWN_ROWS
    with pytest.raises(DamagedFileError, match="own_rows.safetensors is damaged: it is missing"):
        OwnRows.load(path)
    own = neighbour.model.own_rows
    OwnRows(own.ids, own.row_hashes, own.log_probs[:5]).save(path)
    with pytest.raises(DamagedFileError, match="do not have as many rows as each other"):
        OwnRows.load(path)
    OwnRows(own.ids, own.row_hashes, own.log_probs.astype(np.float64)).save(path)
    with pytest.raises(DamagedFileError, match="expected the tensors ids, row_hashes, log_probs"):
        OwnRows.load(path)


def test_progress_is_told_by_fold(wine):
    heard = Heard()
    out_of_fold(GaussianNB(), wine, folds=3, progress=heard)
    assert heard.said == [("GaussianNB, 3 folds", 3), 1, 2, 3]


def test_the_seed_reaches_an_estimator_that_has_none(wine):
    scaled = make_pipeline(StandardScaler(), RandomForestClassifier(3))
    one, same, other = (out_of_fold(scaled, wine, folds=2, seed=seed).model.own_rows.log_probs for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    fixed = RandomForestClassifier(3, random_state=7)
    assert {member.random_state for member in out_of_fold(fixed, wine, folds=2).model.members} == {7}
    assert scaled[-1].random_state is None


def test_a_fold_that_lacks_a_class_gives_it_the_floor(wine):
    part = wine.take(np.r_[0:30, 60:90, 177])
    teacher = out_of_fold(GaussianNB(), part, folds=3)
    assert {len(member.classes_) for member in teacher.model.members} == {2, 3}
    last = teacher.model.own_rows.answers_for(part)[1][-1]
    assert last[2] == pytest.approx(np.log(1e-7), rel=1e-4)


def test_a_table_is_handed_over_as_a_frame():
    pytest.importorskip("pandas")
    generator = np.random.default_rng(0)
    colour, size = generator.integers(0, 3, 150), generator.normal(size=150)
    form = TableForm((Column("size"), Column("colour", ("red", "green", "blue"))))
    part = Part(
        "table",
        np.stack([size, colour], axis=1).astype(np.float32),
        (colour == 1).astype(np.int64),
        np.arange(150),
        ("no", "yes"),
        form,
    )
    encode = ColumnTransformer([("colour", OneHotEncoder(), ["colour"])], remainder="passthrough")
    teacher = out_of_fold(make_pipeline(encode, LogisticRegression()), part)
    assert (teacher.model.own_rows.answers_for(part)[1].argmax(axis=1) == part.labels).all()
    with pytest.raises(
        LimbeckError,
        match=r'^LogisticRegression cannot be fitted to part "table": .*text columns and missing values need a pipeline',
    ):
        out_of_fold(LogisticRegression(), part)


def test_what_is_no_classifier_is_refused(wine):
    with pytest.raises(UsageError, match="^int cannot be cloned"):
        out_of_fold(3, wine)
    with pytest.raises(LimbeckError, match="^StandardScaler has no classes_"):
        out_of_fold(StandardScaler(), wine)


def test_one_class_is_nothing_to_be_fitted_to(wine):
    with pytest.raises(
        LimbeckError,
        match=r'^part "wine" has labelled rows of one class alone \("barolo"\): a classifier is fitted to two',
    ):
        out_of_fold(GaussianNB(), wine.take(np.arange(20)))
    none = Part("none", wine.inputs, np.full(178, -1), wine.ids, WINES)
    with pytest.raises(LimbeckError, match='^part "none" has no labelled rows: a classifier is fitted to two'):
        out_of_fold(GaussianNB(), none)


# What a teacher knows by heart


def agreeing(share, rows=200):
    """Log-probabilities that agree with labels of 0 on this share of the rows."""
    right = np.arange(rows) < round(share * rows)
    return np.log(np.where(right[:, np.newaxis], [0.9, 0.1], [0.2, 0.8])), np.zeros(rows, dtype=np.int64)


def test_a_teacher_that_memorised_its_rows_is_warned_of_with_both_numbers():
    assert memorised(*agreeing(1.0), *agreeing(0.905)) == (
        "the teacher agrees with 100.0% of the labels on its training rows, but with 90.5% on validation rows: it has "
        "memorised its rows, and teaches little there that the labels do not say; set folds = 3, so that each row is "
        "answered by a model that has not seen it"
    )


@pytest.mark.parametrize(("own", "others"), [(0.95, 0.95), (0.99, 0.965), (0.9, 0.82), (0.8, 0.9), (0.7, 0.45)])
def test_a_teacher_that_did_not_is_not(own, others):
    assert memorised(*agreeing(own), *agreeing(others)) is None


def test_one_who_distils_what_memorised_its_rows_is_warned(wine):
    train, validation = wine.take(np.arange(0, 178, 2)), wine.take(np.arange(1, 178, 2))
    by_heart, heard = KNeighborsClassifier(1).fit(train.inputs, train.labels), Heard()
    start, end = (
        "the teacher agrees with 100.0% of the labels on its training rows, but with ",
        ("; fit it by limbeck.teachers.out_of_fold, or let it label rows that it was not fitted to"),
    )
    with pytest.warns(UserWarning, match="memorised") as warned:
        distill(by_heart, MLP((13,), 3, [4]), train, QUICK, validation=validation)
    (one,) = warned
    assert str(one.message).startswith(start)
    assert str(one.message).endswith(end)
    assert one.filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = distill(by_heart, MLP((13,), 3, [4]), train, QUICK, validation=validation, progress=heard).knowledge
        assert str(one.message) in heard.said
        distill(kept, MLP((13,), 3, [4]), train, QUICK, validation=validation)
        folds = out_of_fold(KNeighborsClassifier(1), train)
        distill(folds, MLP((13,), 3, [4]), train, QUICK, validation=validation)


def test_rows_without_labels_do_not_count():
    log_probs, labels = agreeing(1.0)
    assert memorised(log_probs, labels, *agreeing(0.8)) is not None
    assert memorised(log_probs, labels - 1, *agreeing(0.8)) is None


def test_a_forest_is_caught_by_it():
    inputs, labels = load_breast_cancer(return_X_y=True)
    model = Estimator(
        RandomForestClassifier(20, random_state=0).fit(inputs[:300].astype(np.float32), labels[:300]), (30,), ("0", "1")
    )
    own, others = (model.log_probs(rows.astype(np.float32)) for rows in (inputs[:300], inputs[300:]))
    assert memorised(own, labels[:300], others, labels[300:]) is not None
