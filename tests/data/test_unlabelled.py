"""Rows without labels from files: read as the data's rows are, or refused in one line."""

import gzip
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from limbeck.data import Part, Reading, Split, load_dataset, scratch
from limbeck.data.unlabelled import check_held_out, unlabelled_part
from limbeck.errors import LimbeckError, UsageError

TABLE = "colour,size,y\nred,1.5,a\ngreen,2,b\nred,3,a\n"


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits").train


@pytest.fixture
def table(tmp_path):
    """A data set of a table's, with a column of texts and one of numbers."""
    (tmp_path / "data.csv").write_text(TABLE)
    return load_dataset(str(tmp_path / "data.csv"), Reading(label="y")).train


@pytest.fixture
def numbers(tmp_path):
    """A data set of a table of numbers, with values missing in the second column."""
    (tmp_path / "numbers.csv").write_text("a,b,y\n1,2,x\n3,,z\n")
    return load_dataset(str(tmp_path / "numbers.csv"), Reading(label="y")).train


@pytest.fixture
def images(tmp_path, digits):
    """A data set of images read from files."""
    for number in range(4):
        save(tmp_path / "data" / "ab"[number % 2] / f"{number}.png", digits.inputs[number] * 15)
    return load_dataset(f"images:{tmp_path / 'data'}").train


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def read(tmp_path, given, like, reading=None, **options):
    said = []
    part = unlabelled_part(given, like, reading or Reading(), beside=tmp_path, say=said.append, **options)
    assert (part.labels == -1).all()
    assert (part.classes, part.form) == (like.classes, like.form)
    return part, said


def refused(tmp_path, given, like, error=LimbeckError, **reading):
    with pytest.raises(error) as caught:
        unlabelled_part(given, like, Reading(**reading), beside=tmp_path)
    assert caught.type is error
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(tmp_path), "HERE")


# ---------------------------------------------------------------- arrays


def test_arrays_are_read_and_their_labels_left_aside(tmp_path, digits):
    np.savez(tmp_path / "more.npz", X=digits.inputs[:30], y=digits.labels[:30])
    part, said = read(tmp_path, "file:more.npz", digits)
    np.testing.assert_array_equal(part.inputs, digits.inputs[:30])
    assert part.ids.tolist() == list(range(30))
    assert part.name == "file:more.npz"
    where = f'the array "y" of {tmp_path}/more.npz'
    assert said == [f"file:more.npz: {where} is left aside: these rows count as unlabelled"]


def test_a_path_is_taken_without_file_before_it_and_a_part_can_be_named(tmp_path, digits):
    np.save(tmp_path / "more.npy", digits.inputs[:30])
    part, said = read(tmp_path, "more.npy", digits, name="more")
    assert (part.name, len(part), said) == ("more", 30, [])


def test_a_path_is_looked_for_in_the_working_folder_too(tmp_path, digits, monkeypatch):
    (tmp_path / "work").mkdir()
    np.save(tmp_path / "work" / "more.npy", digits.inputs[:30])
    monkeypatch.chdir(tmp_path / "work")
    assert len(read(tmp_path, "more.npy", digits)[0]) == 30


def test_a_file_s_own_ids_are_kept(tmp_path, digits):
    np.savez(tmp_path / "more.npz", inputs=digits.inputs[:3], ids=[7, 5, 9])
    assert read(tmp_path, "more.npz", digits)[0].ids.tolist() == [7, 5, 9]


def test_of_arrays_with_a_test_set_the_training_rows_are_read(tmp_path, digits):
    np.savez(tmp_path / "more.npz", x_train=digits.inputs[:30], x_test=digits.inputs[30:40])
    part, said = read(tmp_path, "more.npz", digits)
    assert len(part) == 30
    where = f'the array "x_test" of {tmp_path}/more.npz'
    assert said == [f"file:more.npz: {where} is left aside: only training rows are read"]


def test_large_arrays_stay_in_their_file(tmp_path, digits, monkeypatch):
    monkeypatch.setattr(scratch, "LARGE_BYTES", 1000)
    np.save(tmp_path / "more.npy", digits.inputs[:30])
    part, _ = read(tmp_path, "more.npy", digits)
    assert isinstance(part.inputs, np.memmap)
    assert part.inputs.filename is not None


def test_numbers_of_another_width_become_float32_where_the_data_is(tmp_path, digits):
    like = replace(digits, inputs=digits.inputs.astype(np.float32))
    np.save(tmp_path / "more.npy", digits.inputs[:30].astype(np.float64))
    np.testing.assert_array_equal(read(tmp_path, "more.npy", like)[0].inputs, like.inputs[:30])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 8, 8), np.uint8), "HERE/x.npy holds no rows, expected at least one: use another file"),
        (
            np.zeros((5, 28, 28), np.uint8),
            "HERE/x.npy holds inputs of shape (28, 28), but the data's have (8, 8): bring them to that shape",
        ),
        (
            np.zeros((5, 64), np.uint8),
            "HERE/x.npy holds inputs of shape (64,), but the data's have (8, 8): bring them to that shape",
        ),
        (
            np.zeros((5, 8, 8), np.float32),
            "HERE/x.npy holds inputs of float32, but the data's are uint8: save them as uint8, with values that mean "
            "the same as the data's",
        ),
        (
            np.zeros((5, 8, 8), np.int64),
            "HERE/x.npy holds inputs of int64, but the data's are uint8: save them as uint8, with values that mean "
            "the same as the data's",
        ),
        (np.full((5, 8, 8), "x"), "HERE/x.npy holds <U1, expected numbers: convert it"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, digits, array, message):
    np.save(tmp_path / "x.npy", array)
    assert refused(tmp_path, "file:x.npy", digits) == message


def test_whole_numbers_do_not_go_with_fractions(tmp_path, digits):
    np.save(tmp_path / "x.npy", digits.inputs[:5])
    like = replace(digits, inputs=digits.inputs.astype(np.float32) / 16)
    assert refused(tmp_path, "x.npy", like) == (
        "HERE/x.npy holds inputs of uint8, but the data's are float32: save them as float32, with values that mean "
        "the same as the data's"
    )


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (1e300, "infinity")])
def test_a_row_that_is_not_finite_is_named(tmp_path, digits, value, word):
    inputs = digits.inputs[:5].astype(np.float64)
    inputs[3, 2, 1] = value
    np.save(tmp_path / "x.npy", inputs)
    like = replace(digits, inputs=digits.inputs.astype(np.float32))
    assert refused(tmp_path, "x.npy", like) == (
        f'{word} in the inputs of part "file:x.npy": row 3 (id 3), expected finite numbers: mend the row or leave it out'
    )


def test_arrays_without_inputs_and_damaged_ones_are_refused_as_data_is(tmp_path, digits):
    np.savez(tmp_path / "x.npz", labels=digits.labels)
    assert refused(tmp_path, "x.npz", digits) == (
        'HERE/x.npz holds no inputs (labels), expected one array of them: name it "inputs"'
    )
    (tmp_path / "y.npz").write_bytes(b"PK")
    assert refused(tmp_path, "y.npz", digits) == (
        "HERE/y.npz cannot be read as numpy's arrays (it is no zip archive): save it anew"
    )


# ---------------------------------------------------------------- idx


@pytest.mark.parametrize("packed", [False, True])
def test_one_idx_file_of_images_is_read_whatever_its_name(tmp_path, digits, packed):
    content = idx(digits.inputs[:30])
    name = "more-images-idx3-ubyte" + (".gz" if packed else "")
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    for given in (name, f"idx:{name}"):
        np.testing.assert_array_equal(read(tmp_path, given, digits)[0].inputs, digits.inputs[:30])


@pytest.mark.parametrize("given", ["idx:more", "more"])
def test_of_an_idx_folder_the_training_images_are_read(tmp_path, digits, given):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "train-images-idx3-ubyte").write_bytes(idx(digits.inputs[:30]))
    (tmp_path / "more" / "t10k-images-idx3-ubyte").write_bytes(idx(digits.inputs[30:40]))
    part, said = read(tmp_path, given, digits)
    np.testing.assert_array_equal(part.inputs, digits.inputs[:30])
    assert said == [f"file:{given}: of {tmp_path}/more only the training images are read"]


def test_idx_images_of_another_size_are_refused(tmp_path, digits):
    (tmp_path / "x-images-idx3-ubyte").write_bytes(idx(np.zeros((3, 9, 8), np.uint8)))
    assert refused(tmp_path, "x-images-idx3-ubyte", digits) == (
        "HERE/x-images-idx3-ubyte holds inputs of shape (9, 8), but the data's have (8, 8): bring them to that shape"
    )


def test_an_idx_file_of_labels_and_an_empty_one_are_refused(tmp_path, digits):
    (tmp_path / "x").write_bytes(idx(digits.labels.astype(np.uint8)))
    assert refused(tmp_path, "x", digits) == (
        "HERE/x starts with the bytes 00 00 08 01, expected the magic number 00 00 08 03 (3-dimensional unsigned "
        "bytes): get the file anew from its source"
    )
    (tmp_path / "x").write_bytes(idx(np.zeros((0, 8, 8), np.uint8)))
    assert refused(tmp_path, "x", digits) == (
        "HERE/x is an empty set (shape (0, 8, 8)), expected at least one row: use another file"
    )


# ---------------------------------------------------------------- images


@pytest.mark.parametrize("given", ["more", "images:more"])
@pytest.mark.parametrize("folders", [("", ""), ("x/", "y/"), ("", "deeper/")])
def test_images_are_read_with_folders_and_without(tmp_path, digits, images, given, folders):
    for number, folder in enumerate(folders):
        save(tmp_path / "more" / f"{folder}{number}.png", digits.inputs[number] * 15)
    part, said = read(tmp_path, given, images)
    np.testing.assert_array_equal(part.inputs, digits.inputs[:2] * 15)
    assert (part.ids.tolist(), said) == ([0, 1], [])


def test_one_image_is_read(tmp_path, digits, images):
    save(tmp_path / "one.png", digits.inputs[9])
    np.testing.assert_array_equal(read(tmp_path, "one.png", images)[0].inputs, digits.inputs[9:10])


def test_arrays_go_with_images_of_their_size(tmp_path, digits, images):
    np.save(tmp_path / "more.npy", digits.inputs[:3])
    np.testing.assert_array_equal(read(tmp_path, "more.npy", images)[0].inputs, digits.inputs[:3])


def test_of_a_folder_with_train_and_test_the_training_images_are_read(tmp_path, digits, images):
    for number, folder in enumerate(("train/a", "train/b", "test/a")):
        save(tmp_path / "more" / folder / f"{number}.png", digits.inputs[number])
    part, said = read(tmp_path, "more", images)
    np.testing.assert_array_equal(part.inputs, digits.inputs[:2])
    train = tmp_path / "more" / "train"
    assert said == [f"file:more: only the images in {train} are read, the training images of a data set"]


def test_images_are_brought_to_the_size_that_the_data_s_were_brought_to(tmp_path, digits, images):
    like = load_dataset(f"images:{tmp_path / 'data'}", Reading(size=(6, 5), mode="colour")).train
    save(tmp_path / "more" / "0.png", digits.inputs[0])
    assert read(tmp_path, "more", like)[0].inputs.shape == (1, 6, 5, 3)


def test_images_of_another_size_are_refused(tmp_path, images):
    save(tmp_path / "more" / "0.png", np.zeros((9, 7), np.uint8))
    assert refused(tmp_path, "more", images) == (
        "HERE/more/0.png has 9×7 pixels, expected 8×8 as in the images that the teacher was taught with: bring it to "
        "that size"
    )


def test_a_damaged_image_is_refused_or_left_out_and_named(tmp_path, digits, images):
    save(tmp_path / "more" / "0.png", digits.inputs[0])
    (tmp_path / "more" / "1.png").write_bytes(b"no image")
    save(tmp_path / "more" / "2.png", digits.inputs[2])
    why = "/more/1.png is no image, or damaged (its content is none of PNG, JPEG, BMP, GIF, WEBP, TIFF)"
    assert refused(tmp_path, "more", images) == f"HERE{why}: mend it or take it out"
    part, said = read(tmp_path, "more", images, Reading(skip_damaged=True))
    np.testing.assert_array_equal(part.inputs, digits.inputs[[0, 2]])
    assert said == [f"file:more: {tmp_path}{why}: left out"]


def test_a_folder_without_images_is_refused(tmp_path, images):
    (tmp_path / "more").mkdir()
    assert refused(tmp_path, "more", images) == (
        "folder HERE/more holds no images, and no other files, expected names in .png, .jpg, .jpeg, .bmp, .gif, .webp, "
        ".tif, .tiff: check the path"
    )


# ---------------------------------------------------------------- tables


def test_a_table_s_columns_are_found_by_name_and_its_label_is_left_aside(tmp_path, table):
    (tmp_path / "more.csv").write_text("more,y,size,colour\n1,b,4,green\n2,,,red\n")
    part, said = read(tmp_path, "more.csv", table, Reading(label="y"))
    np.testing.assert_array_equal(part.inputs, np.array([[0, 4], [1, np.nan]], np.float32))
    assert part.ids.tolist() == [0, 1]
    assert said == [
        'file:more.csv: the label column "y" is left aside: these rows count as unlabelled',
        'file:more.csv: column "size": 1 row has no value, which the teacher has never met here',
    ]


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".tsv", ".parquet"])
def test_tables_are_read_in_every_format(tmp_path, table, ending):
    from pyarrow import csv, parquet

    path = tmp_path / f"more{ending}"
    text = TABLE.replace(",", "\t") if ending == ".tsv" else TABLE
    if ending == ".parquet":
        parquet.write_table(csv.read_csv(tmp_path / "data.csv"), path)
    else:
        path.write_bytes(gzip.compress(text.encode()) if ending == ".csv.gz" else text.encode())
    np.testing.assert_array_equal(read(tmp_path, path.name, table)[0].inputs, table.inputs)


def test_ids_come_from_the_id_column_where_the_table_has_it(tmp_path, table):
    (tmp_path / "with.csv").write_text("n,size,colour\n8,4,green\n3,1,red\n")
    (tmp_path / "without.csv").write_text("size,colour\n4,green\n1,red\n")
    assert read(tmp_path, "with.csv", table, Reading(id="n"))[0].ids.tolist() == [8, 3]
    assert read(tmp_path, "without.csv", table, Reading(id="n"))[0].ids.tolist() == [0, 1]


def test_a_category_that_the_data_has_not_is_said(tmp_path, table):
    (tmp_path / "more.csv").write_text("size,colour\n4,blue\n1,red\n")
    part, said = read(tmp_path, "more.csv", table)
    assert part.inputs[:, 0].tolist() == [-1, 1]
    assert said == [
        'file:more.csv: column "colour": 1 row has "blue", which the teacher has never seen: it counts as unknown'
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "colours,size\nred,1\n",
            'HERE/x.csv has no column "colour", expected every column that the teacher was trained on, did you mean '
            '"colours"?',
        ),
        (
            "colour,size\nred,big\n",
            'column "size" of HERE/x.csv has "big" in row 0 (counted from 0), expected finite numbers: mend the value, '
            "or leave it empty for a missing one",
        ),
        (
            "colour,size\nred,inf\n",
            'column "size" of HERE/x.csv has "inf" in row 0 (counted from 0), expected finite numbers: mend the value, '
            "or leave it empty for a missing one",
        ),
        ("colour,size\n", "HERE/x.csv has a header but no rows, expected at least one: use another file"),
        ("", "HERE/x.csv is empty, expected a table with a header: use another file"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, table, text, message):
    (tmp_path / "x.csv").write_text(text)
    assert refused(tmp_path, "x.csv", table) == message


def test_arrays_go_with_a_table_of_numbers_by_place_or_by_name(tmp_path, numbers):
    np.savez(tmp_path / "place.npz", inputs=np.array([[1, np.nan], [2, 3.0]]))
    np.savez(tmp_path / "name.npz", inputs=np.array([[9, np.nan, 1], [9, 3.0, 2]]), features=["c", "b", "a"])
    for given in ("place.npz", "name.npz"):
        part, said = read(tmp_path, given, numbers)
        np.testing.assert_array_equal(part.inputs, np.array([[1, np.nan], [2, 3]], np.float32))
        assert said == []


def test_values_missing_in_an_array_where_the_data_has_none_are_said(tmp_path, numbers):
    np.save(tmp_path / "x.npy", np.array([[np.nan, 1], [2, 3.0]]))
    assert read(tmp_path, "x.npy", numbers)[1] == [
        'file:x.npy: column "a": 1 row has no value, which the teacher has never met here'
    ]


def test_arrays_that_do_not_fit_a_table_are_refused(tmp_path, table, numbers):
    np.savez(tmp_path / "x.npz", inputs=np.ones((2, 2)), features=["a", "c"])
    assert refused(tmp_path, "x.npz", numbers) == (
        'HERE/x.npz has no column "b" among its features, expected every column that the teacher was trained on: found '
        '"a", "c"'
    )
    np.save(tmp_path / "x.npy", np.ones((2, 3)))
    assert refused(tmp_path, "x.npy", numbers) == (
        "HERE/x.npy holds inputs of shape (3,), but the data's have (2,): bring them to that shape"
    )
    assert refused(tmp_path, "x.npy", table) == (
        'HERE/x.npy holds numbers alone, but the data has columns of texts ("colour"): give a table (.csv, .tsv, '
        ".parquet) with its columns"
    )


# ---------------------------------------------------------------- paths and kinds


def test_a_path_that_is_not_there_is_refused(tmp_path, digits):
    assert refused(tmp_path, "file:more.npz", digits, UsageError) == (
        "more.npz does not exist in HERE or in the working folder, expected a file or folder of rows without labels: "
        "check the path"
    )
    assert refused(tmp_path, f"file:idx:{tmp_path}/more", digits, UsageError) == (
        "HERE/more does not exist, expected a file or folder of rows without labels: check the path"
    )


@pytest.mark.parametrize("given", ["", "idx:", "images:"])
def test_a_part_that_names_no_file_is_refused(tmp_path, digits, given):
    message = f'the part "file:{given}" names no file: write "file:{given}PATH"'
    assert refused(tmp_path, f"file:{given}", digits, UsageError) == message


def test_a_file_of_no_known_kind_is_refused(tmp_path, digits):
    (tmp_path / "notes.doc").write_text("words")
    assert refused(tmp_path, "notes.doc", digits, UsageError) == (
        "HERE/notes.doc is of no kind that is known by its name, expected a table (.csv, .tsv, .parquet), texts "
        "(.jsonl, .txt), arrays (.npy, .npz), idx images, or a folder of images: write it as one of these"
    )


@pytest.mark.parametrize(
    ("data", "given", "message"),
    [
        ("digits", "x.csv", "a table, but the data holds arrays of shape (8, 8): give an .npy, .npz or idx file"),
        ("digits", "x.png", "an image, but the data holds arrays of shape (8, 8): give an .npy, .npz or idx file"),
        ("digits", "data", "a folder, but the data holds arrays of shape (8, 8): give an .npy, .npz or idx file"),
        ("images", "x.csv", "a table, but the data holds images: give a folder of images"),
        ("table", "x.png", "an image, but the data is a table: give a table (.csv, .tsv, .parquet) with its columns"),
        ("table", "data", "a folder, but the data is a table: give a table (.csv, .tsv, .parquet) with its columns"),
        ("table", "idx", "idx images, but the data is a table: give a table (.csv, .tsv, .parquet) with its columns"),
    ],
)
def test_a_file_of_another_kind_than_the_data_is_refused(tmp_path, digits, images, table, data, given, message):
    (tmp_path / "x.csv").write_text(TABLE)
    save(tmp_path / "x.png", digits.inputs[0])
    (tmp_path / "idx").write_bytes(idx(digits.inputs[:3]))
    like = {"digits": digits, "images": images, "table": table}[data]
    assert refused(tmp_path, given, like) == f"HERE/{given} is {message}"


# ---------------------------------------------------------------- held-out rows


@pytest.fixture(scope="module")
def split(digits):
    return load_dataset("digits").split(validation=100, test=0.2)


def part_of(*parts):
    inputs = np.concatenate([part.inputs for part in parts])
    rows = np.arange(len(inputs))
    return Part("file:extra.npz", inputs, np.full(len(rows), -1), rows, parts[0].classes)


def test_training_rows_may_be_in_an_unlabelled_part(split):
    check_held_out(part_of(split.train, split.train), split)


@pytest.mark.parametrize(
    ("rows_of", "message"),
    [
        ({"test": 1}, "1 of its 1,338 rows is also a test row (row 1337)"),
        ({"test": 3}, "3 of its 1,340 rows are also test rows (row 1337, 1338, 1339)"),
        ({"validation": 12}, "12 of its 1,349 rows are also validation rows (row 1337, 1338, 1339, …)"),
        (
            {"test": 2, "validation": 1},
            "2 of its 1,340 rows are also test rows (row 1337, 1338) and 1 is also a validation row (row 1339)",
        ),
    ],
)
def test_rows_that_are_measured_on_are_refused(split, rows_of, message):
    held_out = [getattr(split, name).take(np.arange(count)) for name, count in rows_of.items()]
    with pytest.raises(LimbeckError) as caught:
        check_held_out(part_of(split.train, *held_out), split)
    assert str(caught.value) == (
        f"file:extra.npz: {message}: take them out: a student would learn from what it is measured on"
    )


def test_a_split_without_validation_rows_is_checked_too(split):
    without = Split(split.train, split.validation.take(np.arange(0)), split.test)
    check_held_out(part_of(split.train), without)
