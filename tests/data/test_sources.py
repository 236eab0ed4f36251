import gzip
import shutil
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

from limbeck.data import Reading, bundled, load_dataset, shared_rows
from limbeck.errors import LimbeckError, UsageError


@pytest.fixture(scope="module")
def mnist():
    return load_dataset("mnist")


def test_mnist_is_whole(mnist):
    assert mnist.name == "mnist"
    assert mnist.train.inputs.shape == (60000, 28, 28)
    assert mnist.test.inputs.shape == (10000, 28, 28)
    assert mnist.train.inputs.dtype == np.uint8
    assert mnist.classes == mnist.train.classes == mnist.test.classes == tuple("0123456789")
    assert np.bincount(mnist.train.labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949
    ]  # fmt: skip
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert (mnist.train.ids == np.arange(60000)).all()


def test_mnist_s_test_rows_are_not_among_its_training_rows(mnist):
    assert shared_rows(mnist.test, mnist.train).size == 0


@pytest.mark.parametrize("file", sorted(bundled.MNIST_MD5))
def test_a_bundled_file_with_other_content_is_named(file, tmp_path, monkeypatch):
    shutil.copytree(files("limbeck.data").joinpath("mnist"), tmp_path / "mnist")
    path = tmp_path / "mnist" / f"{file}.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    path.write_bytes(gzip.compress(content, compresslevel=1))
    monkeypatch.setattr(bundled, "files", lambda _: tmp_path)
    with pytest.raises(LimbeckError, match=rf"{path} is damaged: the MD5 .* expected {bundled.MNIST_MD5[file]}"):
        bundled.load_mnist()


def test_a_missing_bundled_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "files", lambda _: tmp_path)
    with pytest.raises(LimbeckError, match=rf"cannot read the bundled {tmp_path}/mnist/train-images-idx3-ubyte.gz"):
        bundled.load_mnist()


def test_digits_are_scikit_learn_s():
    digits = load_dataset("digits")
    assert digits.train.inputs.shape == (1797, 8, 8)
    assert digits.train.inputs.dtype == np.uint8
    assert digits.train.inputs.max() == 16
    assert digits.classes == tuple("0123456789")
    assert digits.test is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "minst",
            'unknown data source "minst", expected "mnist", "digits", "synthetic", "letters", "diamonds", "reviews", '
            '"tweets", "products", "glosses", "english", "idx:FOLDER", "images:FOLDER", a table (.csv, .parquet), texts '
            '(.jsonl, .txt) or arrays (.npy, .npz), did you mean "mnist"?',
        ),
        ("MNIST", 'did you mean "mnist"?'),
        ("digit", 'did you mean "digits"?'),
        ("id:some/folder", 'did you mean "idx:FOLDER"?'),
        ("image:some/folder", 'did you mean "images:FOLDER"?'),
        ("diamond", 'did you mean "diamonds"?'),
        ("zzz", 'unknown data source "zzz", expected'),
        ("", 'unknown data source "", expected'),
        ("images:", 'data source "images:" names no folder: write "images:FOLDER"'),
        ("idx:", 'data source "idx:" names no folder: write "idx:FOLDER"'),
    ],
)
def test_an_unknown_source_is_refused_with_the_nearest_one(source, message):
    with pytest.raises(UsageError) as error:
        load_dataset(source)
    assert message in str(error.value)


def test_a_folder_without_idx_before_it_is_pointed_out(tmp_path):
    with pytest.raises(UsageError, match=rf': write "idx:{tmp_path}" or "images:{tmp_path}" to read this folder$'):
        load_dataset(str(tmp_path))


def test_a_file_of_another_kind_is_pointed_out(tmp_path):
    (tmp_path / "table.xlsx").write_text("x")
    endings = ".csv, .csv.gz, .tsv, .tsv.gz, .parquet, .jsonl, .txt, .npy, .npz"
    with pytest.raises(UsageError, match=rf": write the file as one that ends in {endings}$"):
        load_dataset(str(tmp_path / "table.xlsx"))


def test_a_path_is_looked_for_beside_the_recipe_first_then_in_the_working_folder(tmp_path, monkeypatch):
    recipes, here = tmp_path / "recipes", tmp_path / "here"
    for folder, number in ((recipes, 1), (here, 2)):
        folder.mkdir()
        (folder / "both.csv").write_text(f"a\n{number}\n")
    (here / "one.csv").write_text("a\n3\n")
    monkeypatch.chdir(here)
    assert load_dataset("both.csv", beside=recipes).train.inputs.tolist() == [[1]]
    assert load_dataset("both.csv").train.inputs.tolist() == [[2]]
    assert load_dataset("one.csv", beside=recipes).train.inputs.tolist() == [[3]]
    assert load_dataset(str(here / "both.csv"), beside=recipes).train.inputs.tolist() == [[2]]
    assert load_dataset("both.csv", beside=recipes).name == "both.csv"


@pytest.mark.parametrize(
    ("source", "reading", "message"),
    [
        (
            "mnist",
            Reading(label="y"),
            'data.label does not apply to data source "mnist", which has no such settings: take it out',
        ),
        (
            "digits",
            Reading(label="y", size=(8, 8)),
            'data.label and data.size do not apply to data source "digits", which has no such settings: take them out',
        ),
        (
            "idx:folder",
            Reading(mode="grey"),
            'data.mode does not apply to data source "idx:folder", which has no such settings: take it out',
        ),
        (
            "images:folder",
            Reading(ignore=("a",)),
            'data.ignore does not apply to data source "images:folder", expected at most data.size, data.mode, '
            "data.skip_damaged: take it out",
        ),
        (
            "letters",
            Reading(skip_damaged=True),
            'data.skip_damaged does not apply to data source "letters", expected at most data.label, data.id, '
            "data.ignore, data.numeric, data.categorical: take it out",
        ),
    ],
)
def test_a_setting_that_the_source_does_not_have_is_named(source, reading, message):
    with pytest.raises(UsageError) as error:
        load_dataset(source, reading)
    assert str(error.value) == message


def test_arrays_and_images_are_sources_too(tmp_path, digits_as_files):
    arrays, images = digits_as_files
    assert load_dataset(str(arrays)).train.inputs.shape == (6, 8, 8)
    assert load_dataset(f"images:{images}").train.inputs.shape == (6, 8, 8)


@pytest.fixture
def digits_as_files(tmp_path, digits):
    """Six digits as an .npz file, and as a folder of images."""
    from PIL import Image

    np.savez(tmp_path / "six.npz", inputs=digits.inputs[:6], labels=digits.labels[:6])
    for row in range(6):
        folder = tmp_path / "images" / str(digits.labels[row] % 2)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits.inputs[row]).save(folder / f"{row}.png")
    return tmp_path / "six.npz", tmp_path / "images"


def test_importing_the_data_room_imports_nothing_heavy():
    code = "import sys, limbeck.data; print([m for m in ('torch', 'sklearn', 'matplotlib', 'pyarrow', 'pandas', 'PIL') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
