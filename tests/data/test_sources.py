import gzip
import shutil
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

from limbeck.data import bundled, load_dataset, shared_rows
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
        ("minst", 'expected "mnist", "digits" or "idx:FOLDER", did you mean "mnist"?'),
        ("MNIST", 'did you mean "mnist"?'),
        ("digit", 'did you mean "digits"?'),
        ("id:some/folder", 'did you mean "idx:FOLDER"?'),
        ("zzz", 'unknown data source "zzz", expected'),
        ("", 'unknown data source "", expected'),
        ("idx:", 'data source "idx:" names no folder: write "idx:FOLDER"'),
    ],
)
def test_an_unknown_source_is_refused_with_the_nearest_one(source, message):
    with pytest.raises(UsageError) as error:
        load_dataset(source)
    assert message in str(error.value)


def test_a_folder_without_idx_before_it_is_pointed_out(tmp_path):
    with pytest.raises(UsageError, match=rf'write "idx:{tmp_path}" to read this folder'):
        load_dataset(str(tmp_path))


def test_importing_the_data_room_imports_neither_torch_nor_scikit_learn():
    code = "import sys, limbeck.data; print([m for m in ('torch', 'sklearn', 'matplotlib') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
