import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.data import Dataset, Part, Reading, load_dataset, some_rows
from limbeck.data.dataset import nested_order
from limbeck.errors import UsageError


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def with_test(digits):
    first, rest = digits.train.take(np.arange(1500)), digits.train.take(np.arange(1500, 1797))
    return Dataset("some", first, rest, digits.classes)


def of_labels(labels):
    rows = np.arange(len(labels))
    inputs = rows[:, None].astype(np.float32)
    classes = ("a", "b", "c")
    return Dataset("small", Part("train", inputs, np.array(labels), rows, classes), None, classes)


def test_the_three_parts_hold_every_row_once(digits):
    split = digits.split(validation=200, test=0.2, seed=3)
    parts = (split.train, split.validation, split.test)
    assert [len(p) for p in parts] == [1797 - 200 - 360, 200, 360]
    assert [p.name for p in parts] == ["train", "validation", "test"]
    assert sorted(np.concatenate([p.ids for p in parts])) == list(range(1797))
    for p in parts:
        assert (np.diff(p.ids) > 0).all()
        assert (p.inputs == digits.train.inputs[p.ids]).all()
        assert (p.labels == digits.train.labels[p.ids]).all()


def test_a_split_is_stratified(digits):
    split = digits.split(validation=0.1, test=0.2)
    whole = np.bincount(digits.train.labels) / 1797
    for p in (split.train, split.validation, split.test):
        assert np.abs(np.bincount(p.labels) - whole * len(p)).max() <= 1


def test_a_split_depends_on_its_seed_alone(digits):
    first = digits.split(validation=100, test=0.2, seed=5)
    np.random.seed(99)
    again = digits.split(validation=100, test=0.2, seed=5)
    other = digits.split(validation=100, test=0.2, seed=6)
    assert first.validation.ids.tolist() == again.validation.ids.tolist()
    assert first.train.inputs_hash == again.train.inputs_hash
    assert first.validation.ids.tolist() != other.validation.ids.tolist()
    assert first.test.ids.tolist() != other.test.ids.tolist()


def test_the_test_rows_do_not_depend_on_the_validation(digits):
    some, none = digits.split(validation=100, test=0.2), digits.split(test=0.2)
    assert some.test.ids.tolist() == none.test.ids.tolist()
    assert len(none.validation) == 0


def test_a_source_s_own_test_set_is_used_as_it_is(with_test):
    split = with_test.split(validation=150)
    assert split.test is with_test.test
    assert len(split.train) == 1350
    assert with_test.split().train is with_test.train


def test_a_test_fraction_beside_a_test_set_is_refused(with_test):
    with pytest.raises(UsageError, match=r"some has a test set of its own \(297 rows\): leave test out"):
        with_test.split(test=0.2)


def test_a_missing_test_fraction_is_asked_for(digits):
    with pytest.raises(UsageError, match=r"digits has no test set of its own: set test to the fraction"):
        digits.split(validation=10)


@pytest.mark.parametrize("test", [0, 1, 1.5, -0.1, True, "0.2", float("nan")])
def test_a_test_fraction_out_of_range_is_refused(digits, test):
    with pytest.raises(UsageError, match="is not a fraction between 0 and 1"):
        digits.split(test=test)


@pytest.mark.parametrize("validation", [1500, 2000])
def test_a_validation_larger_than_the_data_is_refused_with_both_numbers(with_test, validation):
    with pytest.raises(UsageError, match=rf"validation = {validation} takes .* some has 1500 training rows"):
        with_test.split(validation=validation)


@pytest.mark.parametrize("validation", [-1, True, "many", float("nan"), 1.0, 60.5, None])
def test_a_validation_that_is_no_number_of_rows_is_refused(with_test, validation):
    with pytest.raises(UsageError, match=r"^validation = .*: change validation|give a fraction"):
        with_test.split(validation=validation)


def test_fractions_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(UsageError, match=r"test = 0.9 takes all 3 rows of small"):
        of_labels([0, 1, 2]).split(test=0.9)
    with pytest.raises(UsageError, match=r"validation = 0.9 takes 2 rows, but small has 2 training rows"):
        of_labels([0, 1, 2]).split(test=0.3, validation=0.9)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, True])
def test_a_split_seed_out_of_range_is_refused(digits, seed):
    with pytest.raises(UsageError, match="is not a whole number from 0"):
        digits.split(test=0.2, seed=seed)


@pytest.mark.parametrize("labels", [[0] * 20 + [1], [0, 1, 2] * 4, [-1] * 9])
def test_rows_are_drawn_plainly_where_classes_are_too_small_to_stratify(labels):
    split = of_labels(labels).split(validation=2, test=0.1)
    ids = np.concatenate([split.train.ids, split.validation.ids, split.test.ids])
    assert sorted(ids) == list(range(len(labels)))
    assert len(split.validation) == 2


# ---------------------------------------------------------------- some rows


def test_some_rows_are_drawn_by_class_and_by_the_seed_alone(digits):
    rows = np.flatnonzero(digits.train.labels != 3)
    found = some_rows(digits.train, rows, 0.1, seed=1)
    assert len(found) == math.ceil(0.1 * len(rows))
    assert set(found) <= set(rows)
    assert (np.diff(found) > 0).all()
    counts = np.bincount(digits.train.labels[found], minlength=10)
    assert counts[3] == 0
    assert counts[counts > 0].min() >= 16
    np.testing.assert_array_equal(found, some_rows(digits.train, rows, 0.1, seed=1))
    assert set(found) != set(some_rows(digits.train, rows, 0.1, seed=2))


def test_as_many_rows_as_there_are_are_all_of_them(digits):
    rows = np.arange(50)
    assert some_rows(digits.train, rows, 50, seed=0) is rows


def test_more_rows_than_there_are_are_refused(digits):
    with pytest.raises(UsageError, match="rows = 51 of part .* were asked for, but select leaves 50: ask for fewer"):
        some_rows(digits.train, np.arange(50), 51, seed=0)


def test_rows_without_a_label_are_to_train_on():
    inputs = np.arange(40, dtype=np.float32).reshape(20, 2)
    labels = np.array([0, 1] * 5 + [-1] * 10)
    part = Part("train", inputs, labels, np.arange(20), ("a", "b"))
    split = Dataset("some", part, None, ("a", "b")).split(validation=2, test=0.3, seed=1)
    assert len(split.test) == 3
    assert (split.test.labels >= 0).all()
    assert (split.validation.labels >= 0).all()
    assert len(split.train) == 15
    assert set(range(10, 20)) <= set(split.train.ids.tolist())


def test_rows_of_a_table_whose_label_is_empty_are_to_train_on(tmp_path):
    labels = [*"abababab", "", "", ""]
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{x},{label}\n" for x, label in enumerate(labels)))
    split = load_dataset(str(tmp_path / "t.csv"), Reading(label="y")).split(validation=2, test=0.25, seed=1, labels=3)
    assert (split.test.labels >= 0).all()
    assert (split.validation.labels >= 0).all()
    assert {8, 9, 10} <= set(split.train.ids.tolist())
    assert (split.train.labels[-3:] == -1).all()
    assert (split.train.labels >= 0).sum() == 3


# ---------------------------------------------------------------- a number of labels


def labelled(split):
    """The ids of the training rows that have a label."""
    return set(split.train.ids[split.train.labels >= 0].tolist())


def test_some_training_rows_keep_their_labels_and_nothing_else_changes(digits):
    whole, few = (digits.split(validation=100, test=0.2, seed=3, labels=labels) for labels in (None, 60))
    for part in ("validation", "test"):
        before, after = getattr(whole, part), getattr(few, part)
        assert (before.inputs_hash, before.labels_hash) == (after.inputs_hash, after.labels_hash)
    assert few.train.inputs_hash == whole.train.inputs_hash
    kept = few.train.labels >= 0
    assert (few.train.labels[kept] == whole.train.labels[kept]).all()
    assert np.bincount(few.train.labels[kept]).tolist() == [6] * 10


def test_labels_of_a_source_with_a_test_set_are_cut_without_touching_the_source(with_test):
    split = with_test.split(labels=100)
    assert len(labelled(split)) == 100
    assert split.test is with_test.test
    assert (with_test.train.labels >= 0).all()


def test_a_fraction_of_the_labels_is_rounded_up(digits):
    assert len(labelled(digits.split(test=0.2, labels=0.1))) == math.ceil(0.1 * 1437)


def test_which_rows_keep_their_labels_depends_on_the_seed_alone(with_test):
    first = labelled(with_test.split(seed=5, labels=100))
    np.random.seed(99)
    assert labelled(with_test.split(seed=5, labels=100)) == first
    assert labelled(with_test.split(seed=6, labels=100)) != first


def test_all_labels_are_kept_where_as_many_are_asked_for(with_test):
    assert with_test.split(labels=1500).train.labels_hash == with_test.train.labels_hash


def test_more_labels_have_the_fewer_among_them(digits):
    kept = [labelled(digits.split(validation=100, test=0.2, labels=labels)) for labels in (10, 60, 61, 600)]
    assert kept[0] < kept[1] < kept[2] < kept[3]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=8),
    st.integers(0, 2**32 - 1),
    st.randoms(use_true_random=False),
)
def test_every_beginning_of_the_nested_order_is_stratified(sizes, seed, random):
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    random.shuffle(labels)
    order = nested_order(np.array(labels), seed)
    assert sorted(order) == list(range(len(labels)))
    counts = np.zeros(len(sizes), dtype=int)
    for number, label in enumerate(np.array(labels)[order], 1):
        counts[label] += 1
        if number >= len(sizes):
            assert counts.min() >= 1
            # Nobody has a seat that another deserves more: with the first ones given, shares differ by half a row.
            given_more = counts > 1
            if given_more.any():
                last = (counts[given_more] - 0.5) / np.array(sizes)[given_more]
                following = (counts + 0.5) / np.array(sizes)
                assert last.max() <= following[counts < sizes].min(initial=np.inf) + 1e-12


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 10), st.integers(5, 40), st.integers(0, 99))
def test_classes_of_one_size_get_as_many_labels_each(classes, size, seed):
    labels = np.repeat(np.arange(classes), size)
    order = nested_order(labels, seed)
    for count in range(classes, len(labels) + 1):
        kept = np.bincount(labels[order[:count]], minlength=classes)
        assert kept.max() - kept.min() <= 1


def test_a_rare_class_keeps_a_label():
    labels = of_labels([0] * 500 + [1] * 500 + [2] * 2).split(validation=10, test=0.1, labels=4).train.labels
    assert set(labels[labels >= 0].tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            1338,
            "labels = 1338 were asked for, but digits has 1337 labelled training rows beside its validation and test "
            "rows: ask for fewer",
        ),
        (
            9,
            "labels = 9 keeps 9 of 1337 labels, but the training rows of digits have 10 classes, expected at least one "
            "of each class: ask for 10 or more",
        ),
        (
            0.001,
            "labels = 0.001 keeps 2 of 1337 labels, but the training rows of digits have 10 classes, expected at least "
            "one of each class: ask for 10 or more",
        ),
        (
            1.0,
            "labels = 1.0 is not a fraction between 0 and 1: give a fraction such as 0.1, or a whole number of rows",
        ),
        *(
            (wrong, f"labels = {wrong!r} is neither a number of rows nor a fraction between 0 and 1: change labels")
            for wrong in (0, -5, 0.0, -0.5, True, "many", float("nan"))
        ),
    ],
)
def test_a_number_of_labels_that_cannot_be_is_refused(digits, labels, message):
    with pytest.raises(UsageError) as caught:
        digits.split(validation=100, test=0.2, labels=labels)
    assert str(caught.value) == message


def test_labels_of_a_source_that_has_none_are_refused():
    with pytest.raises(UsageError) as caught:
        of_labels([-1] * 9).split(test=0.2, labels=3)
    assert str(caught.value) == "labels = 3 was given, but no row of small has a label: leave labels out"
