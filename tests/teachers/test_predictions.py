"""Predictions from files: what they hold is found, brought to the data's order, and checked."""

import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.special

from limbeck.data import Part
from limbeck.errors import LimbeckError, UsageError
from limbeck.models.hard_labels import FLOOR as FLOOR_OF_MODELS
from limbeck.teachers import FLOOR
from limbeck.teachers.predictions import read_predictions

CLASSES = ("ant", "bee", "cow")
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5], [0.0, 0.0, 1.0]])
LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 1.5], [1.0, 0.5, -4.0], [12.0, 0.0, 0.0]])
IDS = np.array([3, 17, 4, 100])


@pytest.fixture
def csv(tmp_path):
    """A function: text written as predictions.csv, its path."""

    def write(text):
        path = tmp_path / "predictions.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def parquet(tmp_path):
    def write(columns):
        path = tmp_path / "predictions.parquet"
        pq.write_table(pa.table(columns), path)
        return path

    return write


@pytest.fixture
def npz(tmp_path):
    def write(**arrays):
        path = tmp_path / "predictions.npz"
        np.savez(path, **arrays)
        return path

    return write


@pytest.fixture
def refused():
    """The message, without the file's folder, with which a file is refused."""

    def read(path, classes=CLASSES, error=LimbeckError):
        with pytest.raises(error) as raised:
            read_predictions(path, classes)
        message = str(raised.value)
        assert "\n" not in message
        return message.replace(f"{path.parent}/", "")

    return read


def lines(names, values, ids=IDS):
    return (
        "\n".join([",".join(names), *(",".join(map(str, [i, *row])) for i, row in zip(ids, values, strict=True))])
        + "\n"
    )


def part_of(ids, classes=CLASSES):
    ids = np.array(ids, dtype=np.int64)
    return Part("train", np.zeros((len(ids), 2), np.float32), np.full(len(ids), -1), ids, classes)


def expected(values, kind):
    values = np.log(np.maximum(values, FLOOR)) if kind == "probabilities" else values
    return scipy.special.log_softmax(values, axis=1)[np.argsort(IDS)]


def test_probabilities_become_log_probabilities_sorted_by_id(csv):
    found = read_predictions(csv(lines(["id", *CLASSES], PROBABILITIES)), CLASSES)
    assert (found.kind, found.classes, len(found)) == ("probabilities", CLASSES, 4)
    assert found.ids.tolist() == [3, 4, 17, 100]
    assert (found.ids.dtype, found.log_probs.dtype) == (np.int64, np.float32)
    np.testing.assert_allclose(found.log_probs, expected(PROBABILITIES, "probabilities"), rtol=1e-6)


def test_a_probability_of_zero_is_the_floor(csv):
    found = read_predictions(csv(lines(["id", *CLASSES], PROBABILITIES)), CLASSES)
    np.testing.assert_allclose(found.log_probs[3], [np.log(FLOOR), np.log(FLOOR), 0], atol=1e-6)


def test_columns_in_another_order_are_brought_to_the_data_s_by_name(csv):
    rows = [f"{p[2]},{i},{p[0]},{p[1]}" for i, p in zip(IDS, PROBABILITIES, strict=True)]
    turned = "\n".join(["cow,row_id,ant,bee", *rows])
    found = read_predictions(csv(turned), CLASSES)
    np.testing.assert_allclose(found.log_probs, expected(PROBABILITIES, "probabilities"), rtol=1e-6)


@pytest.mark.parametrize("prefix", ["p_", "prob_", "proba_", "logp_", "logit_"])
def test_a_prefix_says_what_columns_hold(csv, prefix):
    kind = {"logp_": "log-probabilities", "logit_": "logits"}.get(prefix, "probabilities")
    table = {"logits": LOGITS, "log-probabilities": scipy.special.log_softmax(LOGITS, axis=1)}.get(kind, PROBABILITIES)
    found = read_predictions(csv(lines(["row", *(prefix + name for name in CLASSES)], table)), CLASSES)
    assert found.kind == kind
    np.testing.assert_allclose(found.log_probs, expected(table, kind), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (PROBABILITIES, "probabilities"),
        (scipy.special.log_softmax(LOGITS, axis=1), "log-probabilities"),
        (LOGITS, "logits"),
        (np.abs(LOGITS), "logits"),
        (-np.abs(LOGITS), "logits"),
    ],
)
def test_without_a_prefix_the_numbers_say_what_they_are(csv, table, kind):
    found = read_predictions(csv(lines(["id", *CLASSES], table)), CLASSES)
    assert found.kind == kind
    np.testing.assert_allclose(found.log_probs, expected(table, kind), rtol=1e-5, atol=1e-6)


def test_a_few_logits_among_many_may_look_like_a_distribution(csv):
    table = np.random.default_rng(0).normal(0, 3, (300, 3))
    table[7] = [0.5, 0.25, 0.25]
    found = read_predictions(csv(lines(["id", *CLASSES], table, range(300))), CLASSES)
    assert found.kind == "logits"
    np.testing.assert_allclose(found.log_probs, scipy.special.log_softmax(table, axis=1), rtol=1e-5, atol=1e-6)


def test_a_prefix_overrules_what_the_numbers_look_like(csv):
    found = read_predictions(csv(lines(["id", *("logit_" + name for name in CLASSES)], PROBABILITIES)), CLASSES)
    assert found.kind == "logits"
    np.testing.assert_allclose(found.log_probs, expected(PROBABILITIES, "logits"), rtol=1e-5, atol=1e-6)


def test_logarithms_of_zero_are_the_floor_where_they_are_said_to_be_logarithms(npz):
    with np.errstate(divide="ignore"):
        found = read_predictions(npz(ids=IDS, log_probs=np.log(PROBABILITIES)), CLASSES)
    np.testing.assert_allclose(found.log_probs, expected(PROBABILITIES, "probabilities"), rtol=1e-6)


def test_an_index_of_pandas_and_a_column_of_labels_beside_the_classes_are_left_out(csv):
    rows = [f"{n},{i},ant,{','.join(map(str, p))}" for n, (i, p) in enumerate(zip(IDS, PROBABILITIES, strict=True))]
    found = read_predictions(csv("\n".join([",Id,label,p_ant,p_bee,p_cow", *rows])), CLASSES)
    np.testing.assert_allclose(found.log_probs, expected(PROBABILITIES, "probabilities"), rtol=1e-6)


@pytest.mark.parametrize("ids", [[0, 1, 2, 3], [5, 3, 9, 4]])
def test_the_index_of_a_frame_of_pandas_may_be_the_ids(tmp_path, ids):
    frame = pd.DataFrame(PROBABILITIES, columns=list(CLASSES), index=pd.Index(ids, name="id"))
    frame.to_parquet(tmp_path / "predictions.parquet")
    found = read_predictions(tmp_path / "predictions.parquet", CLASSES)
    assert found.ids.tolist() == sorted(ids)
    np.testing.assert_allclose(np.exp(found.log_probs[:, 2]), PROBABILITIES[np.argsort(ids), 2], rtol=1e-5)


def test_a_class_may_have_the_name_of_an_id_column(csv):
    found = read_predictions(csv("row_id,id,row\n5,0.25,0.75\n"), ("row", "id"))
    np.testing.assert_allclose(np.exp(found.log_probs), [[0.75, 0.25]], rtol=1e-6)


def test_the_same_predictions_have_one_digest_in_csv_parquet_and_npz(csv, parquet, npz):
    columns = {f"p_{name}": PROBABILITIES[::-1, c] for c, name in enumerate(CLASSES)}
    found = [
        read_predictions(path, CLASSES)
        for path in (
            csv(lines(["id", *CLASSES], PROBABILITIES)),
            parquet({"row": IDS[::-1].astype(np.float64), **columns}),
            npz(ids=IDS.astype(np.int32), probabilities=PROBABILITIES[:, ::-1], classes=np.array(CLASSES[::-1])),
        )
    ]
    assert len({one.digest for one in found}) == 1


def test_other_ids_numbers_or_classes_have_another_digest(npz):
    digests = [
        read_predictions(npz(ids=ids, probabilities=values), classes).digest
        for ids, values, classes in [
            (IDS, PROBABILITIES, CLASSES),
            (IDS + 1, PROBABILITIES, CLASSES),
            (IDS, PROBABILITIES[:, ::-1], CLASSES),
            (IDS, PROBABILITIES, ("ant", "bee", "cat")),
        ]
    ]
    assert len(set(digests)) == 4


def test_hard_labels_are_accepted_and_said_to_be_so(csv):
    found = read_predictions(csv("id,label\n1,cow\n0,ant\n"), CLASSES)
    assert found.kind == "hard"
    assert found.log_probs.argmax(axis=1).tolist() == [0, 2]
    np.testing.assert_allclose(found.log_probs[0], np.log([1 - 2 * FLOOR, FLOOR, FLOOR]), rtol=1e-6)
    np.testing.assert_allclose(np.exp(found.log_probs.astype(np.float64)).sum(axis=1), 1, atol=1e-8)


def test_the_floor_of_models_is_that_of_teachers():
    assert FLOOR_OF_MODELS == FLOOR


@pytest.mark.parametrize(
    "values",
    [np.array([2, 0]), np.array([2.0, 0.0]), pa.array(["2", "0"]), pa.array(["cow", "ant"]).dictionary_encode()],
)
def test_hard_labels_may_be_numbers_of_classes_or_categories(parquet, values):
    found = read_predictions(parquet({"id": [0, 1], "prediction": values}), CLASSES)
    assert found.log_probs.argmax(axis=1).tolist() == [2, 0]


def test_numbers_that_are_class_names_are_names(csv, npz):
    classes = ("3", "1", "2")
    assert read_predictions(csv("id,class\n0,1\n1,3\n"), classes).log_probs.argmax(axis=1).tolist() == [1, 0]
    found = read_predictions(npz(ids=np.arange(2), labels=np.array([1, 3])), classes)
    assert found.log_probs.argmax(axis=1).tolist() == [1, 0]


def test_numbers_of_which_only_some_are_class_names_are_refused(csv, refused):
    assert refused(csv("id,class\n0,1\n7,0\n"), ("1", "2")) == (
        'predictions.csv: id 7 has the label "0", expected one of the data\'s 2 classes, "1", "2": mend the label or '
        "leave the row out"
    )


def test_a_label_that_is_no_class_is_refused(csv, refused):
    assert refused(csv("id,label\n0,ant\n7,cows\n")) == (
        'predictions.csv: id 7 has the label "cows", expected one of the data\'s 3 classes, "ant", "bee", "cow", did you '
        'mean "cow"?'
    )


def test_predictions_are_looked_up_by_the_rows_ids(npz):
    found = read_predictions(npz(ids=IDS, logits=LOGITS), CLASSES)
    mask, log_probs = found.answers_for(part_of([100, 5, 3, 101, 0]))
    assert mask.tolist() == [True, False, True, False, False]
    np.testing.assert_array_equal(log_probs[mask], found.log_probs[[3, 0]])
    assert (log_probs[~mask] == 0).all()
    assert (found.log_probs < 0).any(axis=1).all()


def test_rows_that_must_have_predictions_get_them(npz):
    found = read_predictions(npz(ids=IDS, logits=LOGITS), CLASSES)
    np.testing.assert_array_equal(found.required(part_of([17, 4]), "training rows"), found.log_probs[[2, 1]])


def test_rows_without_a_prediction_are_named(npz):
    path = npz(ids=np.arange(1, 2001), logits=np.zeros((2000, 3)))
    found = read_predictions(path, CLASSES)
    with pytest.raises(LimbeckError) as raised:
        found.required(part_of([0, *range(5, 1500), 2001, 2002, 2003]), "training rows")
    assert str(raised.value) == (
        f"{path} has no row for 4 of 1,499 training rows, the first with id 0, 2001, 2002, …: its 2,000 ids go from 1 to "
        "2000; ask the teacher about these rows too, under the data's own ids"
    )


def test_a_single_row_without_a_prediction_is_named(npz):
    path = npz(ids=IDS, logits=LOGITS)
    with pytest.raises(
        LimbeckError, match="has no row for 1 of 2 test rows, that with id 5: its 4 ids go from 3 to 100;"
    ):
        read_predictions(path, CLASSES).required(part_of([3, 5]), "test rows")


def test_rows_that_no_part_has_are_counted(npz):
    found = read_predictions(npz(ids=IDS, logits=LOGITS), CLASSES)
    assert found.unused(np.array([3, 4, 5])) == 2
    assert found.unused(IDS) == 0


def test_a_part_with_other_classes_is_refused(npz):
    found = read_predictions(npz(ids=IDS, logits=LOGITS), CLASSES)
    with pytest.raises(
        UsageError, match='was read for the classes "ant", "bee", "cow", but part "train" has "ant", "bee":'
    ):
        found.answers_for(part_of([3], CLASSES[:2]))


OFF = PROBABILITIES.copy()
OFF[2, 0] = 0.55
NEGATIVE = PROBABILITIES.copy()
NEGATIVE[1] = [-0.1, 0.9, 0.2]


@pytest.mark.parametrize("prefix", ["", "p_"])
def test_probabilities_that_do_not_sum_to_one_are_refused(csv, refused, prefix):
    what = "probabilities" if prefix else "values"
    assert refused(csv(lines(["id", *(prefix + name for name in CLASSES)], OFF))) == (
        f"predictions.csv: the {what} of id 4 sum to 1.3, expected probabilities that sum to 1 (1 of 4 rows do not): mend "
        "these rows, or if they are logits, name them logit_CLASS, or logits in an .npz file"
    )


def test_negative_probabilities_are_refused(csv, refused):
    assert "the values of id 17 sum to 1, -0.1 among them, expected" in refused(csv(lines(["id", *CLASSES], NEGATIVE)))


def test_scores_that_are_neither_are_refused(csv, refused):
    table = np.full((4, 3), 0.9)
    assert "the values of id 3 sum to 2.7, expected probabilities that sum to 1 (4 of 4" in refused(
        csv(lines(["id", *CLASSES], table))
    )


def test_logarithms_of_another_base_are_refused(npz, refused):
    message = refused(npz(ids=IDS, log_probs=np.log10(PROBABILITIES + 0.1)))
    assert message.startswith("predictions.npz: the exponentials of the log-probabilities of id 3 sum to ")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("nan", "no number (it is missing or NaN)"),
        ("", "no number (it is missing or NaN)"),
        ("inf", "inf"),
        ("-inf", "-inf"),
        ("1e300", "1e+300"),
    ],
)
def test_values_that_are_not_finite_are_refused(csv, refused, value, shown):
    table = LOGITS.astype(object)
    table[1, 2] = value
    assert refused(csv(lines(["id", *CLASSES], table))) == (
        f'predictions.csv: id 17 has {shown} for class "cow", expected a finite number below 1e30: ask the teacher again '
        "about this row, or leave it out"
    )


def test_a_value_that_is_no_number_is_refused(csv, refused):
    table = LOGITS.astype(object)
    table[2, 0] = "high"
    assert refused(csv(lines(["id", *CLASSES], table))) == (
        'predictions.csv: column "ant" holds no numbers: id 4 has "high", expected a number for each row'
    )


def test_a_column_of_lists_is_refused(parquet, refused):
    columns = {"id": [1], "ant": [[0.5]], "bee": [0.2], "cow": [0.3]}
    assert refused(parquet(columns)) == (
        'predictions.parquet: column "ant" holds no numbers: it is of type list<element: double>, expected a number for '
        "each row"
    )


def test_double_ids_are_refused(csv, refused):
    assert refused(csv(lines(["id", *CLASSES], LOGITS, [3, 17, 4, 17]))) == (
        "predictions.csv has the id 17 more than once (rows 1 and 3): leave one prediction for each row"
    )


@pytest.mark.parametrize(
    ("value", "shown"), [("4.5", "4.5"), ("x4", '"x4"'), ("", "none"), ("-1", "-1"), ("1e20", "1e+20")]
)
def test_ids_that_are_no_row_numbers_are_refused(csv, refused, value, shown):
    assert refused(csv(lines(["id", *CLASSES], LOGITS, [3, 17, value, 100]))) == (
        f'predictions.csv: row 2 has {shown} in column "id", expected the number of a row in the data: a whole number, 0 or '
        "more"
    )


def test_ids_above_what_a_float_holds_stay_apart(csv):
    ids = [2**60, 2**60 + 1]
    assert read_predictions(csv(lines(["id", *CLASSES], LOGITS[:2], ids)), CLASSES).ids.tolist() == ids


def test_a_table_without_ids_is_refused(csv, refused):
    assert refused(csv("ant,bee,cow\n1,0,0\n")) == (
        'predictions.csv has no column of ids among its columns "ant", "bee", "cow": expected one, named "id", "row" or '
        '"row_id", with the number of each row in the data'
    )


def test_two_columns_of_ids_are_refused(csv, refused):
    assert 'has 2 columns of ids ("id", "row") among its columns' in refused(csv("id,row,ant,bee,cow\n1,1,1,0,0\n"))


@pytest.mark.parametrize("prefix", ["", "p_"])
def test_classes_that_are_not_the_data_s_are_refused(csv, refused, prefix):
    assert refused(csv(lines(["id", *(prefix + name for name in ("ant", "beee", "cow"))], LOGITS))) == (
        'predictions.csv: a teacher whose classes differ from the data\'s: it has "ant", "cow", "beee", the data have '
        '"ant", "bee", "cow" ("bee" missing; "beee" not in the data, did you mean "bee"): give one column for each class, '
        "named by the class"
    )


def test_a_missing_class_is_refused(csv, refused):
    assert '("bee" missing)' in refused(csv(lines(["id", "ant", "cow"], LOGITS[:, :2])))
    assert 'it has none, the data have "ant", "bee", "cow" ("ant", "bee", "cow" missing)' in refused(csv("id\n1\n"))


def test_a_class_too_many_is_refused(csv, refused):
    assert '("dog" not in the data)' in refused(csv(lines(["id", *CLASSES, "dog"], np.eye(4))))


def test_columns_of_two_kinds_are_refused(csv, refused):
    assert 'has columns of more than one kind ("p_ant", "logit_bee", "p_cow")' in refused(
        csv(lines(["id", "p_ant", "logit_bee", "p_cow"], LOGITS))
    )


def test_two_columns_for_one_class_are_refused(csv, refused):
    assert 'has two columns for class "ant", "ant" and "p_ant"' in refused(
        csv(lines(["id", *CLASSES, "p_ant"], np.eye(4)))
    )


def test_a_column_that_is_there_twice_is_refused(csv, refused):
    assert refused(csv(lines(["id", "ant", "ant", "cow"], LOGITS))) == (
        'predictions.csv has the column "ant" more than once: give every column its own name'
    )


def test_the_classes_of_an_npz_file_are_checked(npz, refused):
    assert 'it has "ant", "bee", the data have "ant", "bee", "cow" ("cow" missing)' in refused(
        npz(ids=IDS, logits=LOGITS, classes=np.array(["ant", "bee"]))
    )


def test_another_number_of_classes_is_refused(npz, refused):
    assert refused(npz(ids=IDS, logits=LOGITS[:, :2])) == (
        'predictions.npz: "logits" are float64 of shape (4, 2), expected numbers of shape (4, 3), one for each class'
    )


@pytest.mark.parametrize(
    "arrays", [{"logits": LOGITS}, {"ids": IDS}, {"ids": IDS, "logits": LOGITS, "probabilities": LOGITS}]
)
def test_an_npz_file_without_its_arrays_is_refused(npz, refused, arrays):
    shown = ", ".join(f'"{name}"' for name in sorted(arrays))
    assert refused(npz(**arrays)) == (
        f'predictions.npz holds {shown}: expected "ids" and one of "probabilities", "log_probs", "logits" or "labels"'
    )


def test_pickles_in_an_npz_file_are_not_read(npz, refused):
    message = refused(npz(ids=IDS, logits=LOGITS, classes=np.array(CLASSES, dtype=object)))
    assert message.startswith("predictions.npz cannot be read as numpy arrays (Object arrays cannot be loaded")


def test_an_empty_file_is_refused(csv, refused):
    assert refused(csv("")) == "predictions.csv is empty: expected a line of column names, and a line for each row"
    assert refused(csv("\nid,label\n")).startswith(
        "predictions.csv starts with an empty line: expected a line of column"
    )


def test_a_table_without_rows_is_refused(csv, parquet, refused):
    for path in (csv("id,ant,bee,cow\n"), parquet({name: np.empty(0) for name in ("id", *CLASSES)})):
        assert refused(path) == f"{path.name} holds no rows: expected an id and a prediction for each row of the data"


def test_a_ragged_table_is_refused(csv, refused):
    message = refused(csv("id,ant,bee,cow\n1,0.5,0.5,0\n2,0.5,0.5\n"))
    assert message.startswith(
        "predictions.csv cannot be read as CSV (CSV parse error: Expected 4 columns, got 3: 2,0.5,0.5)"
    )


def test_a_damaged_file_is_refused(tmp_path, refused):
    for name, start in [
        ("bad.parquet", "bad.parquet cannot be read as Parquet ("),
        ("bad.npz", "bad.npz cannot be read as numpy arrays ("),
        ("bad.csv", "bad.csv cannot be read as CSV ("),
    ]:
        (tmp_path / name).write_bytes(b"\xff\xfe\x00PAR1" * 9)
        assert refused(tmp_path / name).startswith(start)


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path, refused):
    assert refused(tmp_path / "no.csv") == (
        "no.csv: no such file, expected predictions in a .csv or .parquet or .npz file"
    )


def test_a_file_of_another_kind_is_refused(tmp_path, refused):
    assert refused(tmp_path / "predictions.json", error=UsageError) == (
        'predictions.json ends in ".json": expected predictions in a .csv or .parquet or .npz file'
    )


@pytest.mark.parametrize(("name", "kind"), [("x.csv", "CSV"), ("x.parquet", "Parquet")])
def test_a_table_without_pyarrow_says_what_to_install(tmp_path, refused, monkeypatch, name, kind):
    (tmp_path / name).write_text("id,label\n0,ant\n")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refused(tmp_path / name) == f'reading {kind} needs pyarrow: pip install "limbeck[data]"'
