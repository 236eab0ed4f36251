import decimal
import gzip
import io
from pathlib import Path

import numpy as np
import pandas
import pyarrow as pa
import pytest
from pyarrow import parquet

from limbeck.data import Column, Part, Reading, csv_table, describe_table, load_dataset, scratch
from limbeck.data.table import ColumnDescription

PETS = """\
id,age,colour,weight,kind
7,1,red,2.5,cat
3,,blue,3.25,dog
9,4,NA,-1e2,cat
5,2.5,red,?,
"""
READING = Reading(label="kind", id="id")


@pytest.fixture
def csv(tmp_path):
    """A function: a CSV file with this text, by its path."""

    def write(text, name="pets.csv"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def rows_of(inputs):
    return [[None if np.isnan(value) else float(value) for value in row] for row in inputs]


def test_a_csv_table_is_numbers_and_the_codes_of_categories_with_nan_for_what_is_missing(csv):
    source = csv(PETS)
    data = load_dataset(source, READING)
    assert data.name == source
    assert data.test is None
    assert data.train.form.columns == (
        Column("age", None, missing=True),
        Column("colour", ("blue", "red"), missing=True),
        Column("weight", None, missing=True),
    )
    assert data.train.inputs.dtype == np.float32
    assert rows_of(data.train.inputs) == [[1, 1, 2.5], [None, 0, 3.25], [4, None, -100], [2.5, 1, None]]
    assert data.classes == data.train.classes == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 1, 0, -1]
    assert data.train.ids.tolist() == [7, 3, 9, 5]


@pytest.mark.parametrize("missing", [*csv_table.MISSING, " ", " NA "])
def test_every_way_to_write_a_missing_value_is_one(csv, missing):
    data = load_dataset(csv(f"a,b\n1,x\n{missing},{missing}\n3,y\n"))
    assert rows_of(data.train.inputs) == [[1, 0], [None, None], [3, 1]]


def test_a_missing_value_in_the_only_column_is_a_row_too(csv):
    assert rows_of(load_dataset(csv("a\n1\n\n3\n")).train.inputs) == [[1], [None], [3]]


def test_blank_lines_between_rows_of_several_columns_are_no_rows(csv):
    assert rows_of(load_dataset(csv("\na,b\n1,2\n\n3,4\n\n")).train.inputs) == [[1, 2], [3, 4]]


def test_without_a_label_there_are_no_classes_and_no_row_has_one(csv):
    data = load_dataset(csv("a,b\n1,x\n2,x\n"))
    assert data.classes == ()
    assert data.train.labels.tolist() == [-1, -1]
    assert data.train.ids.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("given", "classes", "labels"),
    [
        (["10", "9", "-1", "9"], ("-1", "9", "10"), [2, 1, 0, 1]),
        (["1.0", "0", "+1", ""], ("0", "1"), [1, 0, 1, -1]),
        (["b", "10", "9", "a"], ("10", "9", "a", "b"), [3, 0, 1, 2]),
        (["true", "false", "true", "false"], ("false", "true"), [1, 0, 1, 0]),
        (
            ["9007199254740993", "9007199254740992", "NA", "NA"],
            ("9007199254740992", "9007199254740993"),
            [1, 0, -1, -1],
        ),
    ],
)
def test_classes_that_are_whole_numbers_are_in_their_order_and_others_sorted(csv, given, classes, labels):
    data = load_dataset(csv("a,y\n" + "".join(f"1,{label}\n" for label in given)), Reading(label="y"))
    assert data.classes == classes
    assert data.train.labels.tolist() == labels


def test_numbers_are_read_in_every_way_of_writing_them(csv):
    data = load_dataset(csv("a,b\n+1,x\n.5,x\n 2. ,x\n1E3,x\n-0.25e-2,x\n"))
    assert data.train.inputs[:, 0].tolist() == [1, 0.5, 2, 1000, np.float32(-0.0025)]


def test_what_is_neither_a_number_nor_a_way_to_write_a_missing_one_is_a_text(csv):
    columns = load_dataset(csv("a,b\n1,1\nNAN,-nan\n")).train.form.columns
    assert columns == (Column("a", ("1", "NAN")), Column("b", ("-nan", "1")))


def test_booleans_of_csv_are_categories_with_their_texts(csv):
    assert load_dataset(csv("a,b\nTrue,1\nFalse,2\n")).train.form.columns[0].categories == ("False", "True")


def test_a_column_whose_last_row_is_a_text_is_one_of_categories_with_the_texts_of_the_file(csv, monkeypatch):
    monkeypatch.setattr(csv_table, "_BLOCK_BYTES", 64)
    data = load_dataset(csv("a,b\n" + "01,5\n1.0,6\n" * 200 + "one,7\n"))
    assert data.train.form.columns[0].categories == ("01", "1.0", "one")
    assert data.train.inputs[-3:].tolist() == [[0, 5], [1, 6], [2, 7]]


def test_columns_are_read_as_the_recipe_says(csv):
    reading = Reading(categorical=("zip",), ignore=("name",))
    data = load_dataset(csv("name,zip,x\nann,01,1\nbob,02,2\n"), reading)
    assert data.train.form.columns == (Column("zip", ("01", "02")), Column("x"))


def test_a_category_in_quotes_keeps_commas_quotes_and_line_ends(csv):
    data = load_dataset(csv('a,b\n"x, ""y""\nz",1\n w ,2\n'))
    assert data.train.form.columns[0].categories == (" w ", 'x, "y"\nz')


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("t.csv", lambda text: text.encode()),
        ("t.CSV", lambda text: text.encode()),
        ("t.csv", lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()),
        ("t.csv", lambda text: text.rstrip("\n").encode()),
        ("t.csv.gz", lambda text: gzip.compress(text.encode())),
        ("t.csv.gz", lambda text: gzip.compress(text[:30].encode()) + gzip.compress(text[30:].encode())),
        ("t.tsv", lambda text: text.replace(",", "\t").encode()),
        ("t.tsv.gz", lambda text: gzip.compress(text.replace(",", "\t").encode())),
    ],
)
def test_every_form_of_csv_reads_alike(tmp_path, csv, name, pack):
    plain = load_dataset(csv(PETS), READING).train
    (tmp_path / name).write_bytes(pack(PETS))
    part = load_dataset(str(tmp_path / name), READING).train
    assert (part.inputs_hash, part.labels_hash) == (plain.inputs_hash, plain.labels_hash)


def test_parquet_and_csv_of_the_same_table_have_the_same_hashes(tmp_path, csv):
    plain = load_dataset(csv(PETS), READING).train
    frame = pandas.read_csv(io.StringIO(PETS), na_values=["?"])
    frame.to_parquet(tmp_path / "pets.parquet")
    part = load_dataset(str(tmp_path / "pets.parquet"), READING).train
    assert (part.inputs_hash, part.labels_hash) == (plain.inputs_hash, plain.labels_hash)


def test_parquet_s_own_types_decide_what_is_a_number(tmp_path):
    table = pa.table(
        {
            "text": pa.array(["1", "2", None]),
            "whole": pa.array([1, None, 3], pa.uint8()),
            "half": pa.array([0.5, float("nan"), None], pa.float16()),
            "decimal": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("2.25")]),
            "flag": pa.array([True, False, None]),
            "coded": pa.array(["b", "a", "b"]).dictionary_encode(),
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    part = load_dataset(str(tmp_path / "t.parquet")).train
    assert [column.categories for column in part.form.columns] == [
        ("1", "2"), None, None, None, ("false", "true"), ("a", "b")
    ]  # fmt: skip
    assert rows_of(part.inputs) == [[0, 1, 0.5, 1.5, 1, 1], [1, None, None, None, 0, 0], [None, 3, None, 2.25, None, 1]]


def test_texts_of_parquet_are_numbers_where_the_recipe_says_so(tmp_path):
    parquet.write_table(pa.table({"a": ["1", "2.5"]}), tmp_path / "t.parquet")
    part = load_dataset(str(tmp_path / "t.parquet"), Reading(numeric=("a",))).train
    assert part.inputs.tolist() == [[1], [2.5]]


def test_the_index_that_pandas_wrote_is_no_column(tmp_path):
    pandas.DataFrame({"a": [1, 2, 3]}).iloc[[2, 0]].to_parquet(tmp_path / "t.parquet")
    part = load_dataset(str(tmp_path / "t.parquet")).train
    assert part.form.names == ("a",)
    assert part.inputs.tolist() == [[3], [1]]


def test_ids_are_exact_where_floats_are_not(tmp_path):
    large = [2**53 + 1, 2**63 - 1]
    parquet.write_table(pa.table({"id": large, "a": [1, 2]}), tmp_path / "t.parquet")
    assert load_dataset(str(tmp_path / "t.parquet"), Reading(id="id")).train.ids.tolist() == large
    (tmp_path / "t.csv").write_text(f"id,a\n{large[0]},1\n{large[1]},2\n")
    assert load_dataset(str(tmp_path / "t.csv"), Reading(id="id")).train.ids.tolist() == large


def test_a_large_table_lies_in_a_file_and_is_read_by_chunks(tmp_path, csv, monkeypatch):
    text = "a,b,y\n" + "".join(f"{row},{'xyz'[row % 3]},{row % 2}\n" for row in range(5000))
    plain = load_dataset(csv(text), Reading(label="y")).train
    monkeypatch.setattr(csv_table, "_BLOCK_BYTES", 4096)
    monkeypatch.setattr(scratch, "LARGE_BYTES", 10_000)
    part = load_dataset(csv(text), Reading(label="y")).train
    assert isinstance(part.inputs, np.memmap)
    assert not isinstance(plain.inputs, np.memmap)
    assert (part.inputs_hash, part.labels_hash) == (plain.inputs_hash, plain.labels_hash)


def test_a_table_splits_like_any_data_set(csv):
    text = "a,y\n" + "".join(f"{row},{row % 2}\n" for row in range(40))
    split = load_dataset(csv(text), Reading(label="y")).split(validation=8, test=0.25)
    assert isinstance(split.train, Part)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [22, 8, 10]
    assert split.test.form == split.train.form


def test_a_table_is_described_column_by_column(csv):
    text = "n,c,name,none,y\n" + "".join(
        f"{row % 5},{'xy'[row % 2] if row else ''},p{row},,{row}\n" for row in range(60)
    )
    described = describe_table(Path(csv(text)))
    unique = (
        "has 60 different texts in 60 rows, expected numbers or categories that come again: leave it out with "
        'data.ignore = ["name"], or keep it with data.categorical = ["name"]'
    )
    empty = 'has no value in any row, expected some: leave it out with data.ignore = ["none"]'
    assert described.rows == 60
    assert described.columns == (
        ColumnDescription(name="n", kind="numeric", distinct=5, missing=0),
        ColumnDescription(name="c", kind="categorical", distinct=2, missing=1),
        ColumnDescription(name="name", kind="unusable", distinct=60, missing=0, reason=unique),
        ColumnDescription(name="none", kind="unusable", distinct=0, missing=60, reason=empty),
        ColumnDescription(name="y", kind="numeric", distinct=60, missing=0),
    )


def test_different_values_are_counted_up_to_1001(csv):
    for rows in (1000, 1001, 5000):
        path = csv("a\n" + "".join(f"{row}\n" for row in range(rows)))
        assert describe_table(Path(path)).columns[0].distinct == min(rows, 1001)


def test_columns_of_types_that_are_no_inputs_are_described_as_such(tmp_path):
    table = pa.table({"when": pa.array([0], pa.timestamp("s")), "list": [[1]], "a": [1.0]})
    parquet.write_table(table, tmp_path / "t.parquet")
    when, list_, a = describe_table(tmp_path / "t.parquet").columns
    assert when.reason == (
        'is of type timestamp[ms], expected numbers, texts or booleans: leave it out with data.ignore = ["when"], or '
        "write it as one of these"
    )
    assert (when.kind, list_.kind, a.kind) == ("unusable", "unusable", "numeric")
