import gc
import os
import pickle
import resource
import warnings

import numpy as np
import pytest
import torch

import limbeck
from limbeck.data import Column, TableForm
from limbeck.data.arrays import load_arrays
from limbeck.data.reading import Reading
from limbeck.errors import LimbeckError, UsageError

NUMBERS = np.arange(24, dtype=np.float32).reshape(6, 4)
LABELS = np.array([0, 1, 2, -1, 1, 0])


def load(path):
    return load_arrays(path, str(path), Reading())


@pytest.fixture
def npz(tmp_path):
    """A function: the data set of an .npz file with these arrays."""

    def saved(**arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return load(tmp_path / "data.npz")

    return saved


@pytest.fixture
def refused(tmp_path):
    """A function: the message with which an .npz file of these arrays is refused, its path as FILE."""

    def message(**arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return why(tmp_path / "data.npz")

    return message


def why(path, error=LimbeckError):
    with pytest.raises(error) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert caught.type is error
    return str(caught.value).replace(str(path), "FILE")


# ---------------------------------------------------------------- .npz


@pytest.mark.parametrize("names", [("inputs", "labels"), ("X", "y"), ("x", "y")])
def test_inputs_and_labels_are_read(npz, names):
    dataset = npz(**dict(zip(names, (NUMBERS, LABELS), strict=True)))
    part = dataset.train
    np.testing.assert_array_equal(part.inputs, NUMBERS)
    assert (part.labels.tolist(), part.labels.dtype) == (LABELS.tolist(), np.int64)
    assert part.ids.tolist() == [0, 1, 2, 3, 4, 5]
    assert (dataset.classes, dataset.test, part.form) == (("0", "1", "2"), None, None)


def test_a_keras_file_has_a_test_set(npz, digits):
    a, b = slice(0, 50), slice(50, 70)
    column = digits.labels[:, None].astype(np.uint8)  # as in cifar10.npz
    dataset = npz(x_train=digits.inputs[a], y_train=column[a], x_test=digits.inputs[b], y_test=column[b])
    np.testing.assert_array_equal(dataset.train.inputs, digits.inputs[a])
    np.testing.assert_array_equal(dataset.test.inputs, digits.inputs[b])
    np.testing.assert_array_equal(dataset.test.labels, digits.labels[b])
    assert dataset.test.inputs.dtype == np.uint8
    assert dataset.classes == dataset.test.classes == tuple("0123456789")


def test_rows_without_labels_have_no_classes(npz):
    dataset = npz(inputs=NUMBERS)
    assert (dataset.classes, dataset.train.labels.tolist()) == ((), [-1] * 6)


@pytest.mark.parametrize("kind", ["U", "S"])
def test_texts_are_labels_and_their_classes_are_sorted(npz, kind):
    dataset = npz(inputs=NUMBERS, labels=np.array(["dog", "cat", "", "cow", "dog", "cat"]).astype(kind))
    assert dataset.classes == ("cat", "cow", "dog")
    assert dataset.train.labels.tolist() == [2, 0, -1, 1, 2, 0]


def test_given_classes_name_and_order_the_labels(npz):
    assert npz(inputs=NUMBERS, labels=LABELS, classes=["a", "b", "c", "d"]).classes == ("a", "b", "c", "d")
    texts = np.array(["b", "a", "b", "b", "a", "a"])
    assert npz(inputs=NUMBERS, labels=texts, classes=["b", "a"]).train.labels.tolist() == [0, 1, 0, 0, 1, 1]


def test_ids_are_kept(npz):
    assert npz(inputs=NUMBERS, ids=np.array([7, 3, 9, 1, 0, 5], np.uint8)).train.ids.tolist() == [7, 3, 9, 1, 0, 5]


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "int8", "uint16", ">f4"])
def test_numbers_become_float32(npz, dtype):
    part = npz(inputs=NUMBERS.astype(dtype)).train
    assert part.inputs.dtype == np.float32
    assert part.inputs.dtype.isnative
    np.testing.assert_array_equal(part.inputs, NUMBERS)


def test_bytes_and_booleans_become_or_stay_bytes(npz):
    assert npz(inputs=NUMBERS.astype(np.uint8)).train.inputs.dtype == np.uint8
    part = npz(inputs=NUMBERS > 5).train
    assert part.inputs.dtype == np.uint8
    np.testing.assert_array_equal(part.inputs, NUMBERS > 5)


def test_named_features_make_a_table_in_which_values_may_be_missing(npz):
    numbers = NUMBERS.astype(np.float64)
    numbers[2, 1] = np.nan
    dataset = npz(inputs=numbers, features=["a", "b", "c", "d"])
    columns = (Column("a"), Column("b", missing=True), Column("c"), Column("d"))
    assert dataset.train.form == TableForm(columns)
    np.testing.assert_array_equal(dataset.train.inputs, numbers.astype(np.float32))


def test_a_table_of_bytes_is_one_of_numbers(npz):
    assert npz(inputs=NUMBERS.astype(np.uint8), features=list("abcd")).train.inputs.dtype == np.float32


def test_a_value_missing_in_the_test_set_alone_is_in_the_form_of_both(npz):
    test = NUMBERS.copy()
    test[0, 3] = np.nan
    dataset = npz(x_train=NUMBERS, x_test=test, features=list("abcd"))
    assert [column.missing for column in dataset.train.form.columns] == [False, False, False, True]
    assert dataset.test.form == dataset.train.form


# ---------------------------------------------------------------- what does not fit


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": LABELS}, 'FILE holds no inputs (labels), expected one array of them: name it "inputs"'),
        (
            {"x": NUMBERS, "x_train": NUMBERS},
            'FILE holds inputs with and without _train, expected one array of them: name it "inputs"',
        ),
        ({"x": NUMBERS, "X": NUMBERS}, "FILE holds X and x, expected one of them: take one out"),
        (
            {"inputs": NUMBERS, "label": LABELS},
            'FILE has an array "label", expected inputs and labels (or x_train, y_train, x_test, y_test), ids, classes, '
            'features, did you mean "labels"?: rename it or take it out',
        ),
        (
            {"inputs": NUMBERS, "y_train": LABELS},
            'the array "y_train" of FILE belongs to no inputs, expected inputs of the same ending: take it out',
        ),
        (
            {"x_train": NUMBERS, "y_test": LABELS},
            'the array "y_test" of FILE belongs to no inputs, expected inputs of the same ending: take it out',
        ),
        (
            {"inputs": NUMBERS[:, 0]},
            'the array "inputs" of FILE has shape (6,), expected (rows, …) with at least two dimensions and a row: '
            "reshape it",
        ),
        (
            {"inputs": NUMBERS[:0]},
            'the array "inputs" of FILE has shape (0, 4), expected (rows, …) with at least two dimensions and a row: '
            "reshape it",
        ),
        ({"inputs": NUMBERS * 1j}, 'the array "inputs" of FILE holds complex64, expected numbers: convert it'),
        ({"inputs": NUMBERS.astype("U4")}, 'the array "inputs" of FILE holds <U4, expected numbers: convert it'),
        (
            {"inputs": np.array([["a", 1], [None, 2]], dtype=object)},
            "FILE holds Python objects, which are not loaded because that could run code, expected numbers: save the "
            "array with a type of numbers, and texts as np.array(texts, dtype=str)",
        ),
        (
            {"inputs": NUMBERS, "labels": LABELS[:5]},
            'the array "labels" of FILE has shape (5,), expected (6,) for 6 rows of inputs: give every row its label',
        ),
        (
            {"inputs": NUMBERS, "labels": np.eye(6)},
            'the array "labels" of FILE has shape (6, 6), expected (6,) for 6 rows of inputs: take its argmax(axis=1)',
        ),
        (
            {"inputs": NUMBERS, "labels": LABELS / 2},
            'the array "labels" of FILE holds float64, expected whole numbers or texts: convert it',
        ),
        (
            {"inputs": NUMBERS, "labels": LABELS - 2},
            'row 0 of the array "labels" of FILE is -2, expected 0 or more, or -1 for none: mend the label',
        ),
        (
            {"inputs": NUMBERS, "labels": LABELS * 2},
            'the array "labels" of FILE goes up to 4, but no row has 1, expected 0, 1, 2, … without gaps: renumber the '
            'labels, or name all classes in an array "classes"',
        ),
        (
            {"inputs": NUMBERS, "labels": LABELS, "classes": ["a", "b"]},
            'row 2 of the array "labels" of FILE is 2, expected at most 1 for 2 classes: mend the label, or name all '
            'classes in an array "classes"',
        ),
        (
            {"inputs": NUMBERS, "labels": ["cat", "dog", "cta", "cat", "dog", "dog"], "classes": ["cat", "dog"]},
            'row 2 of the array "labels" of FILE is "cta", expected one of the 2 classes (cat, dog), did you mean "cat"?: '
            "mend the label, or name the class",
        ),
        (
            {"x_train": NUMBERS, "y_train": LABELS, "x_test": NUMBERS, "y_test": LABELS + 1},
            'row 2 of the array "y_test" of FILE is 3, expected at most 2 for 3 classes: mend the label, or name all '
            'classes in an array "classes"',
        ),
        (
            {"inputs": NUMBERS, "labels": LABELS, "classes": ["a", "b", "a"]},
            'the array "classes" of FILE has "a" more than once, expected different names: rename it',
        ),
        (
            {"inputs": NUMBERS, "labels": LABELS, "classes": np.eye(3)},
            'the array "classes" of FILE has shape (3, 3), expected a list of texts: flatten it',
        ),
        (
            {"inputs": NUMBERS, "ids": np.arange(6) - 1},
            'the array "ids" of FILE: row 0 is -1, expected ids of 0 or more, each once: renumber the rows',
        ),
        (
            {"inputs": NUMBERS, "ids": np.array([1, 2, 3, 2, 4, 5])},
            'the array "ids" of FILE: rows have the id 2 more than once, expected ids of 0 or more, each once: renumber '
            "the rows",
        ),
        (
            {"inputs": NUMBERS, "ids": np.arange(6.0)},
            'the array "ids" of FILE holds float64 of shape (6,), expected whole numbers of shape (6,): give every row '
            "its id",
        ),
        (
            {"inputs": NUMBERS, "features": ["a", "b"]},
            'the array "features" of FILE names 2 columns, but the inputs have shape (6, 4), expected (rows, columns): '
            "give every column its name",
        ),
        (
            {"x_train": NUMBERS, "x_test": NUMBERS[:, :3]},
            "the test inputs of FILE are float32 with rows of shape (3,), but the training inputs float32 of shape (4,): "
            "they must be alike",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(refused, arrays, message):
    assert refused(**arrays) == message


def test_nan_in_an_array_that_is_no_table_is_refused(refused):
    assert 'NaN in the inputs of part "train": row 3 ' in refused(inputs=np.where(NUMBERS == 13, np.nan, NUMBERS))


def test_a_number_too_large_for_float32_is_refused(refused):
    assert 'infinity in the inputs of part "train": row 1 ' in refused(
        inputs=np.where(NUMBERS == 6, np.float64(1e300), NUMBERS)
    )


def test_a_path_to_no_file_of_numpy_s_is_refused(tmp_path):
    assert why(tmp_path / "no.npy", UsageError) == "FILE does not exist, expected an .npy or .npz file: check the path"
    assert why(tmp_path, UsageError) == "FILE is a folder, expected an .npy or .npz file: check the path"
    (tmp_path / "a.csv").write_text("a,b\n")
    message = "FILE is no file of numpy's by its name, expected .npy or .npz: check the path"
    assert why(tmp_path / "a.csv", UsageError) == message


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"of no use", b"\x93NUMPY\x01\x00\x05\x00{(((("])
def test_a_file_that_is_no_array_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"data{suffix}"
    path.write_bytes(content)
    assert why(path).startswith("FILE cannot be read as numpy's arrays (")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_file_that_is_cut_short_is_refused(tmp_path, suffix):
    path = tmp_path / f"data{suffix}"
    (np.save if suffix == ".npy" else np.savez)(path, NUMBERS)
    path.write_bytes(path.read_bytes()[:-30])
    assert why(path).startswith("FILE cannot be read as numpy's arrays (")


def test_an_archive_with_a_flipped_bit_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, inputs=NUMBERS)
    content = bytearray(path.read_bytes())
    content[content.index(NUMBERS[3].tobytes())] ^= 1
    path.write_bytes(content)
    assert why(path).startswith("FILE cannot be read as numpy's arrays (Bad CRC-32")


class Marks:
    """What runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["npy", "npz", "plain"])
def test_nothing_in_a_file_is_run(tmp_path, how):
    mark, path = tmp_path / "ran", tmp_path / f"data.{'npz' if how == 'npz' else 'npy'}"
    if how == "plain":
        path.write_bytes(pickle.dumps(Marks(mark)))
    else:
        array = np.array([[Marks(mark)]], dtype=object)
        np.save(path, array) if how == "npy" else np.savez(path, inputs=array)
    why(path)
    assert not mark.exists()


# ---------------------------------------------------------------- .npy, and what is large


def test_an_npy_file_holds_inputs_alone(tmp_path):
    np.save(tmp_path / "my.rows.npy", NUMBERS)
    dataset = load(tmp_path / "my.rows.npy")
    np.testing.assert_array_equal(dataset.train.inputs, NUMBERS)
    assert (dataset.classes, dataset.train.labels.tolist()) == ((), [-1] * 6)


def test_labels_lie_beside_an_npy_file(tmp_path):
    np.save(tmp_path / "my.rows.npy", NUMBERS)
    np.save(tmp_path / "my.rows.labels.npy", np.array(["b", "a", "b", "", "a", "a"]))
    dataset = load(tmp_path / "my.rows.npy")
    assert (dataset.classes, dataset.train.labels.tolist()) == (("a", "b"), [1, 0, 1, -1, 0, 0])


def test_labels_beside_an_npy_file_are_named_by_their_own_path(tmp_path):
    np.save(tmp_path / "rows.npy", NUMBERS)
    np.save(tmp_path / "rows.labels.npy", LABELS[:5])
    assert why(tmp_path / "rows.npy") == (
        f"{tmp_path / 'rows.labels.npy'} has shape (5,), expected (6,) for 6 rows of inputs: give every row its label"
    )


def test_a_small_npy_file_may_change_after_it_was_read(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, NUMBERS)
    part = load(path).train
    np.save(path, NUMBERS + 1)
    np.testing.assert_array_equal(part.inputs, NUMBERS)


@pytest.fixture
def large_from(monkeypatch):
    """What is large, in bytes."""
    return lambda size: monkeypatch.setattr("limbeck.data.scratch.LARGE_BYTES", size)


def test_a_large_npy_file_is_mapped_and_not_copied(tmp_path, large_from):
    large_from(64)
    path = tmp_path / "rows.npy"
    np.save(path, NUMBERS)
    inputs = load(path).train.inputs
    assert isinstance(inputs, np.memmap)
    assert (inputs.filename, inputs.flags.writeable) == (path, False)
    np.testing.assert_array_equal(inputs, NUMBERS)


@pytest.mark.parametrize("how", ["float64", "big-endian", "columns first"])
def test_a_large_npy_file_of_another_kind_is_converted_into_a_temporary_file(tmp_path, large_from, how, monkeypatch):
    large_from(64)
    monkeypatch.setattr("limbeck.data.scratch._CHUNK_BYTES", 64)
    numbers = {"float64": NUMBERS.astype(np.float64), "big-endian": NUMBERS.astype(">f4")}.get(how)
    np.save(tmp_path / "rows.npy", np.asfortranarray(NUMBERS) if numbers is None else numbers)
    inputs = load(tmp_path / "rows.npy").train.inputs
    assert isinstance(inputs, np.memmap)
    assert (inputs.filename, inputs.dtype, inputs.flags.c_contiguous) == (None, np.float32, True)
    np.testing.assert_array_equal(inputs, NUMBERS)


def test_a_mapped_file_is_learnt_from_and_measured_without_a_warning(tmp_path, large_from, digits):
    large_from(1000)
    np.save(tmp_path / "rows.npy", digits.inputs[:200])
    np.save(tmp_path / "rows.labels.npy", digits.labels[:200])
    part = load(tmp_path / "rows.npy").train
    assert not part.inputs.flags.writeable
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = limbeck.MLP((8, 8), 10, widths=[16])
            limbeck.teach(model, part, limbeck.TrainSettings(epochs=20, batch_size=50, learning_rate=1e-2))
            row = limbeck.evaluate(model, part)
            knowledge = limbeck.extract(model, part, tmp_path / "artifacts")
    finally:
        torch.set_warn_always(before)
    assert row["accuracy"] > 0.9
    assert knowledge.rows == 200


def test_a_large_array_has_the_hashes_of_a_small_one(tmp_path, large_from):
    np.save(tmp_path / "rows.npy", NUMBERS)
    small = load(tmp_path / "rows.npy").train
    large_from(64)
    large = load(tmp_path / "rows.npy").train
    assert large.inputs_hash == small.inputs_hash
    np.testing.assert_array_equal(large.row_hashes, small.row_hashes)


def test_the_temporary_file_has_no_name_and_its_space_is_free_again(tmp_path, large_from, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    large_from(64)
    np.save(tmp_path / "rows.npy", NUMBERS.astype(np.float64))
    gc.collect()
    held = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    dataset = load(tmp_path / "rows.npy")
    assert os.listdir(tmp_path / "scratch") == []
    assert isinstance(dataset.train.inputs, np.memmap)
    del dataset
    gc.collect()
    assert held is None or len(os.listdir("/proc/self/fd")) == held


def test_a_disk_without_room_is_said(tmp_path, large_from, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    large_from(64)
    np.save(tmp_path / "rows.npy", np.zeros((4000, 4)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        message = why(tmp_path / "rows.npy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert message == (
        f"no room in {tmp_path} for 6.4e-05 GB of temporary data (File too large): free some space, or set TMPDIR to a "
        "folder on a larger disk"
    )
