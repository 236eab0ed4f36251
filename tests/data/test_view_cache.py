import numpy as np
import pytest

from limbeck.data import Part, ViewCache, ViewSettings, load_dataset, view_pixels
from limbeck.errors import UsageError

ALL = ViewSettings(rotate=15, scale=0.15, shear=0.1, shift=2)


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits").train


@pytest.fixture(scope="module")
def expected(digits):
    return view_pixels(digits.inputs, digits.ids, view=1, seed=0, settings=ALL)


def test_a_cached_view_is_the_view(digits, expected, tmp_path):
    cache = ViewCache(tmp_path / "cache" / "views")
    made = cache.pixels(digits, 1, 0, ALL)
    read = cache.pixels(digits, 1, 0, ALL)
    assert made.tobytes() == read.tobytes() == expected.tobytes()
    assert read.dtype == np.uint8


def test_a_cached_view_is_read_and_not_made_again(digits, tmp_path):
    cache = ViewCache(tmp_path)
    cache.pixels(digits, 1, 0, ALL)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns, file.stat().st_ino
    cache.pixels(digits, 1, 0, ALL)
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == written


def test_everything_that_decides_the_pixels_is_in_the_name(digits, tmp_path):
    cache = ViewCache(tmp_path)
    cache.pixels(digits, 1, 0, ALL)
    cache.pixels(digits, 2, 0, ALL)
    cache.pixels(digits, 1, 1, ALL)
    cache.pixels(digits, 1, 0, ViewSettings(rotate=15))
    cache.pixels(digits.take(np.arange(1, 1797)), 1, 0, ALL)
    assert len(list(tmp_path.iterdir())) == 5
    renamed = Part("renamed", digits.inputs, np.full(len(digits), -1), digits.ids, digits.classes)
    cache.pixels(renamed, 1, 0, ALL)
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "other"])
def test_a_damaged_view_is_made_again(digits, expected, tmp_path, damage):
    cache = ViewCache(tmp_path)
    cache.pixels(digits, 1, 0, ALL)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    flipped = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    file.write_bytes({"cut": whole[:-100], "flipped": flipped, "emptied": b"", "other": b"\xff" * 64}[damage])
    assert cache.pixels(digits, 1, 0, ALL).tobytes() == expected.tobytes()
    assert file.read_bytes() == whole


def test_a_file_that_holds_another_view_is_made_again(digits, expected, tmp_path):
    cache = ViewCache(tmp_path)
    cache.pixels(digits, 1, 0, ALL)
    (file,) = tmp_path.iterdir()
    cache.pixels(digits, 2, 0, ALL)
    (other,) = set(tmp_path.iterdir()) - {file}
    file.write_bytes(other.read_bytes())
    assert cache.pixels(digits, 1, 0, ALL).tobytes() == expected.tobytes()


def test_a_folder_that_cannot_be_written_is_done_without(digits, expected, tmp_path):
    in_the_way = tmp_path / "cache"
    in_the_way.write_text("a file, not a folder")
    assert ViewCache(in_the_way).pixels(digits, 1, 0, ALL).tobytes() == expected.tobytes()
    assert in_the_way.read_text() == "a file, not a folder"


def test_rows_themselves_and_float_inputs_are_not_kept(digits, tmp_path):
    cache = ViewCache(tmp_path / "cache")
    assert cache.pixels(digits, 0, 0, ALL) is digits.inputs
    assert cache.pixels(digits, 1, 0, ViewSettings()) is digits.inputs
    floats = Part("floats", digits.inputs.astype(np.float32), digits.labels, digits.ids, digits.classes)
    assert cache.pixels(floats, 1, 0, ALL).dtype == np.float32
    assert not (tmp_path / "cache").exists()


def test_a_wrong_view_is_refused_and_leaves_no_file(digits, tmp_path):
    with pytest.raises(UsageError, match="view = -1"):
        ViewCache(tmp_path).pixels(digits, -1, 0, ALL)
    assert not list(tmp_path.iterdir())
