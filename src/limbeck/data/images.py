"""Folders of images, read by pillow: a folder for each class, or images alone."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from limbeck.data.dataset import Dataset
from limbeck.data.form import ImageForm
from limbeck.data.image_file import DamagedImageError, Mode, decoded_image
from limbeck.data.part import Part
from limbeck.data.reading import Reading
from limbeck.data.scratch import room_for
from limbeck.errors import LimbeckError, UsageError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_VALIDATION = {"val", "valid", "validation", "dev"}
_SHOWN = 12  # names in a message


def load_image_folder(folder: Path, source: str, reading: Reading) -> Dataset:
    """A data set of the images in a folder and below it.

    Layouts: a folder for each class, its images in it or deeper; images without such folders (labels −1, no
    classes); or `train` and `test`, each of them so. Classes are the folders' names, sorted, and rows are sorted by
    path, so that they are the same on every file system. Hidden files, hidden folders and files that are no images
    by their names' endings (`EXTENSIONS`) are passed over.

    Images become uint8, (n, height, width) where grey and (n, height, width, 3) in colour; mode and size are their
    own unless `reading` sets them. How each is read, `decoded_image` says.

    A row's id is its image's place among all of its part in their order; one that is left out keeps its number.

    Args:
        folder: where the images are.
        source: the data set's name.
        reading: `size`, `mode` and `skip_damaged` are obeyed.

    Raises:
        UsageError: no such folder.
        LimbeckError: no images, images that differ in mode or size, a damaged one, or one of more pixels than
            pillow thinks safe; classes that do not agree. Names files.
    """
    files = _image_files(folder)
    tops = _parts_of_a_data_set(files)
    if tops:
        if {top.lower() for top in tops} & _VALIDATION:
            raise LimbeckError(
                f"{folder} has the folders {', '.join(sorted(tops))}, expected train and test: validation rows are cut "
                "off the training rows (data.validation), so move these images into train, or take the folder out"
            )
        train_files = [file for file in files if file.parts[0].lower() == "train"]
        test_files = [file for file in files if file.parts[0].lower() == "test"]
        depth = 1
    else:
        train_files, test_files, depth = files, [], 0
    names = _class_names(folder, train_files, depth)
    classes = tuple(sorted(set(names)))
    kind = _Kind(reading.mode, reading.size)
    damaged: list[PurePosixPath] = []
    train = _part("train", folder, train_files, names, classes, kind, reading, damaged)
    test = None
    if test_files:
        test_names = _class_names(folder, test_files, depth)
        _check_agreement(folder, classes, test_names)
        test = _part("test", folder, test_files, test_names, classes, kind, reading, damaged)
    notes: tuple[str, ...] = ()
    if damaged:
        images = "1 damaged image" if len(damaged) == 1 else f"{len(damaged)} damaged images"
        notes = (f"{images} left out: {_listed(damaged)}",)
    return Dataset(source, train, test, classes, notes)


def read_images(
    path: Path, form: ImageForm, damaged: list[str] | None = None, *, taught: str = "the model"
) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Images as a model takes them that was taught with others.

    Args:
        path: one image, or a folder with images in it or deeper.
        form: how the model's were read: these are brought to its mode, and to its size if those were.
        damaged: None to refuse a damaged image; else it is left out, and what is wrong with it added here.
        taught: who was taught with other images, for messages.

    Returns:
        uint8 of shape (n, height, width), or (n, height, width, 3) in colour; and the images' paths within the folder
        in the same order, or the one image's name.

    Raises:
        UsageError: no such file or folder.
        LimbeckError: no images, a damaged one, or one of another size where sizes are not changed. Names the file.
    """
    folder, files = (path.parent, [PurePosixPath(path.name)]) if path.is_file() else (path, _image_files(path))
    wanted = (form.height, form.width)
    shape = (len(files), *wanted, 3) if form.mode == "colour" else (len(files), *wanted)
    pixels = room_for(shape, np.uint8)
    kept: list[str] = []
    for file in files:
        try:
            image = decoded_image(folder / file, form.mode, wanted if form.resized else None)
        except DamagedImageError as damage:
            if damaged is None:
                raise LimbeckError(f"{damage}: mend it or take it out") from None
            damaged.append(str(damage))
            continue
        if image.shape[:2] != wanted:
            raise LimbeckError(
                f"{folder / file} has {_size(image.shape[:2])} pixels, expected {_size(wanted)} as in the images that "
                f"{taught} was taught with: bring it to that size"
            )
        pixels[len(kept)] = image
        kept.append(str(file))
    if not kept:
        raise LimbeckError(f"every image in {path} is damaged ({_listed(files)}): get them anew")
    return pixels[: len(kept)], kept


def training_images(folder: Path) -> Path:
    """Where in a folder the images to train on are: its `train` where it is laid out so, else the folder itself.

    Raises:
        UsageError: no such folder.
        LimbeckError: no images in it.
    """
    trains = [top for top in _parts_of_a_data_set(_image_files(folder)) if top.lower() == "train"]
    return folder / trains[0] if len(trains) == 1 else folder


class _Kind:
    """Mode and size that images must have; the first one decides what was left open.

    Args:
        mode: "grey", "colour", or None: as the first image.
        size: (height, width), or None: as the first image.
    """

    def __init__(self, mode: Mode | None, size: tuple[int, int] | None) -> None:
        self.mode, self.size = mode, size
        self.first: Path | None = None

    def form(self, resized: bool) -> ImageForm:
        assert self.mode is not None
        assert self.size is not None
        return ImageForm(self.mode, *self.size, resized=resized)

    def check(self, image: np.ndarray, path: Path) -> None:
        """That an image is as the others, shape (height, width) or (height, width, 3)."""
        mode: Mode = "grey" if image.ndim == 2 else "colour"
        size = image.shape[0], image.shape[1]
        if self.first is None:
            self.mode, self.size, self.first = mode, size, path
        if mode != self.mode:
            raise LimbeckError(
                f"{self.first} is {_in(self.mode)}, but {path} is {_in(mode)}, expected images of one mode: "
                'set data.mode = "grey" or "colour"'
            )
        if size != self.size:
            assert self.size is not None
            raise LimbeckError(
                f"{self.first} has {_size(self.size)} pixels, but {path} has {_size(size)} (height×width), expected "
                f"images of one size: set data.size, for example data.size = [{self.size[0]}, {self.size[1]}]"
            )


def _part(
    name: str,
    folder: Path,
    files: Sequence[PurePosixPath],
    names: Sequence[str],
    classes: tuple[str, ...],
    kind: _Kind,
    reading: Reading,
    damaged: list[PurePosixPath],
) -> Part:
    """The rows of one part; adds the damaged images that were left out to `damaged`."""
    pixels: np.ndarray | None = None
    kept: list[int] = []
    for number, file in enumerate(files):
        try:
            image = decoded_image(folder / file, reading.mode, reading.size)
        except DamagedImageError as damage:
            if not reading.skip_damaged:
                raise LimbeckError(
                    f"{damage}: mend it or take it out, or set data.skip_damaged = true to leave such images out"
                ) from None
            damaged.append(file)
            continue
        kind.check(image, folder / file)
        if pixels is None:
            pixels = room_for((len(files), *image.shape), np.uint8)
        pixels[len(kept)] = image
        kept.append(number)
    if pixels is None:
        raise LimbeckError(f"all {len(files)} {name} images in {folder} are damaged ({_listed(files)}): get them anew")
    numbers = {one: number for number, one in enumerate(classes)}
    labels = np.array([numbers[names[row]] for row in kept] if classes else [-1] * len(kept), dtype=np.int64)
    form = kind.form(resized=reading.size is not None)
    return Part(name, pixels[: len(kept)], labels, np.array(kept, dtype=np.int64), classes, form)


def _image_files(folder: Path) -> list[PurePosixPath]:
    """The images below a folder by their paths in it, sorted; at least one."""
    if not folder.is_dir():
        found = "is not a folder" if folder.exists() else "does not exist"
        raise UsageError(f"folder {folder} {found}, expected one with images: check the path")
    images: list[PurePosixPath] = []
    others: list[PurePosixPath] = []
    for here, folders, files in os.walk(folder, followlinks=True, onerror=_cannot_list):
        at = Path(here)
        # A link to a folder that it lies in would be followed for ever.
        folders[:] = [
            one for one in folders if not one.startswith(".") and not at.resolve().is_relative_to((at / one).resolve())
        ]
        for name in files:
            if name.startswith("."):
                continue
            file = PurePosixPath((at / name).relative_to(folder).as_posix())
            (images if file.suffix.lower() in EXTENSIONS else others).append(file)
    if not images:
        held = f"but {len(others)} other files, such as {min(others)}" if others else "and no other files"
        raise LimbeckError(
            f"folder {folder} holds no images, {held}, expected names in {', '.join(EXTENSIONS)}: check the path"
        )
    return sorted(images, key=lambda file: [(unicodedata.normalize("NFC", one), one) for one in file.parts])


def _parts_of_a_data_set(files: Sequence[PurePosixPath]) -> set[str]:
    """The folders that images lie in where these are `train` and `test` or the like; else nothing."""
    tops = {file.parts[0] for file in files if len(file.parts) > 1}
    kinds = {top.lower() for top in tops}
    is_split = "train" in kinds and kinds <= {"train", "test"} | _VALIDATION
    return tops if is_split and not any(len(file.parts) == 1 for file in files) else set()


def _cannot_list(error: OSError) -> None:
    raise LimbeckError(f"cannot read {error.filename} ({error.strerror}): check its permissions")


def _class_names(folder: Path, files: Sequence[PurePosixPath], depth: int) -> list[str]:
    """The class of each image, by the folder that it lies in under so many others; none where there are no folders."""
    loose = [file for file in files if len(file.parts) == depth + 1]
    if len(loose) == len(files):
        return []
    if loose:
        raise LimbeckError(
            f"images lie beside the class folders of {folder} ({_listed(loose)}), expected every image in the folder "
            "of its class: move them there, or take them out"
        )
    names = []
    for file in files:
        # File systems differ in how they write an accent.
        name = unicodedata.normalize("NFC", file.parts[depth])
        if not name.isprintable():
            raise LimbeckError(f"the folder {name!r} in {folder} has a name that cannot be printed: rename it")
        names.append(name)
    return names


def _check_agreement(folder: Path, classes: tuple[str, ...], test_names: Sequence[str]) -> None:
    unknown = sorted(set(test_names) - set(classes))
    if unknown or bool(classes) != bool(test_names):
        raise LimbeckError(
            f"the test images in {folder} have {_classes(sorted(set(test_names)))}, but its training images have "
            f"{_classes(classes)}: they must be the same"
        )


def _in(mode: Mode | None) -> str:
    return "in colour" if mode == "colour" else "grey"


def _size(size: Sequence[int]) -> str:
    return f"{size[0]}×{size[1]}"


def _classes(classes: Sequence[str]) -> str:
    return f"the classes {_listed(classes)}" if classes else "no classes"


def _listed(names: Sequence[object]) -> str:
    shown = ", ".join(map(str, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown}, … ({len(names)} in all)"
