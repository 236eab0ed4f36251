"""A test set in a file of its own."""

import json

import numpy as np
import pytest

from limbeck.data import Reading, load_dataset
from limbeck.data.test_file import with_test_file
from limbeck.errors import LimbeckError, UsageError

TEXTS = Reading(label="label")
TABLE = Reading(label="kind", id="number")


def jsonl(path, rows):
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return path


def csv(path, rows, head="number,width,colour,kind"):
    path.write_text("\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.fixture
def texts(tmp_path):
    path = jsonl(tmp_path / "train.jsonl", [("good", "pos"), ("bad", "neg"), ("fine", "pos"), ("poor", "neg")])
    return load_dataset(str(path), TEXTS)


@pytest.fixture
def table(tmp_path):
    path = csv(tmp_path / "train.csv", [(1, 0.5, "red", "b"), (2, 1.5, "blue", "a"), (3, 2.5, "red", "b")])
    return load_dataset(str(path), TABLE)


def test_texts_are_read_as_the_training_texts_are_and_labels_by_name(texts, tmp_path):
    jsonl(tmp_path / "test.jsonl", [("so so, and a good deal longer", "pos"), ("  ", "neg"), ("bad", "neg")])
    notes = []
    both = with_test_file(texts, "test.jsonl", TEXTS, beside=tmp_path, say=notes.append)
    assert both.train is texts.train
    assert both.test.labels.tolist() == [1, 0]
    assert both.test.ids.tolist() == [0, 2]
    assert (both.test.classes, both.test.form) == (texts.classes, texts.train.form)
    assert bytes(both.test.inputs[0]).rstrip(b"\0").endswith(b"so so, and a good deal longer")
    assert notes == ["test.jsonl: 1 row has an empty text (line 2) and is left out"]
    split = both.split(validation=1)
    assert split.test is both.test
    assert len(split.train) == 3


def test_a_table_s_columns_are_found_by_name_and_what_is_new_is_said(table, tmp_path):
    csv(tmp_path / "test.csv", [("a", 9, "green", 0.25), ("b", 8, "red", "")], "kind,number,colour,width")
    notes = []
    test = with_test_file(table, "test.csv", TABLE, beside=tmp_path, say=notes.append).test
    assert test.ids.tolist() == [9, 8]
    assert test.labels.tolist() == [0, 1]
    width = table.train.form.names.index("width")
    np.testing.assert_array_equal(test.inputs[:, width], np.float32([0.25, np.nan]))
    assert notes == [
        'test.csv: column "width": 1 row has no value, which the teacher has never met here',
        'test.csv: column "colour": 1 row has "green", which the teacher has never seen: it counts as unknown',
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("none.jsonl", "none.jsonl does not exist, expected a file of texts: check the path"),
        ("plain.txt", "plain.txt is no file of texts with labels: its name does not end in .jsonl"),
        ("odd.jsonl", 'label column "label" of {folder}/odd.jsonl has "great" in line 1, expected one of the classes'),
        ("odd.png", "odd.png is no file of texts with labels: its name does not end in .jsonl"),
    ],
)
def test_what_cannot_be_a_test_set_of_texts_is_one_line(texts, tmp_path, given, message):
    (tmp_path / "plain.txt").write_text("good\n")
    (tmp_path / "odd.png").write_bytes(b"x")
    jsonl(tmp_path / "odd.jsonl", [("good", "great")])
    with pytest.raises(LimbeckError) as error:
        with_test_file(texts, given, TEXTS, beside=tmp_path)
    assert message.format(folder=tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_table_without_the_columns_is_refused(table, tmp_path):
    csv(tmp_path / "test.csv", [(1, "b")], "width,kind")
    with pytest.raises(
        LimbeckError, match=r'test\.csv has no column "colour", expected every column that the teacher was'
    ):
        with_test_file(table, "test.csv", TABLE, beside=tmp_path)
    with pytest.raises(UsageError, match=r"test\.jsonl is no table"):
        with_test_file(table, "test.jsonl", TABLE, beside=tmp_path)


def test_data_with_a_test_set_or_without_columns_take_none():
    digits, mnist = load_dataset("digits"), load_dataset("mnist")
    with pytest.raises(UsageError, match=r"goes with a table or texts, and digits is neither"):
        with_test_file(digits, "x.csv", Reading())
    with pytest.raises(UsageError, match=r"mnist has a test set of its own \(10000 rows\): leave test out"):
        with_test_file(mnist, "x.csv", Reading())


def test_ids_of_texts_are_those_of_the_file(tmp_path):
    reading = Reading(label="label", id="number")
    for name, first in (("train", 1000), ("test", 5)):
        rows = [{"text": f"{name} {row}", "label": "ab"[row % 2], "number": first - row} for row in range(4)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = load_dataset(str(tmp_path / "train.jsonl"), reading)
    assert with_test_file(texts, str(tmp_path / "test.jsonl"), reading).test.ids.tolist() == [5, 4, 3, 2]
    csv(tmp_path / "test.csv", [("one", "a"), ("two", "b")], "text,label")
    assert with_test_file(texts, str(tmp_path / "test.csv"), reading).test.ids.tolist() == [0, 1]


def test_rows_without_a_label_and_the_training_file_itself_are_refused(texts, tmp_path):
    jsonl(tmp_path / "test.jsonl", [("new", "pos"), ("newer", None)])
    with pytest.raises(LimbeckError, match=r"test\.jsonl has no label in 1 of 2 rows, first in that with id 1: test"):
        with_test_file(texts, "test.jsonl", TEXTS, beside=tmp_path)
    with pytest.raises(LimbeckError, match=r"train\.jsonl: all of its 4 rows are rows of .*, too"):
        with_test_file(texts, "train.jsonl", TEXTS, beside=tmp_path)
