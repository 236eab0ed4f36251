import numpy as np
import pytest

from limbeck.data import Part, load_dataset, shared_rows
from limbeck.errors import LimbeckError, UsageError

CLASSES = ("zero", "one", "two")


def part(**changed):
    fields = {
        "name": "train",
        "inputs": np.arange(24, dtype=np.float32).reshape(6, 4),
        "labels": np.array([0, 1, 2, -1, 1, 0]),
        "ids": np.arange(10, 16),
        "classes": CLASSES,
    }
    return Part(**(fields | changed))


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits").train


def test_taking_rows_keeps_their_ids_and_order():
    taken = part().take(np.array([4, 0]))
    assert taken.ids.tolist() == [14, 10]
    assert taken.labels.tolist() == [1, 0]
    assert taken.inputs[:, 0].tolist() == [16.0, 0.0]


@pytest.fixture
def mapped(tmp_path, monkeypatch):
    """A part like `part()` whose inputs are a mapped file and large; they are copied two rows at a time."""
    np.save(tmp_path / "rows.npy", part().inputs)
    monkeypatch.setattr("limbeck.data.scratch.LARGE_BYTES", 64)
    monkeypatch.setattr("limbeck.data.scratch._CHUNK_BYTES", 2 * 16)
    return part(inputs=np.load(tmp_path / "rows.npy", mmap_mode="r"))


@pytest.mark.parametrize("rows", [[4, 0, 1, 5, 4], [-1, 2, 3, 3], [0, 1, 2, 3, 4, 5]])
def test_many_rows_taken_from_a_mapped_file_lie_in_a_temporary_file(mapped, rows):
    taken, expected = mapped.take(np.array(rows)), part().take(np.array(rows))
    assert isinstance(taken.inputs, np.memmap)
    assert taken.inputs.filename is None
    assert taken.inputs_hash == expected.inputs_hash
    assert taken.labels_hash == expected.labels_hash


def test_few_rows_taken_from_a_mapped_file_are_in_memory(mapped):
    taken = mapped.take(np.array([4, 0]))
    assert type(taken.inputs) is np.ndarray
    assert taken.inputs_hash == part().take(np.array([4, 0])).inputs_hash
    assert len(mapped.take(np.arange(0))) == 0


def test_rows_taken_from_rows_in_a_temporary_file_outlive_the_others(mapped):
    taken = mapped.take(np.arange(6)).take(np.array([5, 3, 1, 0]))
    np.testing.assert_array_equal(taken.inputs, part().inputs[[5, 3, 1, 0]])


def test_a_part_may_be_empty():
    empty = part().take(np.arange(0))
    assert len(empty) == 0
    assert len(empty.inputs_hash) == len(empty.labels_hash) == 64
    assert empty.row_hashes.shape == (0,)


def test_the_inputs_hash_depends_on_inputs_shape_dtype_and_ids_alone():
    one = part().inputs_hash
    assert part(name="other", labels=np.zeros(6, np.int64), classes=("a",)).inputs_hash == one
    inputs = part().inputs
    changed = inputs.copy()
    changed[5, 3] += 1
    others = [
        part(inputs=changed),
        part(inputs=inputs.reshape(6, 2, 2)),
        part(inputs=inputs.astype(np.uint8)),
        part(ids=np.arange(6)),
    ]
    assert len({one, *(p.inputs_hash for p in others)}) == 5


def test_the_inputs_hash_does_not_depend_on_memory_layout():
    inputs = part().inputs
    assert part(inputs=np.asfortranarray(inputs)).inputs_hash == part().inputs_hash
    assert part(inputs=np.repeat(inputs, 2, axis=0)[::2]).inputs_hash == part().inputs_hash


def test_the_inputs_hash_keeps_its_value():
    # Keys on users' disks hang on it: a change here needs new versions of every stage.
    assert part().inputs_hash == "d322305e7554f07a465f3bba20f93cc5117ddd52a6bc1a5d6e3ed126ef25c39c"
    assert part().labels_hash == "348741798a4216fbfa44302cb4ea38fb9d5c126d641e0f6da5658cdf7cb5b688"


def test_the_labels_hash_depends_on_labels_and_class_names():
    renamed = part(classes=("one", "zero", "two"))
    relabelled = part(labels=np.array([0, 1, 2, -1, 1, 1]))
    assert len({part().labels_hash, renamed.labels_hash, relabelled.labels_hash}) == 3
    assert part(inputs=np.zeros((6, 9), np.uint8)).labels_hash == part().labels_hash


def test_classes_are_selected_by_name_or_number():
    assert part().selected(without=["one"]).tolist() == [0, 2, 3, 5]
    assert part().selected(without=[1, "two"]).tolist() == [0, 3, 5]
    assert part().selected(only=["one", 2]).tolist() == [1, 2, 4]
    assert part().selected(only=[1, 2], without=["two"]).tolist() == [1, 4]
    assert part().selected().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("unknown", ["on", 3, -1, True, 1.0])
def test_selecting_an_unknown_class_is_refused(unknown):
    with pytest.raises(UsageError, match=r'part "train" has no class .*expected a name among "zero", "one"'):
        part().selected(without=[unknown])


def test_an_unknown_class_comes_with_the_nearest_one():
    with pytest.raises(UsageError, match=r"no class 'zer', .*, did you mean \"zero\"\?"):
        part().selected(only=["zer"])


def test_selecting_everything_away_is_refused():
    with pytest.raises(UsageError, match=r'no row of part "train" \(2 rows\) is left'):
        part().take(np.array([1, 4])).selected(without=["one"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"inputs": np.zeros((6, 4))},
            "an array of float64 with shape (6, 4), expected a numpy array of uint8",
        ),
        ({"inputs": [[0]]}, "are a list, expected a numpy array"),
        ({"inputs": np.zeros(6, np.uint8)}, "have shape (6,), expected (rows, …)"),
        ({"labels": np.zeros(5, np.int64)}, 'labels of part "train" are an array of int64 with shape (5,)'),
        ({"labels": np.zeros(6)}, 'labels of part "train" are an array of float64'),
        ({"ids": np.zeros((6, 1), np.int64)}, 'ids of part "train" are an array of int64 with shape (6, 1)'),
        ({"ids": np.array([0, 1, -7, 3, 4, 5])}, 'row 2 of part "train" has id -7'),
        ({"classes": ["a", "b", "c"]}, "expected a tuple of strings"),
        ({"classes": (0, 1, 2)}, "expected a tuple of strings"),
        ({"classes": ("a", "b", "a")}, 'has the class "a" more than once'),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changed, message):
    with pytest.raises(UsageError) as error:
        part(**changed)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("label", [3, -2])
def test_a_label_out_of_range_is_refused_with_its_row(label):
    labels = np.array([0, 0, 0, 0, label, 0])
    with pytest.raises(LimbeckError, match=rf'labels out of range: row 4 of part "train" has label {label}, '):
        part(labels=labels)


@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_inputs_that_are_not_finite_are_refused_with_their_row(value, name):
    inputs = part().inputs.copy()
    inputs[3, 2] = value
    with pytest.raises(LimbeckError, match=rf'{name} in the inputs of part "train": row 3 \(id 13\)'):
        part(inputs=inputs)


def test_nan_is_found_in_a_part_that_is_checked_in_several_pieces():
    inputs = np.zeros((5000, 1024), np.float32)
    inputs[4500, 1000] = np.nan
    with pytest.raises(LimbeckError, match="row 4500 "):
        Part("big", inputs, np.full(5000, -1), np.arange(5000), ())


def test_rows_shared_by_two_parts_are_found(digits):
    a, b = digits.take(np.arange(0, 900)), digits.take(np.arange(800, 1797))
    expected = [i for i in range(900) if (b.inputs == a.inputs[i]).all(axis=(1, 2)).any()]
    assert shared_rows(a, b).tolist() == expected
    assert set(range(800, 900)) <= set(expected)


def test_rows_shared_with_a_mapped_file_are_found(mapped):
    assert shared_rows(part().take(np.array([2, 4])), mapped).tolist() == [0, 1]
    assert shared_rows(mapped, part(inputs=part().inputs + 8)).tolist() == [2, 3, 4, 5]


def test_the_row_hashes_keep_their_values():
    assert part().row_hashes[:2].tolist() == [5495844738850925895, 8255143636859913923]


def test_rows_of_other_shapes_or_dtypes_are_not_shared(digits):
    rows = digits.take(np.arange(10))
    flat = Part("flat", rows.inputs.reshape(10, 64), rows.labels, rows.ids, rows.classes)
    floats = Part("floats", rows.inputs.astype(np.float32), rows.labels, rows.ids, rows.classes)
    assert shared_rows(rows, flat).size == shared_rows(rows, floats).size == 0


def test_a_single_changed_value_changes_the_row_hash(digits):
    inputs = digits.inputs[:64].copy()
    inputs.reshape(64, 64)[np.arange(64), np.arange(64)] ^= 1
    changed = Part("changed", inputs, digits.labels[:64], digits.ids[:64], digits.classes)
    assert not np.isin(changed.row_hashes, digits.row_hashes[:64]).any()
