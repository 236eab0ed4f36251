import os
import re
import struct
import sys
import unicodedata
import zlib

import numpy as np
import pytest
from PIL import Image

import limbeck
from limbeck.data import ImageForm, ViewSettings, view_pixels
from limbeck.data.images import load_image_folder, read_images
from limbeck.data.reading import Reading
from limbeck.errors import LimbeckError, UsageError
from limbeck.models import build_model


def load(folder, **reading):
    return load_image_folder(folder, f"images:{folder}", Reading(**reading))


def refused(call, error=LimbeckError):
    with pytest.raises(error) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert caught.type is error
    return str(caught.value)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels))
    image.save(path, **options)
    return path


def colour(height=12, width=10, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, digits):
    """The first thirty digits as PNG files in a folder for each class, which are made last to first."""
    folder = tmp_path / "my digits"
    for row in reversed(range(30)):
        save(folder / str(digits.labels[row]) / f"{row:03d}.png", digits.inputs[row] * 16)
    return folder


# ---------------------------------------------------------------- layouts


def test_the_folders_are_the_classes_and_the_pixels_are_the_files(folder, digits):
    dataset = load(folder)
    order = np.lexsort((np.arange(30), digits.labels[:30]))
    assert dataset.classes == tuple("0123456789")
    assert (dataset.name, dataset.test, dataset.notes) == (f"images:{folder}", None, ())
    assert dataset.train.inputs.dtype == np.uint8
    np.testing.assert_array_equal(dataset.train.inputs, digits.inputs[order] * 16)
    np.testing.assert_array_equal(dataset.train.labels, digits.labels[order])
    np.testing.assert_array_equal(dataset.train.ids, np.arange(30))
    assert dataset.train.form == ImageForm("grey", 8, 8, resized=False)


def test_images_lie_deeper_within_the_folder_of_their_class(tmp_path):
    save(tmp_path / "cat" / "b" / "deep" / "1.png", colour(seed=1))
    save(tmp_path / "cat" / "a.png", colour(seed=2))
    save(tmp_path / "dog" / "2.png", colour(seed=3))
    train = load(tmp_path).train
    assert (train.classes, train.labels.tolist()) == (("cat", "dog"), [0, 0, 1])
    np.testing.assert_array_equal(train.inputs, np.stack([colour(seed=2), colour(seed=1), colour(seed=3)]))


def test_classes_and_rows_are_sorted_by_folder_and_then_by_name(tmp_path):
    for name in ("a-b/1.png", "a/2.png", "a/10.png"):  # "-" sorts before "/"
        save(tmp_path / name, colour())
    train = load(tmp_path).train
    assert (train.classes, train.labels.tolist()) == (("a", "a-b"), [0, 0, 1])


def test_an_accent_is_the_same_class_however_the_file_system_writes_it(tmp_path):
    for form in ("NFC", "NFD"):
        save(tmp_path / form / unicodedata.normalize(form, "é") / "1.png", colour())
        save(tmp_path / form / "z" / "2.png", colour())
    assert load(tmp_path / "NFC").classes == load(tmp_path / "NFD").classes == ("z", "é")


def test_images_without_folders_have_no_classes(tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.png", colour(seed=number))
    dataset = load(tmp_path)
    assert (dataset.classes, dataset.train.labels.tolist()) == ((), [-1, -1, -1])


def test_train_and_test_folders_are_a_training_and_a_test_set(tmp_path):
    for name, seed in (("train/cat/1.png", 1), ("train/dog/1.png", 2), ("test/dog/7.png", 3)):
        save(tmp_path / name, colour(seed=seed))
    dataset = load(tmp_path)
    assert dataset.classes == dataset.test.classes == ("cat", "dog")
    assert (len(dataset.train), dataset.test.labels.tolist(), dataset.test.ids.tolist()) == (2, [1], [0])
    np.testing.assert_array_equal(dataset.test.inputs[0], colour(seed=3))
    assert dataset.test.form == dataset.train.form


def test_train_is_a_class_among_others(tmp_path):
    for name in ("train", "plane"):
        save(tmp_path / name / "1.png", colour())
    assert load(tmp_path).classes == ("plane", "train")


def test_a_validation_folder_beside_train_is_refused(tmp_path):
    for name in ("train", "val", "test"):
        save(tmp_path / name / "cat" / "1.png", colour())
    assert refused(lambda: load(tmp_path)) == (
        f"{tmp_path} has the folders test, train, val, expected train and test: validation rows are cut off the "
        "training rows (data.validation), so move these images into train, or take the folder out"
    )


def test_test_classes_that_training_lacks_are_refused(tmp_path):
    for name in ("train/cat", "train/dog", "test/cat", "test/cow"):
        save(tmp_path / name / "1.png", colour())
    assert refused(lambda: load(tmp_path)) == (
        f"the test images in {tmp_path} have the classes cat, cow, but its training images have the classes cat, dog: "
        "they must be the same"
    )


def test_a_test_set_without_classes_is_refused_where_training_has_some(tmp_path):
    save(tmp_path / "train" / "cat" / "1.png", colour())
    save(tmp_path / "test" / "1.png", colour())
    assert "have no classes, but its training images have the classes cat" in refused(lambda: load(tmp_path))


def test_an_image_beside_the_class_folders_is_refused(folder):
    save(folder / "stray.png", np.zeros((8, 8), np.uint8))
    assert refused(lambda: load(folder)) == (
        f"images lie beside the class folders of {folder} (stray.png), expected every image in the folder of its "
        "class: move them there, or take them out"
    )


def test_hidden_and_other_files_are_passed_over(folder):
    before = load(folder).train.inputs_hash
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "0" / ".hidden.png").write_bytes(b"x")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "a.png").write_bytes(b"x")
    (folder / "empty").mkdir()
    dataset = load(folder)
    assert dataset.train.inputs_hash == before
    assert dataset.classes == tuple("0123456789")


def test_a_link_to_a_folder_above_is_not_followed_for_ever(folder):
    (folder / "3" / "up").symlink_to(folder, target_is_directory=True)
    assert len(load(folder).train) == 30


def test_a_linked_class_folder_is_read(folder, tmp_path):
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "zero").symlink_to(folder / "0", target_is_directory=True)
    assert load(linked).classes == ("zero",)


def test_a_folder_without_images_is_refused(tmp_path):
    sought = "expected names in .png, .jpg, .jpeg, .bmp, .gif, .webp, .tif, .tiff: check the path"
    assert refused(lambda: load(tmp_path)) == f"folder {tmp_path} holds no images, and no other files, {sought}"
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.heic").write_bytes(b"x")
    assert refused(lambda: load(tmp_path)) == (
        f"folder {tmp_path} holds no images, but 1 other files, such as a/b.heic, {sought}"
    )


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    message = f"folder {tmp_path / 'no'} does not exist, expected one with images: check the path"
    assert refused(lambda: load(tmp_path / "no"), UsageError) == message


# ---------------------------------------------------------------- one image


def one(tmp_path, image, name="one.png", *, mode=None, size=None, **options):
    save(tmp_path / "one" / name, image, **options)
    return load(tmp_path / "one", mode=mode, size=size).train.inputs[0]


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.bmp", "a.tif", "a.tiff"])
def test_formats_without_loss_give_the_very_pixels(tmp_path, name):
    np.testing.assert_array_equal(one(tmp_path, colour(), name), colour())


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.webp"])
def test_formats_with_loss_give_nearly_the_pixels(tmp_path, name):
    smooth = np.add.outer(np.arange(32) * 4, np.arange(32) * 3)[..., None].repeat(3, axis=2).astype(np.uint8)
    assert np.abs(one(tmp_path, smooth, name, quality=95).astype(int) - smooth).max() < 12


def test_an_animation_shows_its_first_frame(tmp_path):
    frames = [Image.fromarray(np.full((9, 9), value, np.uint8)) for value in (40, 200)]
    got = one(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert got.shape == (9, 9, 3)  # its format has palettes alone
    assert (got == 40).all()


def test_the_orientation_in_exif_is_obeyed(tmp_path):
    image = Image.fromarray(colour(6, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned left by 90 degrees
    got = one(tmp_path, image, exif=exif)
    np.testing.assert_array_equal(got, np.rot90(colour(6, 10), k=-1))


def test_a_stereo_photograph_shows_its_first_picture(tmp_path):
    flat = Image.new("RGB", (8, 8), (10, 200, 30))
    got = one(
        tmp_path, flat, "a.jpg", format="MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))], quality=100
    )
    assert np.abs(got.astype(int) - [10, 200, 30]).max() < 4


def test_a_palette_is_read_in_colour(tmp_path):
    flat = np.zeros((8, 8, 3), np.uint8)
    flat[:4] = (250, 10, 20)
    np.testing.assert_array_equal(one(tmp_path, Image.fromarray(flat).quantize(2)), flat)


@pytest.mark.parametrize("mode", [None, "grey"])
def test_what_is_transparent_shows_white(tmp_path, mode):
    image = np.zeros((8, 8, 4), np.uint8)
    image[:4] = (9, 9, 9, 255)
    got = one(tmp_path, image, mode=mode)
    assert got.ndim == (2 if mode else 3)
    assert (got[:4] == 9).all()
    assert (got[4:] == 255).all()


def test_a_transparent_colour_of_a_palette_shows_white(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8).repeat(8, axis=0))
    image = image.convert("P")
    image.putpalette([200, 0, 0, 0, 100, 0])
    assert one(tmp_path, image, transparency=0)[0].tolist() == [[255, 255, 255], [0, 100, 0]]


def test_grey_with_alpha_stays_grey(tmp_path):
    image = Image.new("LA", (2, 1), (7, 255))
    image.putpixel((1, 0), (7, 0))
    assert one(tmp_path, image).tolist() == [[7, 255]]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_rounded_to_eight(tmp_path, name):
    values = np.array([[0, 128, 129, 257 * 7, 65535]], np.uint16)
    assert one(tmp_path, values, name).tolist() == [[0, 0, 1, 7, 255]]


def test_black_and_white_is_grey(tmp_path):
    assert one(tmp_path, np.array([[True, False]])).tolist() == [[255, 0]]


def test_cmyk_is_read_in_colour(tmp_path):
    got = one(tmp_path, Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "a.jpg", quality=100)
    assert got.shape == (8, 8, 3)
    assert np.abs(got[0, 0].astype(int) - [255, 0, 0]).max() < 8


def test_colour_becomes_grey_by_luma(tmp_path):
    got = one(tmp_path, np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8), mode="grey")
    assert got.tolist() == [[76, 150, 29]]  # 0.299, 0.587, 0.114 of 255


def test_grey_becomes_three_equal_channels(tmp_path):
    assert one(tmp_path, np.array([[3, 200]], np.uint8), mode="colour").tolist() == [[[3] * 3, [200] * 3]]


def test_resizing_down_averages_over_all_pixels(tmp_path):
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    got = one(tmp_path, board, size=(8, 16))
    assert got.shape == (8, 16)
    assert np.abs(got.astype(int) - 127.5).max() < 2  # without antialiasing 0 or 255


def test_pixels_of_thirty_two_bits_are_refused(tmp_path):
    message = refused(lambda: one(tmp_path, np.array([[70000]], np.int32), "a.tif"))
    path = tmp_path / "one" / "a.tif"
    assert message == f"{path} has pixels of 32 bits, expected 8 or 16: save it with fewer, or as .npy"
    message = refused(lambda: one(tmp_path, np.array([[0.5]], np.float32), "a.tif"))
    assert message == f"{path} has pixels that are fractions, expected 8 or 16 bits: save it so, or as .npy"


# ---------------------------------------------------------------- mixed images


def test_mixed_sizes_are_refused_and_a_size_mends_it(folder):
    odd = save(folder / "4" / "999.png", np.zeros((9, 7), np.uint8))
    assert refused(lambda: load(folder)) == (
        f"{folder / '0' / '000.png'} has 8×8 pixels, but {odd} has 9×7 (height×width), expected images of one size: "
        "set data.size, for example data.size = [8, 8]"
    )
    train = load(folder, size=(8, 8)).train
    assert train.inputs.shape == (31, 8, 8)
    assert train.form == ImageForm("grey", 8, 8, resized=True)


def test_mixed_modes_are_refused_and_a_mode_mends_it(folder):
    odd = save(folder / "4" / "999.png", colour(8, 8))
    assert refused(lambda: load(folder)) == (
        f'{folder / "0" / "000.png"} is grey, but {odd} is in colour, expected images of one mode: set data.mode = "grey" '
        'or "colour"'
    )
    assert load(folder, mode="grey").train.inputs.shape == (31, 8, 8)
    assert load(folder, mode="colour").train.inputs.shape == (31, 8, 8, 3)


def test_a_test_image_of_another_size_than_the_training_images_is_refused(tmp_path):
    first = save(tmp_path / "train" / "a" / "1.png", colour(8, 8))
    other = save(tmp_path / "test" / "a" / "1.png", colour(8, 9))
    assert refused(lambda: load(tmp_path)).startswith(f"{first} has 8×8 pixels, but {other} has 8×9 ")


# ---------------------------------------------------------------- damaged images


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "cut":
        content = content[: len(content) * 2 // 3]
    elif how == "empty":
        content = b""
    elif how == "text":
        content = b"<html>not found</html>"
    else:
        content[content.index(b"IDAT") + 12] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("cut", "is damaged (image file is truncated)"),
        ("empty", "is no image, or damaged (its content is none of PNG, JPEG, BMP, GIF, WEBP, TIFF)"),
        ("text", "is no image, or damaged (its content is none of PNG, JPEG, BMP, GIF, WEBP, TIFF)"),
    ],
)
def test_a_damaged_image_is_named(folder, how, reason):
    path = folder / "2" / "012.png"
    damage(path, how)
    mend = "mend it or take it out, or set data.skip_damaged = true to leave such images out"
    assert refused(lambda: load(folder)) == f"{path} {reason}: {mend}"


def test_a_flipped_byte_in_an_image_is_noticed(folder):
    path = folder / "2" / "012.png"
    damage(path, "flipped")
    assert refused(lambda: load(folder)).startswith(f"{path} is damaged (")


def test_a_jpeg_that_is_cut_short_is_named(tmp_path):
    path = save(tmp_path / "a.jpg", colour(64, 64))
    damage(path, "cut")
    assert refused(lambda: load(tmp_path)).startswith(f"{path} is damaged (image file is truncated")


def test_damaged_images_are_left_out_on_request_and_the_others_keep_their_numbers(folder):
    whole = load(folder).train
    for name in ("0/000.png", "2/012.png"):
        damage(folder / name, "cut")
    dataset = load(folder, skip_damaged=True)
    kept = np.delete(np.arange(30), [0, np.flatnonzero(whole.labels == 2)[1]])
    assert dataset.notes == ("2 damaged images left out: 0/000.png, 2/012.png",)
    np.testing.assert_array_equal(dataset.train.ids, kept)
    np.testing.assert_array_equal(dataset.train.inputs, whole.inputs[kept])
    np.testing.assert_array_equal(dataset.train.labels, whole.labels[kept])


def test_a_long_list_of_damaged_images_is_cut(folder):
    for path in sorted(folder.rglob("*.png"))[:20]:
        damage(path, "empty")
    (note,) = load(folder, skip_damaged=True).notes
    assert note.startswith("20 damaged images left out: 0/000.png, ")
    assert note.endswith(", … (20 in all)")
    assert note.count(".png") == 12


def test_damaged_images_alone_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    assert refused(lambda: load(tmp_path, skip_damaged=True)) == (
        f"all 1 train images in {tmp_path} are damaged (a.png): get them anew"
    )


def test_an_image_of_too_many_pixels_is_refused_and_not_taken_for_a_damaged_one(tmp_path):
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    content += struct.pack(">I", 1000) + b"IDAT"
    (tmp_path / "bomb.png").write_bytes(content)
    assert re.fullmatch(
        rf"{re.escape(str(tmp_path / 'bomb.png'))} is larger than pillow thinks safe \(Image size \(3600000000 pixels\) "
        r"exceeds limit of \d+ pixels\): make it smaller, or take it out",
        refused(lambda: load(tmp_path, skip_damaged=True)),
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_image_that_may_not_be_read_is_not_taken_for_a_damaged_one(tmp_path):
    path = save(tmp_path / "a.png", colour())
    path.chmod(0)
    message = f"cannot read {path} (Permission denied): check the file and its permissions"
    assert refused(lambda: load(tmp_path, skip_damaged=True)) == message


def test_without_pillow_it_is_said_how_to_get_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert refused(lambda: load(folder)) == 'reading images needs pillow: pip install "limbeck[data]"'


def test_a_file_that_is_no_image_is_not_handed_to_ghostscript(tmp_path):
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    )
    assert "is no image, or damaged" in refused(lambda: load(tmp_path))


# ---------------------------------------------------------------- large sets, prediction, views


def test_a_large_set_lies_in_a_file(folder, monkeypatch):
    in_memory = load(folder).train
    monkeypatch.setattr("limbeck.data.scratch.LARGE_BYTES", 1000)
    damage(folder / "9" / sorted(os.listdir(folder / "9"))[-1], "cut")
    part = load(folder, skip_damaged=True).train
    assert isinstance(part.inputs, np.memmap)
    np.testing.assert_array_equal(part.inputs, in_memory.inputs[:29])


def test_a_folder_is_read_as_a_model_takes_it(folder):
    pixels, names = read_images(folder, ImageForm("colour", 6, 5, resized=True))
    assert (pixels.shape, pixels.dtype) == ((30, 6, 5, 3), np.uint8)
    np.testing.assert_array_equal(pixels, load(folder, size=(6, 5), mode="colour").train.inputs)
    assert names[:2] == ["0/000.png", "0/010.png"]


def test_one_image_is_read_as_a_model_takes_it(folder, digits):
    pixels, names = read_images(folder / "0" / "000.png", ImageForm("grey", 8, 8))
    np.testing.assert_array_equal(pixels, digits.inputs[:1] * 16)
    assert names == ["000.png"]


def test_an_image_of_another_size_is_refused_where_sizes_are_not_changed(folder):
    path = folder / "0" / "000.png"
    assert refused(lambda: read_images(path, ImageForm("grey", 28, 20))) == (
        f"{path} has 8×8 pixels, expected 28×20 as in the images that the model was taught with: bring it to that size"
    )


def test_a_damaged_image_to_predict_for_is_named(folder):
    path = folder / "0" / "000.png"
    damage(path, "cut")
    message = f"{path} is damaged (image file is truncated): mend it or take it out"
    assert refused(lambda: read_images(folder, ImageForm("grey", 8, 8))) == message


def test_a_convnet_learns_from_a_folder_of_colour_images_in_fresh_views(tmp_path):
    for row in range(40):
        image = colour(16, 12, seed=row) // 4
        image[..., row % 2] += 128  # red or green
        save(tmp_path / ("red", "green")[row % 2] / f"{row:02d}.png", image)
    part = load(tmp_path).train
    views = ViewSettings(rotate=10, shift=1, jitter=1)
    seen = view_pixels(part.inputs, part.ids, view=1, seed=0, settings=views)
    assert (seen.shape, seen.dtype) == ((40, 16, 12, 3), np.uint8)
    assert (seen != part.inputs).any(axis=(1, 2, 3)).all()
    # Each channel is moved as a grey image would be.
    alone = view_pixels(np.ascontiguousarray(part.inputs[..., 1]), part.ids, view=1, seed=0, settings=views)
    np.testing.assert_array_equal(seen[..., 1], alone)
    model = build_model({"kind": "convnet", "widths": [4, 4, 8], "hidden": 8}, part.inputs.shape[1:], 2)
    settings = limbeck.TrainSettings(epochs=8, batch_size=8, learning_rate=1e-2)
    history = limbeck.teach(model, part, settings, validation=part.named("validation"), views=views)
    assert history.epochs[-1]["validation_accuracy"] > 0.9
