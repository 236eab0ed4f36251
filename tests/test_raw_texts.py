"""Texts for a saved model: files whose columns are found by name, one text itself; other rows are refused."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from limbeck.data import Form, TextForm
from limbeck.data.texts import unpacked
from limbeck.errors import LimbeckError
from limbeck.raw_rows import rows_for

WHERE = Path("model")
CLASSES = ("bad", "good")


@dataclass
class OfTexts:
    """What is asked of a model: it takes texts."""

    form: Form | None
    input_shape: tuple[int, ...] | None = None


def read(inputs, form=None, **options):
    return rows_for(OfTexts(form or TextForm(("review",))), CLASSES, str(inputs), WHERE, **options)


def refused(inputs, form=None, **options):
    with pytest.raises(LimbeckError) as caught:
        read(inputs, form, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def lines(tmp_path):
    rows = [{"review": "a fine film", "mood": "good"}, {"review": ""}, {"review": "dull", "mood": None, "x": 1}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "rows.jsonl"


def test_json_lines_are_read_by_the_model_s_columns(lines):
    found = read(lines)
    assert unpacked(found.inputs) == ["a fine film", "dull"]
    assert (found.labels, found.names) == (None, ["0", "2"])
    assert found.notes == ["1 row has an empty text (line 2) and is left out"]


def test_labels_are_the_model_s(lines):
    assert read(lines, label="mood").labels.tolist() == [1, -1]
    lines.write_text(lines.read_text().replace('"good"', '"fine"'))
    assert refused(lines, label="mood") == (
        f'label column "mood" of {lines} has "fine" in line 1, expected one of the classes "bad", "good": mend the '
        "label, or leave it empty for none"
    )


def test_tables_and_plain_text_are_read(tmp_path):
    (tmp_path / "rows.csv").write_text("x,review\n1,a b\n2,c\n")
    assert unpacked(read(tmp_path / "rows.csv", rows=1).inputs) == ["a b"]
    (tmp_path / "rows.txt").write_text("one\ntwo\n")
    assert unpacked(read(tmp_path / "rows.txt").inputs) == ["one", "two"]
    assert refused(tmp_path / "rows.txt", label="y").endswith(
        "is plain text without a column of labels: leave label out"
    )
    (tmp_path / "rows.csv").write_text("x,reviews\n1,a b\n")
    assert refused(tmp_path / "rows.csv") == (
        f'the model names the column "review", but {tmp_path}/rows.csv has none of that name, did you mean "reviews"?'
    )


def test_a_column_that_is_called_otherwise_is_named(tmp_path, lines):
    (tmp_path / "rows.csv").write_text("x,said,mood\n1,a b,good\n2,c,bad\n")
    found = read(tmp_path / "rows.csv", text=["said"], label="mood")
    assert unpacked(found.inputs) == ["a b", "c"]
    assert found.labels.tolist() == [1, 0]
    assert refused(lines, text=["mood"]).endswith('it has "review"; name another column with --text')
    assert refused(tmp_path / "rows.csv") == (
        f'the model names the column "review", but {tmp_path}/rows.csv has none of that name, expected one of "x", "said", '
        '"mood": name it with --text'
    )
    assert refused(tmp_path / "rows.csv", text=["sad"]).startswith('--text names the column "sad", but ')
    assert refused(tmp_path / "rows.csv", text=["said", "mood"]).startswith(
        "--text: found said, mood, expected a column of texts, as "
    )
    assert refused("a fine film", text=["said"]) == (
        "a fine film has no columns, expected a table or JSON lines: leave --text out"
    )


def test_a_text_itself_is_a_row():
    assert unpacked(read("a fine film").inputs) == ["a fine film"]
    assert len(read("a fine film " * 500).inputs) == 1  # longer than a file's name may be
    assert refused("  ") == "the text is empty, expected one with a word in it: give another"
    assert refused("a fine film", label="y") == "a text by itself has no column of labels: leave label out"
    for text in ("dull", "太好看了", "Great!"):
        found = read(text)
        assert unpacked(found.inputs) == [text]
        assert found.notes == [f'"{text}" is no file and no data set: it is taken as the text itself']
    pairs = TextForm(("a", "b"))
    assert refused("a fine film", pairs) == "model takes pairs of texts: give a file with a and b"


def test_rows_of_another_kind_are_refused(tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros((2, 3), np.uint8))
    takes = "model takes a file of texts (.jsonl, .csv, .parquet, .txt), or a text itself, and"
    assert refused(tmp_path / "rows.npy") == f"{takes} {tmp_path}/rows.npy is none of these"
    assert refused(tmp_path / "gone.npy") == f"{takes} {tmp_path}/gone.npy does not exist"
    for name in ("gone.npy", "texts/gone", "gone.html"):
        assert refused(name) == f"{takes} {name} does not exist"
    assert refused(tmp_path / "my gone.jsonl").endswith("does not exist, expected a file of texts: check the path")
    assert refused("digits") == "digits holds no texts, but model takes texts: give other rows"
