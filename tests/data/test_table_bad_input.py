"""What is wrong with a table is said in one line: where, what was found, what was expected, what to do."""

import datetime
import gzip
import sys

import pyarrow as pa
import pytest
from pyarrow import parquet

from limbeck.data import Reading, csv_table, load_dataset
from limbeck.errors import LimbeckError, UsageError

MANY = "".join(f"t{row % 1001},{row}\n" for row in range(3000))
NAMES = "".join(f"p{row},{row}\n" for row in range(51))


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """A function: the message for a file of this content, the file being called FILE."""

    def call(content, name="t.csv", error=LimbeckError, **reading):
        monkeypatch.chdir(tmp_path)
        if content is not None:
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(LimbeckError) as caught:
            load_dataset(name, Reading(**reading))
        assert type(caught.value) is error
        message = str(caught.value)
        assert "\n" not in message
        return message.replace(name, "FILE")

    return call


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("a,b\n1,2\n3\n", 3, "1 field"),
        ("a,b\n1,2,3\n", 2, "3 fields"),
        ("a,b\n\n1,2\n\n3,4,5\n", 5, "3 fields"),
        ('a,b\n"x\ny\nz",2\n3,4,5,6\n', 5, "4 fields"),
        ("a,b\r\n1,2\r\n3\r\n", 3, "1 field"),
        ("a,b\n" + "1,2\n" * 30000 + "3,4,5\n", 30002, "3 fields"),
    ],
)
def test_a_ragged_row_is_named_by_its_line(refused, monkeypatch, text, line, found):
    monkeypatch.setattr(csv_table, "_BLOCK_BYTES", 4096)
    assert refused(text) == (
        f"line {line} of FILE has {found}, expected 2 as in its header: mend the line (a field with commas in it "
        "stands in double quotes)"
    )


def test_a_ragged_row_of_a_gzipped_file_is_named_too(refused):
    assert refused(gzip.compress(b"a,b\n1,2\n3\n"), "t.csv.gz").startswith("line 3 of FILE has 1 field, expected 2")


def test_a_quote_that_is_never_closed_is_named(refused, monkeypatch):
    monkeypatch.setattr(csv_table, "_BLOCK_BYTES", 4096)
    assert refused('a,b\n1,2\n3,"4\n' + "5,6\n" * 100_000) == (
        'the row of FILE that starts in line 3 does not end: mend the double quote (") that is opened there and never '
        "closed"
    )


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_file_is_refused(refused, text):
    assert refused(text) == "FILE is empty, expected a table with a header: use another file"


@pytest.mark.parametrize("text", ["a,b", "a,b\n", "a,b\n\n\n", "a\n"])
def test_a_header_alone_is_refused(refused, text):
    assert refused(text) == "FILE has a header but no rows, expected at least one: use another file"


def test_parquet_without_rows_is_refused(refused, tmp_path):
    parquet.write_table(pa.table({"a": pa.array([], pa.float32())}), tmp_path / "t.parquet")
    assert refused(None, "t.parquet") == "FILE has a header but no rows, expected at least one: use another file"


@pytest.mark.parametrize(
    ("content", "line", "byte", "place"),
    [
        (b"a,b\n1,2\nx\xe9,3\n", 3, "e9", 2),
        (b"a\xff,b\n1,2\n", 1, "ff", 2),
        ("a,b\n1,2\n".encode("utf-16"), 1, "ff", 1),
    ],
)
def test_a_file_that_is_not_utf_8_is_named_with_line_and_byte(refused, content, line, byte, place):
    assert (
        refused(content)
        == f"line {line} of FILE is not UTF-8 (byte 0x{byte} at place {place}): write the file in UTF-8"
    )


def test_a_file_that_is_not_there_is_refused(refused):
    assert refused(None, error=UsageError) == "table FILE does not exist, expected a file: check the path"


def test_without_pyarrow_it_is_said_how_to_get_it(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refused("a,b\n1,2\n") == 'reading tables needs pyarrow: pip install "limbeck[data]"'


def test_a_folder_is_no_table(refused, tmp_path):
    (tmp_path / "t.csv").mkdir()
    assert refused(None, error=UsageError) == "table FILE is not a file, expected a file: check the path"


def test_what_is_no_parquet_is_refused(refused):
    message = refused("a,b\n1,2\n" * 10, "t.parquet")
    assert message.startswith("FILE is no Parquet file (")
    assert message.endswith("): write it anew, or change its ending")


def test_damaged_pages_of_parquet_are_refused(refused, tmp_path):
    parquet.write_table(
        pa.table({"a": [float(row) for row in range(1000)]}), tmp_path / "t.parquet", compression="zstd"
    )
    content = bytearray((tmp_path / "t.parquet").read_bytes())
    content[50:400] = b"\0" * 350
    message = refused(bytes(content), "t.parquet")
    assert message.startswith("FILE is damaged (")
    assert message.endswith("), expected a whole Parquet file: write it anew")


def test_a_gzip_file_that_is_none_or_cut_short_is_refused(refused):
    assert refused("a,b\n1,2\n", "t.csv.gz").startswith("FILE is damaged (Not a gzipped file")
    text = "a,b\n" + "".join(f"{row},{row * row % 9973}\n" for row in range(20000))
    message = refused(gzip.compress(text.encode())[:-3000], "t.csv.gz")
    assert message.startswith("FILE cannot be read as a table (")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("a;b", "the header of FILE has semicolons between names, expected commas: write it with commas"),
        ("a\tb", "the header of FILE has tabs between names, expected commas: write it with commas, or let its name end in .tsv"),
        ("a,b,a", 'FILE has 2 columns named "a": give every column its own name'),
        (
            ",a",
            "column 1 of FILE has no name in the header, expected one for each of its 2 columns: name it (pandas writes "
            "such a column for its index, unless told index=False)",
        ),
    ],
)  # fmt: skip
def test_a_header_that_names_no_columns_is_refused(refused, header, message):
    assert refused(f"{header}\n1,2,3\n") == message


@pytest.mark.parametrize("setting", ["label", "id", "ignore", "numeric", "categorical"])
def test_a_column_that_is_not_there_is_named_with_the_nearest(refused, setting):
    given = "colour" if setting in ("label", "id") else ("colour",)
    message = f'data.{setting} names the column "colour", but FILE has none of that name'
    assert refused("color,b\n1,2\n", error=UsageError, **{setting: given}) == f'{message}, did you mean "color"?'
    found = refused("a,b\n1,2\n", error=UsageError, **{setting: given})
    assert found == f'{message}, expected one of "a", "b": check the name'


def test_a_column_in_two_settings_is_refused(refused):
    assert refused("a,b\n1,2\n", error=UsageError, label="a", ignore=("a",)) == (
        'column "a" is named by data.label and by data.ignore, expected by one of them: take it out of the other'
    )


def test_a_table_without_inputs_is_refused(refused):
    assert refused("a,b\n1,2\n", label="a", ignore=("b",)) == (
        "FILE has no column left to learn from, expected at least one: ignore fewer"
    )


def test_a_text_in_a_column_of_numbers_is_named_with_its_row(refused, monkeypatch):
    monkeypatch.setattr(csv_table, "_BLOCK_BYTES", 4096)
    assert refused("a,b\n" + "1,2\n" * 5000 + "x,2\n", numeric=("a",)) == (
        'column "a" of FILE has "x" in row 5000 (counted from 0), expected numbers, as data.numeric says: mend the '
        "value, or take the column out of data.numeric"
    )


@pytest.mark.parametrize("value", ["inf", "-Infinity", "1e39", "1e999"])
def test_a_number_beyond_float32_is_named_with_its_row(refused, value):
    assert refused(f"a,b\n1,2\n{value},3\n") == (
        f'column "a" of FILE has {value} in row 1 (counted from 0), expected finite numbers that float32 can hold: '
        'mend the value, or leave it empty for a missing one, or leave it out with data.ignore = ["a"]'
    )


def test_a_column_of_too_many_categories_is_to_be_ignored(refused):
    assert refused("a,b\n" + MANY) == (
        'column "a" of FILE has more than 1,000 different texts, expected numbers or categories that come again: leave '
        'it out with data.ignore = ["a"]'
    )
    assert "more than 1,000" in refused("a,b\n" + MANY, categorical=("a",))


def test_a_column_of_sentences_may_be_what_to_learn_from(refused):
    rows = "".join(f"film {row} is a fine one,{row % 2}\n" for row in range(60))
    assert refused(f"a,b\n{rows}") == (
        'column "a" of FILE has 60 different texts in 60 rows, expected numbers or categories that come again: learn '
        'from these texts alone, with an encoder, by data.text = "a", or leave it out with data.ignore = ["a"], or keep it with '
        'data.categorical = ["a"]'
    )


def test_the_one_text_among_numbers_is_named_where_they_are_too_many_categories(refused):
    rows = "".join(f"{row},1\n" for row in range(2000))
    assert refused(f"a,b\n{rows}n.a.,2\n") == (
        'column "a" of FILE has more than 1,000 different texts (the first that is no number: "n.a." in row 2000, '
        'counted from 0), expected numbers or categories that come again: leave it out with data.ignore = ["a"]'
    )


def test_a_column_of_names_is_to_be_ignored_unless_it_is_asked_for(refused, tmp_path):
    assert refused('"a ""b""",c\n' + NAMES) == (
        'column "a "b"" of FILE has 51 different texts in 51 rows, expected numbers or categories that come again: '
        'leave it out with data.ignore = ["a \\"b\\""], or keep it with data.categorical = ["a \\"b\\""]'
    )
    (tmp_path / "t.csv").write_text("a,b\n" + NAMES)
    kept = load_dataset(str(tmp_path / "t.csv"), Reading(categorical=("a",))).train
    assert len(kept.form.columns[0].categories) == 51


def test_a_column_without_any_value_is_to_be_ignored(refused, tmp_path):
    message = 'column "a" of FILE has no value in any row, expected some: leave it out with data.ignore = ["a"]'
    assert refused("a,b\n,1\nNA,2\n") == message
    parquet.write_table(pa.table({"a": [None, None], "b": [1, 2]}), tmp_path / "t.parquet")
    assert refused(None, "t.parquet") == message


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (datetime.date(2020, 1, 1), "date32[day]"),
        (datetime.datetime(2020, 1, 1), "timestamp[us]"),
        (b"x", "binary"),
        ([1.0], "list<element: double>"),
    ],
)
def test_a_column_of_another_type_is_to_be_ignored(refused, tmp_path, value, kind):
    parquet.write_table(pa.table({"when": [value, value], "a": [1, 2]}), tmp_path / "t.parquet")
    assert refused(None, "t.parquet") == (
        f'column "when" of FILE is of type {kind}, expected numbers, texts or booleans: leave it out with data.ignore = '
        '["when"], or write it as one of these'
    )
    assert load_dataset(str(tmp_path / "t.parquet"), Reading(ignore=("when",))).train.form.names == ("a",)
    assert refused(None, "t.parquet", label="when") == (
        f'column "when" of FILE is of type {kind}, expected numbers, texts or booleans: write it as one of these'
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,x\n2,x\n", 'has "x" in every row, expected at least two classes: name another column as data.label'),
        ("1,\n2,NA\n", "has no value in any row, expected at least two classes: name another column as data.label"),
        (
            "1,0.5\n2,1\n",
            'has numbers such as "0.5", expected classes (whole numbers or texts): limbeck learns classes and no '
            "quantities; cut it into classes, or name another column as data.label",
        ),
        (
            "".join(f"1,{row}\n" for row in range(1001)),
            "has more than 1,000 different values, expected classes that come again: limbeck learns classes and no "
            "quantities; cut it into classes, or name another column as data.label",
        ),
    ],
)
def test_labels_that_are_no_classes_are_refused(refused, rows, message):
    assert refused("a,y\n" + rows, label="y") == f'label column "y" of FILE {message}'


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["4", "7", "4", "7"], "has 4 in row 0 and again in row 2 (counted from 0), expected every id once"),
        (["4", "", "4"], "has no value in row 1 (counted from 0), expected a whole number of 0 or more"),
        (["4", "1.5"], 'has "1.5" in row 1 (counted from 0), expected a whole number of 0 or more'),
        (["4", "-1"], 'has "-1" in row 1 (counted from 0), expected a whole number of 0 or more'),
        (["x1", "x2"], 'has "x1" in row 0 (counted from 0), expected a whole number of 0 or more'),
        (["9223372036854775808", "1"], 'has "9223372036854775808" in row 0 (counted from 0), expected a whole number of 0 or more'),
    ],
)  # fmt: skip
def test_ids_that_do_not_tell_rows_apart_are_refused(refused, ids, message):
    text = "key,a\n" + "".join(f"{one},1\n" for one in ids)
    assert refused(text, id="key") == (
        f'id column "key" of FILE {message}: mend it, or take data.id out to number the rows'
    )
