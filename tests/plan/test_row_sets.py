"""Which rows a transfer set has, and which ones learn from labels alone."""

import numpy as np
import pytest

from limbeck.data import Part, Split, TextForm, load_dataset
from limbeck.data.texts import packed, unpacked
from limbeck.errors import UsageError
from limbeck.plan.row_sets import RowSets
from limbeck.recipe import Select, Transfer

LABELS = 100
BOTH = ["labelled", "unlabelled"]
FILES = {"file:a": 30, "file:b": 12}


@pytest.fixture(scope="module")
def split():
    """1,147 training rows, of which 100 have labels, and 200 validation rows, which all do."""
    return load_dataset("digits").split(validation=200, test=0.25, labels=LABELS)


@pytest.fixture
def rows(split):
    """Sets of rows, where files have rows of their own; `rows.asked` says which were read."""
    asked = []

    def read(name):
        asked.append(name)
        count = FILES[name]
        inputs = np.full((count, 8, 8), 3, split.train.inputs.dtype)
        return Part(name, inputs, np.full(count, -1), np.arange(count), split.train.classes)

    found = RowSets(split, 0, read)
    found.asked = asked
    return found


def transfer(parts, **select):
    return Transfer(name="t", parts=parts, select=Select(**select) if select else None)


def ids(found):
    return set(found.rows.train.ids.tolist())


# ---------------------------------------------------------------- parts


def test_the_training_rows_alone_are_those_of_the_split_and_no_copy(rows, split):
    found = rows.transfer_set(transfer(["train"]), False)
    assert found.parts == (split.train,)
    assert found.rows.train is split.train
    assert found.rows.validation is split.validation


def test_parts_come_one_after_the_other_as_they_are_named(rows, split):
    found = rows.transfer_set(transfer(["file:b", "unlabelled", "labelled"]), False)
    assert [(part.name, len(part)) for part in found.parts] == [
        ("file:b", 12),
        ("unlabelled", 1047),
        ("labelled", 100),
    ]
    for name in ("inputs", "labels", "ids"):
        joined = np.concatenate([getattr(part, name) for part in found.parts])
        np.testing.assert_array_equal(getattr(found.rows.train, name), joined)
    assert (found.rows.train.labels[:1059] == -1).all()
    assert (found.rows.train.labels[1059:] >= 0).all()


def test_rows_with_labels_and_rows_without_are_all_the_training_rows(rows, split):
    with_labels, without = rows.transfer_set(transfer(BOTH), False).parts
    assert sorted([*with_labels.ids, *without.ids]) == sorted(split.train.ids)


def test_a_file_is_read_once_for_all_transfer_sets_refitted_or_not(rows):
    for refit in (False, True, False):
        for parts in (["file:a"], ["train", "file:a"]):
            rows.transfer_set(transfer(parts), refit)
    assert rows.asked == ["file:a"]


def test_the_same_rows_are_cut_once(rows):
    assert rows.transfer_set(transfer(BOTH), False) is rows.transfer_set(transfer(BOTH), False)
    some = [rows.transfer_set(transfer(BOTH, rows=300), False) for _ in range(2)]
    assert some[0] is some[1]


def test_a_refit_has_the_validation_rows_among_those_with_labels(rows, split):
    found = rows.transfer_set(transfer(BOTH), True)
    assert [len(part) for part in found.parts] == [300, 1047]
    assert set(split.validation.ids) < ids(found)
    assert len(found.rows.validation) == 0
    assert found.rows.refit


def test_a_part_without_rows_is_refused():
    every, none = (load_dataset("digits").split(validation=200, test=0.25, labels=labels) for labels in (None, LABELS))
    none.train.labels[:] = -1
    with pytest.raises(UsageError) as error:
        RowSets(every, 0).transfer_set(transfer(["unlabelled"]), False)
    assert str(error.value) == (
        'part "unlabelled" has no rows, for all 1147 training rows have labels: set data.labels, or leave it out'
    )
    with pytest.raises(UsageError) as error:
        RowSets(none, 0).transfer_set(transfer(["labelled"]), False)
    assert str(error.value) == ('part "labelled" has no rows, for all 1147 training rows have none: leave it out')


# ---------------------------------------------------------------- some of the rows


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [(40, [("labelled", 40)]), (100, [("labelled", 100)]), (101, [("labelled", 100), ("unlabelled", 1)]),
     (0.5, [("labelled", 100), ("unlabelled", 474)]), (1147, [("labelled", 100), ("unlabelled", 1047)])],
)  # fmt: skip
def test_rows_with_labels_come_first(rows, asked, wanted):
    found = rows.transfer_set(transfer(BOTH, rows=asked), False)
    assert [(part.name, len(part)) for part in found.parts] == wanted
    assert sum(found.rows.train.labels >= 0) == min(100, sum(count for _, count in wanted))


def test_rows_with_labels_come_first_whatever_part_is_named_first(rows):
    parts = ["file:a", "unlabelled", "labelled"]
    found = rows.transfer_set(transfer(parts, rows=40), False)
    assert [(part.name, len(part)) for part in found.parts] == [("labelled", 40)]
    found = rows.transfer_set(transfer(parts, rows=600), False)
    assert [part.name for part in found.parts] == parts
    assert len(found.rows.train) == 600
    assert sum(found.rows.train.labels >= 0) == 100


def test_few_rows_with_labels_are_of_all_classes(rows):
    found = rows.transfer_set(transfer(BOTH, rows=40), False)
    assert np.bincount(found.rows.train.labels).tolist() == pytest.approx([4] * 10, abs=1)


def test_more_rows_have_fewer_ones_among_them(rows):
    before = set()
    for count in (100, 150, 400, 1000, 1147):
        after = ids(rows.transfer_set(transfer(BOTH, rows=count), False))
        assert before < after
        before = after


def test_the_seed_of_the_split_decides_which_rows_without_labels(split):
    one, same, other = (RowSets(split, seed).transfer_set(transfer(BOTH, rows=300), False) for seed in (0, 0, 1))
    assert ids(one) == ids(same) != ids(other)


def test_more_rows_than_there_are_are_refused(rows):
    with pytest.raises(UsageError) as error:
        rows.transfer_set(transfer(BOTH, rows=1148), False)
    assert str(error.value) == "rows = 1148 were asked for, but its parts have 1147: ask for fewer"


# ---------------------------------------------------------------- on labels alone


def test_a_teacher_is_trained_on_the_rows_with_labels(rows, split):
    found = rows.training(False)
    assert len(found.train) == LABELS
    assert (found.train.labels >= 0).all()
    assert found.validation is split.validation
    assert len(rows.training(True).train) == 300


def test_where_all_rows_have_labels_those_of_the_teacher_are_no_copy():
    split = load_dataset("digits").split(validation=200, test=0.25)
    assert RowSets(split, 0).training(False).train is split.train


@pytest.mark.parametrize(
    ("parts", "select", "learnt", "passes"),
    [
        (["labelled"], {}, 100, 1),
        (BOTH, {}, 100, 11),  # 1,147 rows: 11.47 times as many
        ([*BOTH, "file:a", "file:b"], {}, 100, 12),
        (["unlabelled"], {}, 100, 10),
        (["file:a"], {}, 100, 1),  # never fewer than once
        (["train"], {}, 100, 11),
        (BOTH, {"rows": 40}, 40, 1),
        (BOTH, {"rows": 100}, 100, 1),
        (BOTH, {"rows": 300}, 100, 3),
        (["labelled"], {"rows": 40}, 40, 1),
    ],
)
def test_who_learns_from_labels_sees_as_many_rows_as_a_student(rows, parts, select, learnt, passes):
    found, times = rows.on_labels(transfer(parts, **select), False)
    assert (len(found.train), times) == (learnt, passes)
    assert (found.train.labels >= 0).all()


def test_where_classes_are_left_out_as_many_rows_are_seen_too(rows):
    # 90 rows with labels and 1,047 without: 12.6 times as many.
    found, times = rows.on_labels(transfer(["train"], without=[3]), False)
    left = len(found.train.selected(without=[3]))
    assert left == 90
    assert times == 13


def test_texts_of_several_widths_are_brought_to_one():
    def part(name, texts, label):
        return Part(name, packed(texts), np.full(len(texts), label), np.arange(len(texts)), ("a", "b"), TextForm())

    train = part("train", ["short", "a long text"], 0)
    more = {"file:a": part("file:a", ["one that is longer"], -1), "file:b": part("file:b", ["x"], -1)}
    sets = RowSets(Split(train, part("validation", ["v"], 1), part("test", ["t"], 1)), 0, more.__getitem__)
    found = sets.transfer_set(transfer(["train", "file:a", "file:b"]), False).rows.train
    assert unpacked(found.inputs) == ["short", "a long text", "one that is longer", "x"]
    assert found.labels.tolist() == [0, 0, -1, -1]


def test_the_same_texts_in_two_parts_are_refused_whatever_their_width():
    texts, form = ["one", "two"], TextForm()
    a = Part("file:a", packed(texts), np.full(2, -1), np.arange(2), ("a", "b"), form)
    wide = Part("file:b", np.pad(a.inputs, ((0, 0), (0, 5))), a.labels, a.ids, a.classes, form)
    train = Part("train", packed(["x", "y"]), np.array([0, 1]), np.arange(2), ("a", "b"), form)
    sets = RowSets(Split(train, train.take(np.arange(0)), train), 0, {"file:a": a, "file:b": wide}.__getitem__)
    with pytest.raises(UsageError, match="file:a and file:b are the same rows: leave one of them out"):
        sets.transfer_set(transfer(["train", "file:a", "file:b"]), False)
