"""Rows for a saved model: tables by their columns' names, images in its mode and size, runs and data sets."""

from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.data import ImageForm
from limbeck.errors import LimbeckError
from limbeck.models import build_model, save_model
from limbeck.models.opening import open_model
from limbeck.raw_rows import rows_for
from limbeck.road import run_split

STUDENT = "models/student/plain-temperature=4"


@pytest.fixture
def student(grapes_finished):
    """A student of a table's, its path."""
    return grapes_finished / STUDENT


@pytest.fixture
def table(grapes):
    """The table, as lines of fields."""
    return [line.split(",") for line in (grapes.parent / "grapes.csv").read_text().splitlines()]


@pytest.fixture
def written(tmp_path):
    """A function: a table of these lines, its path."""

    def write(lines, name="new.csv"):
        (tmp_path / name).write_text("\n".join(",".join(line) for line in lines) + "\n")
        return tmp_path / name

    return write


def read(path, inputs, **options):
    model, classes = open_model(path)
    return rows_for(model, classes, str(inputs), Path(path), **options)


def refused(path, inputs, **options):
    with pytest.raises(LimbeckError) as error:
        read(path, inputs, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# ---------------------------------------------------------------- tables


def test_columns_are_found_by_name_in_any_order(student, table, written, grapes):
    whole = read(student, grapes.parent / "grapes.csv")
    order = [6, 3, 1, 5, 0, 2, 4]
    found = read(student, written([[*(line[column] for column in order), "more"] for line in table]))
    np.testing.assert_array_equal(found.inputs, whole.inputs)
    assert found.inputs.shape == (178, 5)
    assert np.isnan(found.inputs[0, 2])  # missing there
    assert (found.labels, found.notes, found.names[:2]) == (None, [], ["0", "1"])


def test_a_category_that_was_never_seen_is_noted(student, table, written):
    header, first, second, *rest = table
    found = read(student, written([header, [*first[:5], "orange", first[6]], second, *rest]))
    (note,) = found.notes
    assert 'column "colour"' in note
    assert "orange" in note
    assert found.inputs[0, 4] == -1
    assert found.inputs[1, 4] >= 0


def test_a_column_that_is_missing_is_named(student, table, written):
    path = written([[*line[:1], *line[2:]] for line in table])
    assert refused(student, path).startswith(f'{path} has no column "alcohol", expected ')


def test_a_column_of_labels_gives_the_model_s_numbers(student, table, written):
    _, classes = open_model(student)
    found = read(student, written([*table[:4], [*table[4][:6], ""]]), label="grape")
    assert [classes[label] for label in found.labels[:3]] == [line[6] for line in table[1:4]]
    assert found.labels[3] == -1


def test_only_so_many_rows_are_read(student, grapes):
    found = read(student, grapes.parent / "grapes.csv", rows=3, label="grape")
    assert (len(found.inputs), len(found.labels), len(found.names)) == (3, 3, 3)


def test_a_data_set_of_other_columns_is_refused(student):
    assert refused(student, "digits") == (
        f"digits has other columns or categories than {student} was taught with: give a table's .csv or .parquet file, "
        "in which columns are found by name"
    )


def test_a_label_is_for_tables_alone(student, tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros((2, 5), np.float32))
    assert refused(student, tmp_path / "rows.npy", label="grape") == (
        f"{tmp_path / 'rows.npy'} is no table with columns: leave label out"
    )


def test_a_run_s_folder_stands_for_its_test_rows(student, grapes_finished):
    test = run_split(grapes_finished).test
    found = read(student, grapes_finished)
    np.testing.assert_array_equal(found.inputs, test.inputs)
    np.testing.assert_array_equal(found.labels, test.labels)
    assert found.names == [str(number) for number in test.ids]
    assert min(map(int, found.names)) >= 1000  # the table's own ids


def test_a_run_of_another_table_is_refused(student, finished):
    assert refused(student, finished).startswith(f"{finished} has other columns or categories than {student}")


def test_a_file_of_another_sort_is_refused_with_what_the_model_takes(student, seeing, finished, pictures, written):
    text, table, image = written([["x"]], "new.txt"), written([["x"], ["1"]]), pictures / "cat" / "0.png"
    assert refused(student, text) == f"{student} takes a table (.csv, .parquet), and {text} is none"
    assert refused(student, image) == f"{student} takes a table (.csv, .parquet), and {image} is none"
    net = seeing(ImageForm("grey", 4, 4, resized=True))
    for path in (text, table):
        assert refused(net, path) == (
            f"{net} takes images (.png, .jpg, .jpeg, .bmp, .gif, .webp, .tif, .tiff) or a folder of them, and {path} is "
            "none"
        )
    model = finished / "models" / "student" / "2x16-temperature=4"
    for path, sort in ((table, "a table"), (image, "an image")):
        assert refused(model, path) == f"{model} takes arrays (an idx, .npy or .npz file), and {path} is {sort}"


# ---------------------------------------------------------------- images and data sets


@pytest.fixture
def pictures(tmp_path):
    """A folder of six small images of two classes, of different sizes, in colour."""
    pillow = pytest.importorskip("PIL.Image")
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(3):
            pixels = random.integers(0, 256, (6 + number, 8, 3), dtype=np.uint8)
            pillow.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture
def seeing(tmp_path):
    """A function: a saved net that was taught with images of a form."""

    def save(form, classes=("cat", "dog")):
        torch.manual_seed(0)
        shape = (form.height, form.width, 3) if form.mode == "colour" else (form.height, form.width)
        save_model(tmp_path / "net", build_model({"kind": "mlp", "widths": [4]}, shape, 2, form=form), classes)
        return tmp_path / "net"

    return save


@pytest.mark.parametrize(("mode", "shape"), [("grey", (6, 4, 4)), ("colour", (6, 4, 4, 3))])
def test_a_folder_of_images_is_brought_to_mode_and_size(seeing, pictures, mode, shape):
    net = seeing(ImageForm(mode, 4, 4, resized=True))
    found = read(net, pictures)
    assert (found.inputs.shape, found.inputs.dtype, found.labels) == (shape, np.uint8, None)
    assert found.names == [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(3)]


def test_one_image_is_one_row(seeing, pictures):
    net = seeing(ImageForm("grey", 4, 4, resized=True))
    found = read(net, pictures / "dog" / "1.png")
    assert found.names == ["1.png"]
    np.testing.assert_array_equal(found.inputs[0], read(net, pictures).inputs[4])


def test_an_image_of_another_size_is_named_where_sizes_are_kept(seeing, pictures):
    net = seeing(ImageForm("grey", 6, 8))
    assert refused(net, pictures).startswith(f"{pictures / 'cat' / '1.png'} has ")


def test_damaged_images_are_left_out_and_named_where_that_is_asked_for(seeing, pictures, limbeck):
    net, broken = seeing(ImageForm("grey", 4, 4, resized=True)), pictures / "cat" / "1.png"
    whole = read(net, pictures)
    broken.write_bytes(b"x")
    assert refused(net, pictures).startswith(f"{broken} is no image, or damaged")
    found = read(net, pictures, skip_damaged=True)
    assert found.names == [name for name in whole.names if name != "cat/1.png"]
    np.testing.assert_array_equal(found.inputs, whole.inputs[[0, 2, 3, 4, 5]])
    code, out, err = limbeck("predict", net, pictures, "--skip-damaged")
    assert (code, len(out.splitlines())) == (0, 5)
    assert err.startswith(f"{broken} is no image, or damaged")
    assert err.endswith(": left out\n")


def test_a_folder_of_damaged_images_alone_is_refused(seeing, pictures):
    net = seeing(ImageForm("grey", 4, 4, resized=True))
    (pictures / "cat" / "1.png").write_bytes(b"x")
    assert refused(net, pictures / "cat" / "1.png", skip_damaged=True) == (
        f"every image in {pictures / 'cat' / '1.png'} is damaged (1.png): get them anew"
    )


def test_a_folder_named_as_a_source_has_labels_as_the_model_counts(seeing, pictures):
    form = ImageForm("grey", 4, 4, resized=True)
    assert read(seeing(form), f"images:{pictures}").labels.tolist() == [0, 0, 0, 1, 1, 1]
    turned = read(seeing(form, ("dog", "cat")), f"images:{pictures}")
    assert turned.labels.tolist() == [1, 1, 1, 0, 0, 0]
    assert turned.inputs.shape == (6, 4, 4)
    assert read(seeing(form, ("yes", "no")), f"images:{pictures}").labels is None


def test_a_data_set_s_name_has_its_labels(finished, digits):
    model = finished / "models" / "student" / "2x16-temperature=4"
    found = read(model, "digits", rows=20)
    np.testing.assert_array_equal(found.inputs, digits.inputs[:20])
    np.testing.assert_array_equal(found.labels, digits.labels[:20])


def test_a_folder_that_is_none_of_these_is_refused(finished, tmp_path):
    model = finished / "models" / "student" / "2x16-temperature=4"
    assert refused(model, tmp_path) == f"{tmp_path} is a folder: give one file, or idx:{tmp_path} for its test rows"
