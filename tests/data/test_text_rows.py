"""Texts as data sources and as unlabelled parts: read whole, or refused in one line that names the line."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from pydantic import ValidationError

from limbeck.data import Part, Reading, Split, TextForm, load_dataset, shared_rows
from limbeck.data import text_rows as reading_of_texts
from limbeck.data.texts import BETWEEN, byte_lengths, packed, unpacked, widened
from limbeck.data.unlabelled import check_held_out, unlabelled_part
from limbeck.errors import LimbeckError, UsageError
from limbeck.recipe.data import Data

ROWS = [
    {"text": "a fine film", "label": "good", "id": 7, "stars": 5},
    {"text": "tedious — très long", "label": "bad", "id": 3},
    {"text": "it is a film", "label": None, "id": 4},
    {"text": "fine", "label": "good", "id": 9},
]


@pytest.fixture
def written(tmp_path):
    """A function: a file with these rows as JSON lines, or with this content; its path."""

    def write(rows, name="data.jsonl"):
        content = rows if isinstance(rows, bytes) else "".join(json.dumps(row) + "\n" for row in rows).encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return tmp_path / name

    return write


def loaded(path, **reading):
    return load_dataset(str(path), Reading(**reading))


def refused(path, error=LimbeckError, **reading):
    with pytest.raises(LimbeckError) as caught:
        loaded(path, **reading)
    assert caught.type is error
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path), "FILE")


# ---------------------------------------------------------------- sources


@pytest.mark.parametrize("name", ["data.jsonl", "data.ndjson", "data.jsonl.gz"])
def test_json_lines_are_texts_with_sorted_classes(written, name):
    data = loaded(written(ROWS, name), label="label")
    assert data.classes == ("bad", "good")
    assert data.train.labels.tolist() == [1, 0, -1, 1]
    assert data.train.ids.tolist() == [0, 1, 2, 3]
    assert unpacked(data.train.inputs) == [row["text"] for row in ROWS]
    assert (data.train.form, data.test, data.notes) == (TextForm(), None, ())


def test_ids_are_taken_where_a_column_is_named(written):
    assert loaded(written(ROWS), id="id").train.ids.tolist() == [7, 3, 4, 9]


def test_without_a_label_all_rows_are_unlabelled(written):
    data = loaded(written(ROWS))
    assert (data.classes, data.train.labels.tolist()) == ((), [-1] * 4)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([2, 10, 1], ("1", "2", "10")),
        ([True, False, None], ("false", "true")),
        ([1.0, None, 0.0], ("0", "1")),
        (["10", "9", ""], ("9", "10")),
    ],
)
def test_labels_may_be_whole_numbers_or_booleans(written, labels, classes):
    path = written([{"text": "x y", "label": label} for label in labels])
    assert loaded(path, label="label").classes == classes


def test_a_table_holds_texts_where_its_text_column_is_named(written, tmp_path):
    path = written(b'review,stars,mood\n"good, really",5,1\nnull,4,1\nNA,1,0\nlong,2,\n', "data.csv")
    data = loaded(path, text=("review",), label="mood")
    assert unpacked(data.train.inputs) == ["good, really", "null", "NA", "long"]
    assert (data.classes, data.train.labels.tolist()) == (("0", "1"), [1, 1, 0, -1])
    assert data.train.form == TextForm(("review",))
    table = pa.table({"review": ["a b", "c d"], "mood": [True, False]})
    parquet.write_table(table, tmp_path / "data.parquet")
    assert loaded(tmp_path / "data.parquet", text=("review",), label="mood").train.labels.tolist() == [1, 0]


def test_two_columns_are_pairs(written):
    path = written([{"a": "it rains", "b": "it is wet"}, {"a": "it\x1frains", "b": ""}])
    data = loaded(path, text=("a", "b"))
    assert unpacked(data.train.inputs) == [f"it rains{BETWEEN}it is wet", f"it rains{BETWEEN}"]
    assert data.train.form == TextForm(("a", "b"))


def test_plain_text_has_a_row_in_each_line_that_holds_something(written):
    data = loaded(written("\ufeffone\r\n\r\n  two \n".encode(), "data.txt"))
    assert unpacked(data.train.inputs) == ["one", "two"]
    assert data.train.ids.tolist() == [0, 1]


def test_white_space_around_a_text_is_left_out_whatever_the_file(written):
    for content, name, reading in (
        (b'{"text": " it rains\\n"}\n', "data.jsonl", {}),
        (b'text\n"\tit rains "\n', "data.csv", {"text": ("text",)}),
        (b" it rains \n", "data.txt", {}),
    ):
        assert unpacked(loaded(written(content, name), **reading).train.inputs) == ["it rains"]


def test_empty_texts_are_left_out_and_counted(written):
    rows = [ROWS[0], {"text": " ", "label": "bad"}, ROWS[1], {"text": None, "label": "bad"}]
    data = loaded(written(rows), label="label")
    assert data.train.ids.tolist() == [0, 2]
    assert data.notes == ("2 rows have an empty text (the first: line 2) and are left out",)
    data = loaded(written(b"t,y\na b,1\n,2\nc,2\n", "data.csv"), text=("t",), label="y")
    assert data.notes == ("1 row has an empty text (row 1, counted from 0) and is left out",)


def test_an_endless_text_is_cut_at_a_whole_character_and_counted(written, monkeypatch):
    monkeypatch.setattr(reading_of_texts, "LONGEST_BYTES", 8)
    data = loaded(written([{"text": "ééééé"}, {"text": "short"}]))
    assert unpacked(data.train.inputs) == ["éééé", "short"]
    assert data.notes == ("1 text is longer than 8 bytes and cut there",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "a"}\n{"text": \n', "line 2 of FILE is not JSON (Expecting value), expected an object in every "),
        (b'{"text": "a"}\n\n["b"]\n', "line 3 of FILE is a list, expected an object, such as "),
        (b'{"test": "a"}\n', 'line 1 of FILE has no "text", expected a text there, did you mean "test"?'),
        (b'{"x": "a", "y": 1}\n', 'line 1 of FILE has no "text", expected a text there: it has "x", "y"'),
        (b'{"text": 5}\n', '"text" in line 1 of FILE is the number 5, expected a text: write it in double quotes'),
        (
            b'{"text": "a"}\n{"text": "\xe9"}\n',
            "line 2 of FILE is not UTF-8 (byte 0xe9 at place 11): write the file in",
        ),
        (b'{"text": "\\ud800"}\n', '"text" in line 1 of FILE has half a character in it (a lone surrogate): write it'),
        (b"[" * 100_000 + b"\n", "line 1 of FILE is not JSON ("),
        (b"", "FILE is empty, expected at least one text: use another file"),
        (b"\n \n", "FILE is empty, expected at least one text: use another file"),
        (b'{"text": " "}\n', "FILE holds no text in its row, expected at least one text: use another file"),
    ],
)
def test_bad_json_lines_are_refused_with_their_line(written, content, message):
    assert refused(written(content)).startswith(message)


def test_bad_labels_and_ids_are_refused_with_their_line(written):
    path = written([{"text": "a", "label": "x", "id": 1}, {"text": "b", "label": 0.5, "id": 1}])
    assert refused(path, label="label").startswith('the label "label" in line 2 of FILE is the number 0.5, expected a ')
    assert refused(path, id="id").startswith(
        'id column "id" of FILE has 1 in line 1 and again in line 2, expected every'
    )
    assert refused(path, id="no").startswith('id column "no" of FILE has no value in line 1, expected a whole number ')
    assert refused(written([{"text": "a", "label": None}]), label="label").startswith(
        'label column "label" of FILE has no value in any row, expected at least '
    )


def test_a_damaged_gzip_file_is_refused(written, tmp_path):
    path = written(ROWS * 50, "data.jsonl.gz")
    path.write_bytes(path.read_bytes()[:-20])
    assert refused(path).startswith("FILE is damaged (")


def test_files_and_columns_that_are_not_there_are_refused(written, tmp_path):
    assert (
        refused(tmp_path / "gone.jsonl", UsageError) == "FILE does not exist, expected a file of texts: check the path"
    )
    path = written(b"review,stars\na,1\n", "data.csv")
    assert refused(path, UsageError, text=("reviews",)) == (
        'data.text names the column "reviews", but FILE has none of that name, did you mean "review"?'
    )
    assert refused(path, UsageError, text=("review",), label="y").startswith(
        'data.label names the column "y", but FILE'
    )


def test_a_label_that_no_line_has_is_refused_and_one_that_some_have_is_not(written):
    path = written(ROWS)
    message = 'data.label names "lable", but no line of FILE has it, did you mean "label"?'
    assert refused(path, UsageError, label="lable") == message
    assert refused(path, UsageError, label="zzz").endswith('has it: they have "text", "label", "id", "stars"')
    path = written([{"text": "a"}, {"text": "b", "stars": 1}, {"text": "c", "stars": 2}])
    assert loaded(path, label="stars").train.labels.tolist() == [-1, 0, 1]


def test_numbers_are_no_texts(tmp_path):
    parquet.write_table(pa.table({"t": [1, 2]}), tmp_path / "data.parquet")
    assert refused(tmp_path / "data.parquet", text=("t",)) == (
        'column "t" of FILE holds numbers, expected texts: name another with data.text'
    )


def test_settings_that_do_not_apply_are_refused(written):
    path = written(b"a b\n", "data.txt")
    assert refused(path, UsageError, label="y").startswith('data.label does not apply to data source "FILE", which has')
    path = written(ROWS)
    assert refused(path, UsageError, ignore=("x",)) == (
        'data.ignore does not apply to data source "FILE", expected at most data.text, data.label, data.id: take it out'
    )
    assert "data.text does not apply" in refused("digits", UsageError, text=("x",))


# ---------------------------------------------------------------- as rows of a part


def of(texts, form=None, ids=None):
    labels = np.full(len(texts), -1)
    return Part("p", packed(texts), labels, np.arange(len(texts)) if ids is None else ids, ("x",), form or TextForm())


def test_a_hash_does_not_depend_on_the_width(written):
    narrow = of(["a", "bc"])
    wide = Part("w", widened(narrow.inputs, 9), narrow.labels, narrow.ids, ("x",), TextForm())
    assert narrow.inputs_hash == wide.inputs_hash
    assert (narrow.row_hashes == wide.row_hashes).all()
    assert narrow.inputs_hash != of(["ab", "c"]).inputs_hash
    assert narrow.inputs_hash != of(["a", "bc"], ids=np.array([1, 2])).inputs_hash


def test_shared_rows_are_found_whatever_the_width():
    assert shared_rows(of(["abc", "x", "y"]), of(["y", "abc"])).tolist() == [0, 2]
    assert shared_rows(of(["abc"]), Part("n", packed(["abc"]), np.array([-1]), np.array([0]), ("x",))).tolist() == []


def test_lengths_are_those_of_the_bytes():
    assert byte_lengths(packed(["é", "", "abc"])).tolist() == [2, 0, 3]


# ---------------------------------------------------------------- without labels


@pytest.fixture
def like(written):
    return loaded(written(ROWS), label="label").train


def unlabelled(path, like, **reading):
    said = []
    part = unlabelled_part(f"file:{path}", like, Reading(**reading), say=said.append)
    assert (part.classes, part.form, set(part.labels)) == (like.classes, like.form, {-1})
    return part, [one.removeprefix(f"file:{path}: ") for one in said]


def test_json_lines_plain_text_and_tables_go_with_texts(written, like):
    part, said = unlabelled(written([{"text": "more of it", "x": 1}, {"text": ""}], "more.jsonl"), like)
    assert unpacked(part.inputs) == ["more of it"]
    assert said == ["1 row has an empty text (line 2) and is left out"]
    assert unpacked(unlabelled(written(b"one\ntwo\n", "more.txt"), like)[0].inputs) == ["one", "two"]
    part, said = unlabelled(written(b"text,label,id\nx y,good,5\n", "more.csv"), like, label="label", id="id")
    assert (unpacked(part.inputs), part.ids.tolist()) == (["x y"], [5])
    assert said == ['the label column "label" is left aside: these rows count as unlabelled']


def test_files_of_another_kind_do_not_go_with_texts(written, like, tmp_path):
    np.save(tmp_path / "more.npy", np.zeros((2, 3), np.uint8))
    with pytest.raises(
        LimbeckError, match=r"more.npy is arrays, but the data holds texts: give JSON lines \(.jsonl\), "
    ):
        unlabelled(tmp_path / "more.npy", like)
    digits = load_dataset("digits").train
    with pytest.raises(LimbeckError, match=r"more.txt is a file of texts, but the data holds arrays of shape"):
        unlabelled(written(b"a\n", "more.txt"), digits)
    pairs = loaded(written([{"a": "x", "b": "y"}], "pairs.jsonl"), text=("a", "b")).train
    with pytest.raises(LimbeckError, match="more.txt is plain text, expected pairs of texts"):
        unlabelled(tmp_path / "more.txt", pairs)


def test_a_test_row_among_unlabelled_texts_is_refused(written, like):
    part, _ = unlabelled(written(b"something else that is longer\nfine\n", "more.txt"), like)
    rows = [like.take(np.array([row])) for row in (0, 1, 3)]
    with pytest.raises(LimbeckError, match=r"1 of its 2 rows is also a test row \(row 1\): take them out"):
        check_held_out(part, Split(*rows))


def test_a_test_row_in_other_case_and_with_other_space_is_the_same_text(written):
    texts = loaded(written([{"text": "It  rains\tin May"}, {"text": "it rains."}, {"text": "It"}]))
    others = loaded(written([{"text": "it rains in may"}, {"text": "it rains"}], "more.jsonl"))
    assert shared_rows(texts.train, others.train).tolist() == [0]
    assert shared_rows(others.train, texts.train).tolist() == [0]
    pairs, moved = (
        loaded(written([{"a": a, "b": b}], "pairs.jsonl"), text=("a", "b")).train
        for a, b in (("it rains", "now"), ("it", "rains now"))
    )
    assert shared_rows(pairs, pairs).tolist() == [0]
    assert shared_rows(pairs, moved).tolist() == []


def test_a_recipe_names_one_column_of_texts_or_two():
    assert Data(source="x.jsonl", text="review").reading().text == ("review",)
    assert Data(source="x.jsonl", text=["a", "b"]).reading().text == ("a", "b")
    for wrong in ([], ["a", "b", "c"], "", 5):
        with pytest.raises(ValidationError):
            Data(source="x.jsonl", text=wrong)
