import gzip
import json
import zipfile

import numpy as np
import pytest
import torch

from limbeck.errors import LimbeckError, UsageError
from limbeck.models import build_model, load_model, save_model
from limbeck.prediction import measured, predictions
from limbeck.row_files import read_inputs
from limbeck.training import predict_log_probs


@pytest.fixture(scope="module")
def model(tmp_path_factory, digits):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, build_model({"kind": "mlp", "widths": [8]}, (8, 8), 10, digits.inputs), tuple("abcdefghij"))
    return folder


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()


@pytest.fixture
def written(tmp_path, digits):
    """A function: the path of a file that holds the first rows in a format."""

    def write(form):
        rows = digits.inputs[:5]
        path = tmp_path / f"rows{form.partition(' ')[0]}"
        if form == ".npy":
            np.save(path, rows)
        elif form == ".npy float64":
            np.save(path, rows.astype(np.float64))
        elif form == ".npy int64":
            np.save(path, rows.astype(np.int64))
        elif form == ".npz":
            np.savez(path, some_name=rows)
        elif form == ".npz compressed":
            np.savez_compressed(path, labels=digits.labels[:5], inputs=rows)
        else:
            path.write_bytes(gzip.compress(idx(rows)) if form.endswith(".gz") else idx(rows))
        return path

    return write


def lines(model, inputs, **more):
    return list(predictions(model, str(inputs), **more))


def refused(model, inputs, kind=LimbeckError, **more):
    with pytest.raises(kind) as error:
        lines(model, inputs, **more)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600
    return str(error.value)


FORMS = [".npy", ".npy float64", ".npy int64", ".npz", ".npz compressed", "-idx3-ubyte", "-idx3-ubyte.gz"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_inputs_gives_the_same_lines(model, written, digits, form):
    loaded, _ = load_model(model)
    expected = np.exp(predict_log_probs(loaded, digits.inputs[:5]))
    found = lines(model, written(form), top=10)
    assert len(found) == 5
    for row, line in enumerate(found):
        number, *shown = line.split("\t")
        assert int(number) == row
        values = {name: float(value) for name, value in (one.split() for one in shown)}
        assert list(values.values()) == sorted(values.values(), reverse=True)
        np.testing.assert_allclose([values[name] for name in "abcdefghij"], expected[row], atol=6e-5)


def test_only_so_many_classes_and_rows_are_shown(model, written):
    found = lines(model, written(".npy"), top=2, rows=3)
    assert [len(line.split("\t")) for line in found] == [3, 3, 3]


@pytest.mark.parametrize("rows", [None, 1, 7])
def test_a_single_input_needs_no_first_axis(model, tmp_path, digits, rows):
    np.save(tmp_path / "one.npy", digits.inputs[0])
    np.save(tmp_path / "many.npy", digits.inputs[:1])
    assert lines(model, tmp_path / "one.npy", rows=rows) == lines(model, tmp_path / "many.npy")


def test_a_data_set_s_name_stands_for_its_rows(model, digits):
    assert lines(model, "digits", rows=5)[4].startswith("4\t")
    np.testing.assert_array_equal(read_inputs("digits"), digits.inputs)


def test_an_idx_folder_stands_for_its_test_rows(tmp_path, digits):
    for name, rows in (("train", slice(0, 20)), ("t10k", slice(20, 27))):
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx(digits.inputs[rows]))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx(digits.labels[rows].astype(np.uint8)))
    np.testing.assert_array_equal(read_inputs(f"idx:{tmp_path}"), digits.inputs[20:27])
    with pytest.raises(LimbeckError, match=f"{tmp_path} is a folder: give one file, or idx:{tmp_path}"):
        read_inputs(str(tmp_path))


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize("inputs", ["nowhere.npy", "some/where", "nowhere.npz"])
def test_a_file_that_is_not_there_is_named(model, inputs):
    assert refused(model, inputs) == f"{inputs}: no such file, expected an idx, .npy or .npz file"


def test_an_unknown_name_is_answered_with_the_nearest(model):
    assert 'did you mean "mnist"' in refused(model, "mnits", UsageError)
    assert "folder no/where does not exist" in refused(model, "idx:no/where", UsageError)


def test_inputs_of_another_shape_are_refused_with_both(model, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 28, 28), np.uint8))
    message = refused(model, tmp_path / "x.npy")
    assert message == f"{tmp_path / 'x.npy'} holds inputs of shape (28, 28), but {model} takes (8, 8)"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_not_finite_are_refused_by_row(model, tmp_path, value):
    rows = np.zeros((4, 8, 8))
    rows[2, 1, 1] = value
    np.save(tmp_path / "x.npy", rows)
    assert "x.npy: row 2 is not finite" in refused(model, tmp_path / "x.npy")


def test_no_rows_are_refused(model, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((0, 8, 8), np.uint8))
    assert "x.npy holds no rows" in refused(model, tmp_path / "x.npy")


@pytest.mark.parametrize(
    "array", [np.array("text"), np.zeros(5), np.float32(3), np.zeros((2, 8, 8), complex), np.zeros((2, 8, 8), bool)]
)
def test_what_is_no_array_of_rows_of_numbers_is_refused(model, tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    assert "expected numbers of shape (rows, …)" in refused(model, tmp_path / "x.npy")


def test_several_arrays_need_one_named_inputs(model, tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(3), b=np.zeros(3))
    assert 'holds a, b: name the array of inputs "inputs"' in refused(model, tmp_path / "x.npz")


def test_a_pickled_array_is_refused_and_not_run(model, tmp_path):
    class Harmful:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    for name, save in (("x.npy", np.save), ("x.npz", np.savez)):
        save(tmp_path / name, np.array([Harmful()], dtype=object), allow_pickle=True)
        assert "cannot be read as numpy arrays" in refused(model, tmp_path / name)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_file_cut_anywhere_is_refused(model, written, form):
    path = written(form)
    whole = path.read_bytes()
    for length in {0, 1, 3, 5, 20, 90, len(whole) // 2, len(whole) - 1}:
        path.write_bytes(whole[:length])
        assert str(path) in refused(model, path)


def test_a_damaged_archive_is_refused(model, written):
    path = written(".npz compressed")
    content = bytearray(path.read_bytes())
    place = content.index(b"inputs.npy") + 50
    content[place : place + 30] = bytes(30)
    path.write_bytes(bytes(content))
    assert "cannot be read as numpy arrays" in refused(model, path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "no array")
    assert str(path) in refused(model, path)


def test_a_folder_without_a_model_is_refused(tmp_path):
    assert f"{tmp_path} holds no model" in refused(tmp_path, "digits")


# ---------------------------------------------------------------- raw rows of tables, ONNX files, and what is right


@pytest.fixture
def grape_student(grapes_finished):
    return grapes_finished / "models" / "student" / "plain-temperature=4"


@pytest.fixture
def grape_table(grapes):
    return grapes.parent / "grapes.csv"


def test_a_table_s_rows_are_answered_raw_by_every_kind_of_model(grapes_finished, grape_table):
    from limbeck.models.opening import open_model
    from limbeck.raw_rows import rows_for

    for name in ("student/plain-temperature=4", "teacher/forest", "teacher/boosting", "teacher/both"):
        path = grapes_finished / "models" / name
        loaded, classes = open_model(path)
        raw = rows_for(loaded, classes, str(grape_table), path).inputs
        expected = np.exp(predict_log_probs(loaded, raw[:3]))
        found = lines(path, grape_table, rows=3)
        for row, line in enumerate(found):
            values = {name: float(value) for name, value in (one.split() for one in line.split("\t")[1:])}
            np.testing.assert_allclose([values[name] for name in classes], expected[row], atol=6e-5)


def test_an_onnx_file_gives_the_same_lines(grape_student, grape_table, tmp_path):
    pytest.importorskip("onnxruntime")
    from limbeck.exporting import export

    export(grape_student, tmp_path / "student.onnx", rows=str(grape_table))
    folder, file = (lines(path, grape_table) for path in (grape_student, tmp_path / "student.onnx"))
    assert [line.split()[:2] for line in file] == [line.split()[:2] for line in folder]
    values = [[float(word) for line in found for word in line.split()[2::2]] for found in (folder, file)]
    np.testing.assert_allclose(values[0], values[1], atol=2e-4)


def test_what_was_never_seen_is_told(grape_student, grape_table, tmp_path):
    header, *rows = grape_table.read_text().splitlines()
    fields = rows[1].split(",")
    (tmp_path / "new.csv").write_text(f"{header}\n{','.join([*fields[:5], 'orange', *fields[6:]])}\n")
    notes = []
    assert len(lines(grape_student, tmp_path / "new.csv", say=notes.append)) == 1
    assert len(notes) == 1
    assert "orange" in notes[0]


def test_a_run_s_test_rows_are_measured_as_the_run_did(grapes_finished, grape_student):
    found = {row["name"]: row for row in json.loads((grapes_finished / "results.json").read_text())["models"][:4]}
    for path, name in (
        (grape_student, "plain"),
        (grapes_finished / "models/teacher/forest", "forest"),
        (grapes_finished / "models/teacher/both", "both"),
    ):
        row = measured(path, str(grapes_finished))
        for field in ("errors", "accuracy", "nll", "ece", "parameters", "bytes", "multiply_adds"):
            assert row[field] == pytest.approx(found[name][field], abs=1e-6), (name, field)


def test_a_table_is_measured_by_its_column_of_labels(grape_student, grape_table, tmp_path):
    whole = measured(grape_student, str(grape_table), label="grape")
    header, *rows = grape_table.read_text().splitlines()
    unlabelled = [",".join([*row.split(",")[:6], ""]) for row in rows[:100]]
    (tmp_path / "some.csv").write_text("\n".join([header, *unlabelled, *rows[100:]]))
    some = measured(grape_student, str(tmp_path / "some.csv"), label="grape")
    assert whole["errors"] == pytest.approx((1 - whole["accuracy"]) * 178)
    assert some["errors"] == pytest.approx((1 - some["accuracy"]) * 78)


def test_rows_without_labels_cannot_be_measured(grape_student, grape_table, model, tmp_path):
    for path, inputs, classes in (
        (grape_student, str(grape_table), "barbera, barolo, grignolino"),
        (model, "digits", "a, b, c, d, e, f, g, h, i, j"),  # which has others
    ):
        with pytest.raises(LimbeckError) as error:
            measured(path, inputs)
        assert str(error.value) == (
            f"{inputs} has no labels of the classes {classes}: name a table's column with --label, or give a data set "
            "or a run's folder"
        )
