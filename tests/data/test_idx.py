import gzip
import re
import struct

import numpy as np
import pytest

from limbeck.data import load_dataset
from limbeck.errors import LimbeckError, UsageError

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def idx(array, *, kind=8):
    header = bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits").train


@pytest.fixture
def folder(tmp_path, digits):
    """A folder in MNIST's format, with 100 training and 30 test rows, under a name with a space."""
    folder = tmp_path / "my digits"
    folder.mkdir()
    write_set(folder, digits)
    return folder


def write_set(folder, digits, *, prefix="", style="-idx", test="t10k", pack=None, offset=0):
    for rows, part in ((slice(0, 100), "train"), (slice(100, 130), test)):
        for what, array in (("images", digits.inputs[rows]), ("labels", digits.labels[rows] + offset)):
            name = f"{prefix}{part}-{what}{style}{array.ndim}-ubyte"
            if pack:
                (folder / f"{name}.gz").write_bytes(pack(idx(array)))
            else:
                (folder / name).write_bytes(idx(array))


def refused(folder, error=LimbeckError):
    with pytest.raises(error) as caught:
        load_dataset(f"idx:{folder}")
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"pack": gzip.compress},
        {"style": ".idx"},
        {"style": ".idx", "pack": gzip.compress},
        {"test": "test"},
        {"prefix": "emnist-letters-"},
        {"prefix": "emnist-letters-", "test": "test", "pack": gzip.compress},
    ],
)
def test_every_form_of_the_files_reads_alike(tmp_path, digits, form):
    write_set(tmp_path, digits, **form)
    (tmp_path / "emnist-letters-mapping.txt").write_text("not looked at")
    data = load_dataset(f"idx:{tmp_path}")
    assert data.name == f"idx:{tmp_path}"
    assert (data.train.inputs == digits.inputs[:100]).all()
    assert (data.train.labels == digits.labels[:100]).all()
    assert (data.test.inputs == digits.inputs[100:130]).all()
    assert (data.test.labels == digits.labels[100:130]).all()
    assert data.test.ids.tolist() == list(range(30))
    assert data.classes == tuple("0123456789")


def test_plain_and_gzipped_files_may_lie_together(folder, digits):
    write_set(folder, digits, pack=gzip.compress)
    assert len(load_dataset(f"idx:{folder}").train) == 100


def test_a_test_set_is_optional(folder):
    (folder / TEST_IMAGES).unlink()
    (folder / TEST_LABELS).unlink()
    assert load_dataset(f"idx:{folder}").test is None


def test_labels_that_start_at_one_keep_their_names(tmp_path, digits):
    write_set(tmp_path, digits, offset=1)
    data = load_dataset(f"idx:{tmp_path}")
    assert data.classes == tuple(str(c) for c in range(1, 11))  # in the values' order: 10 after 9
    assert (data.train.labels == digits.labels[:100]).all()
    assert (data.test.labels == digits.labels[100:130]).all()


def test_the_arrays_can_be_handed_to_torch_without_a_warning(folder, recwarn):
    import torch

    torch.from_numpy(load_dataset(f"idx:{folder}").train.inputs)
    assert not recwarn.list


def test_a_missing_folder_is_named(tmp_path):
    message = refused(tmp_path / "nowhere", UsageError)
    assert message.startswith(f"folder {tmp_path / 'nowhere'} does not exist, expected one with files")


def test_a_file_in_a_folder_s_place_is_refused(folder):
    assert "is not a folder" in refused(folder / IMAGES, UsageError)


def test_a_folder_without_the_files_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    message = refused(tmp_path, UsageError)
    assert "[PREFIX-]train-images-idx3-ubyte and [PREFIX-]train-labels-idx1-ubyte, plain or .gz" in message
    assert str(tmp_path) in message


@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        ([IMAGES], "no train images, looked for [PREFIX-]train-images-idx3-ubyte"),
        ([LABELS], "no train labels, looked for"),
        ([IMAGES, LABELS], "no train images and labels, looked for"),
        ([TEST_IMAGES], "no t10k images, looked for [PREFIX-]t10k-images-idx3-ubyte"),
        ([TEST_LABELS], "no t10k labels, looked for"),
    ],
)
def test_a_missing_file_of_a_pair_is_named(folder, gone, missing):
    for name in gone:
        (folder / name).unlink()
    assert missing in refused(folder, UsageError)


def test_several_sets_in_one_folder_are_refused(folder, digits):
    write_set(folder, digits, prefix="emnist-letters-")
    assert "has several data sets (emnist-letters-…, …), expected one" in refused(folder, UsageError)


def test_two_test_sets_are_refused(folder, digits):
    write_set(folder, digits, test="test")
    assert "has two test sets (t10k-… and test-…), expected one" in refused(folder, UsageError)


@pytest.mark.parametrize("name", [IMAGES, LABELS, TEST_IMAGES, TEST_LABELS])
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_cut_short_is_named_with_its_bytes(folder, name, packed):
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[:-7])
    if packed:
        path.unlink()
        path = folder / f"{name}.gz"
        path.write_bytes(gzip.compress(content[:-7]))
    message = refused(folder)
    assert f"{path} is cut short: found {len(content) - 7} bytes" in message
    assert f"expected {len(content)}" in message


@pytest.mark.parametrize("length", [0, 3, 11])
def test_a_file_without_a_whole_header_is_cut_short(folder, length):
    path = folder / IMAGES
    path.write_bytes(path.read_bytes()[:length])
    assert f"{path} is cut short: found {length} bytes of content, expected at least 16" in refused(folder)


@pytest.mark.parametrize("left_out", [1, 8, 1000])
def test_a_gzipped_file_cut_short_is_named(folder, left_out):
    content = (folder / IMAGES).read_bytes()
    (folder / IMAGES).unlink()
    path = folder / f"{IMAGES}.gz"
    path.write_bytes(gzip.compress(content)[:-left_out])
    assert re.search(rf"{path} is cut short: found \d+ bytes of content, expected {len(content)}", refused(folder))


def test_a_file_with_too_many_bytes_is_refused(folder):
    path = folder / LABELS
    path.write_bytes(path.read_bytes() + b"\0")
    assert f"{path} holds 109 bytes, expected 108 by its header (shape (100,))" in refused(folder)


def test_a_bad_magic_number_is_shown(folder, digits):
    (folder / IMAGES).write_bytes(b"PK\x03\x04 something else")
    message = refused(folder)
    assert f"{folder / IMAGES} starts with the bytes 50 4b 03 04, expected the magic number 00 00 08 03" in message
    (folder / IMAGES).write_bytes(idx(digits.inputs[:100], kind=13))
    assert "starts with the bytes 00 00 0d 03" in refused(folder)
    (folder / IMAGES).write_bytes(idx(digits.labels[:100]))
    assert "starts with the bytes 00 00 08 01" in refused(folder)


def test_a_gzipped_file_without_gz_in_its_name_is_recognised(folder):
    (folder / IMAGES).write_bytes(gzip.compress((folder / IMAGES).read_bytes()))
    assert "it is gzipped, so let its name end in .gz" in refused(folder)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_a_gz_file_that_is_not_gzipped_is_named(folder, content):
    (folder / LABELS).unlink()
    (folder / f"{LABELS}.gz").write_bytes(content)
    assert f"{folder / LABELS}.gz is not gzipped" in refused(folder)


def test_a_gz_file_with_a_flipped_byte_is_damaged(folder):
    packed = bytearray(gzip.compress((folder / IMAGES).read_bytes()))
    packed[-6] ^= 1  # in the checksum
    (folder / IMAGES).unlink()
    (folder / f"{IMAGES}.gz").write_bytes(packed)
    assert f"{folder / IMAGES}.gz is damaged (Error -3" in refused(folder)


@pytest.mark.parametrize(("images", "labels"), [(IMAGES, LABELS), (TEST_IMAGES, TEST_LABELS)])
def test_counts_of_images_and_labels_that_differ_are_refused(folder, digits, images, labels):
    (folder / labels).write_bytes(idx(digits.labels[:29]))
    message = refused(folder)
    assert re.search(rf"{images} holds \d+ images, but .*{labels} 29 labels", message)


def test_test_labels_out_of_range_are_refused_with_their_row(folder, digits):
    labels = digits.labels[100:130].copy()
    labels[17] = 200
    (folder / TEST_LABELS).write_bytes(idx(labels))
    message = refused(folder)
    assert message.startswith(f"labels out of range: row 17 of {folder / TEST_LABELS} has label 200, expected")


def test_test_images_of_another_size_are_refused(folder):
    (folder / TEST_IMAGES).write_bytes(idx(np.zeros((30, 9, 8))))
    assert f"{folder / TEST_IMAGES} holds images of 9×8 pixels, expected 8×8" in refused(folder)


@pytest.mark.parametrize("shape", [(0, 8, 8), (100, 0, 8)])
def test_an_empty_set_is_refused(folder, shape):
    (folder / IMAGES).write_bytes(idx(np.zeros(shape)))
    assert f"{folder / IMAGES} is an empty set (shape {shape})" in refused(folder)


def test_a_header_that_claims_far_too_much_is_only_cut_short(folder):
    (folder / IMAGES).write_bytes(bytes([0, 0, 8, 3]) + b"\xff" * 12)
    assert f"is cut short: found 16 bytes of content, expected {16 + (2**32 - 1) ** 3}" in refused(folder)


def test_gzip_files_in_several_members_and_with_padding_are_read(folder):
    content = (folder / IMAGES).read_bytes()
    (folder / IMAGES).unlink()
    packed = gzip.compress(content[:99]) + gzip.compress(content[99:]) + b"\0" * 512
    (folder / f"{IMAGES}.gz").write_bytes(packed)
    assert len(load_dataset(f"idx:{folder}").train) == 100
