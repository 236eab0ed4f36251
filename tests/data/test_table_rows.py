import numpy as np
import pandas
import pyarrow as pa
import pytest
from pyarrow import parquet

from limbeck.data import Column, Reading, TableForm, csv_table, load_dataset, read_table_rows, to_frame
from limbeck.errors import LimbeckError, UsageError

FORM = TableForm((Column("x"), Column("colour", ("blue", "red"), missing=True)))


@pytest.fixture
def csv(tmp_path):
    """A function: a CSV file with this text, by its path."""

    def write(text):
        path = tmp_path / "new.csv"
        path.write_text(text)
        return path

    return write


def test_columns_are_found_by_name_in_any_order_and_further_ones_left_aside(csv):
    rows = read_table_rows(csv("colour,when,x\nred,2020-01-01,1\n,2020-01-02,2.5\n"), FORM)
    np.testing.assert_array_equal(rows.inputs, np.array([[1, 1], [2.5, np.nan]], np.float32))
    assert rows.inputs.dtype == np.float32
    assert rows.labels is None
    assert rows.ids.tolist() == [0, 1]
    assert rows.notes == []


def test_the_rows_that_a_model_was_trained_on_read_as_they_were(tmp_path):
    text = "y,k,a,b\n" + "".join(f"{row % 3},{row},{row / 7},{'uvw'[row % 3]}\n" for row in range(30))
    (tmp_path / "t.csv").write_text(text)
    data = load_dataset(str(tmp_path / "t.csv"), Reading(label="y", id="k"))
    rows = read_table_rows(tmp_path / "t.csv", data.train.form, "y", data.classes, id="k")
    assert rows.inputs.tobytes() == data.train.inputs.tobytes()
    assert (rows.labels == data.train.labels).all()
    assert (rows.ids == data.train.ids).all()


@pytest.mark.parametrize(
    ("colours", "note"),
    [
        (["Z"], '1 row has "Z", which the model has never seen: it counts as unknown'),
        (["Z", "Z", "Z"], '3 rows have "Z", which the model has never seen: they count as unknown'),
        (["Z", "red", "Y", "Y"], '3 rows have "Y", "Z", which the model has never seen: they count as unknown'),
        (list("ABCDEE"), '6 rows have "E", "A", "B", … (5 different texts), which the model has never seen: they count as unknown'),
    ],
)  # fmt: skip
def test_a_category_never_seen_is_unknown_and_noted(csv, colours, note):
    rows = read_table_rows(csv("x,colour\n" + "".join(f"1,{colour}\n" for colour in colours)), FORM)
    assert rows.inputs[:, 1].tolist() == [1 if colour == "red" else -1 for colour in colours]
    assert rows.notes == [f'column "colour": {note}']


def test_a_value_missing_where_none_ever_was_is_noted(csv):
    rows = read_table_rows(csv("x,colour\n,red\n1,\n"), FORM)
    assert np.isnan(rows.inputs[0, 0])
    assert rows.notes == ['column "x": 1 row has no value, which the model has never met here']


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("X,colour", 'has no column "x", expected every column that the model was trained on, did you mean "X"?'),
        ("q,colour", 'has no column "x", expected every column that the model was trained on: found "q", "colour"'),
    ],
)
def test_a_missing_column_is_named(csv, header, message):
    path = csv(f"{header}\n1,red\n")
    with pytest.raises(LimbeckError) as caught:
        read_table_rows(path, FORM)
    assert str(caught.value) == f"{path} {message}"


def test_a_text_where_the_model_has_numbers_is_named_with_its_row(csv, monkeypatch):
    monkeypatch.setattr(csv_table, "_BLOCK_BYTES", 4096)
    path = csv("x,colour\n" + "1,red\n" * 3000 + "one,red\n")
    with pytest.raises(LimbeckError) as caught:
        read_table_rows(path, FORM)
    assert str(caught.value) == (
        f'column "x" of {path} has "one" in row 3000 (counted from 0), expected finite numbers: mend the value, or '
        "leave it empty for a missing one"
    )


def test_labels_are_numbered_by_the_model_s_classes_and_may_be_missing(csv):
    path = csv("x,colour,y\n1,red,10\n1,red,2.0\n1,red,\n")
    assert read_table_rows(path, FORM, "y", ("2", "5", "10")).labels.tolist() == [2, 0, -1]


def test_a_label_that_is_no_class_is_named_with_its_row(csv):
    path = csv("x,colour,y\n1,red,a\n1,red,c\n")
    with pytest.raises(LimbeckError) as caught:
        read_table_rows(path, FORM, "y", ("a", "b"))
    assert str(caught.value) == (
        f'label column "y" of {path} has "c" in row 1 (counted from 0), expected one of the classes "a", "b": mend the '
        "label, or leave it empty for none"
    )


def test_a_label_column_that_is_not_there_is_named(csv):
    path = csv("x,colour\n1,red\n")
    with pytest.raises(LimbeckError) as caught:
        read_table_rows(path, FORM, "y", ("a", "b"))
    assert str(caught.value) == f'{path} has no column "y", expected it to hold the labels: found "x", "colour"'


def test_a_file_without_rows_is_refused(csv):
    path = csv("x,colour\n")
    with pytest.raises(LimbeckError, match="has a header but no rows, expected at least one: use another file"):
        read_table_rows(path, FORM)


def test_parquet_rows_suit_a_model_trained_on_csv(tmp_path):
    table = pa.table({"colour": pa.array(["red", None]).dictionary_encode(), "x": pa.array([3, 4], pa.int8())})
    parquet.write_table(table, tmp_path / "new.parquet")
    rows = read_table_rows(tmp_path / "new.parquet", FORM)
    np.testing.assert_array_equal(rows.inputs, np.array([[3, 1], [4, np.nan]], np.float32))


def test_a_frame_has_the_numbers_and_texts_of_the_file(tmp_path):
    text = "x,colour\n0.23,red\n61.5,\n,blue\n16777216,red\n"
    (tmp_path / "t.csv").write_text(text)
    part = load_dataset(str(tmp_path / "t.csv")).train
    frame = to_frame(part.inputs, part.form)
    read = pandas.read_csv(tmp_path / "t.csv")
    pandas.testing.assert_frame_equal(frame, read, check_dtype=False, check_exact=True)
    assert frame.dtypes.astype(str).tolist() == ["float64", "object"]


def test_a_category_that_is_not_known_is_missing_in_a_frame():
    frame = to_frame(np.array([[1, -1], [2, 0]], np.float32), FORM)
    assert frame["colour"].isna().tolist() == [True, False]


def test_a_frame_of_other_columns_is_refused():
    with pytest.raises(UsageError, match=r"inputs have shape \(4, 3\), expected \(rows, 2\) as in their form"):
        to_frame(np.zeros((4, 3), np.float32), FORM)
