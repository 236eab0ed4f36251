"""MNIST's file format (IDX): one file, and a folder with the files of a data set.

The format: four bytes 0, 0, type (8: unsigned byte), number of dimensions; each dimension as a
big-endian 32-bit integer; the values. See the description by LeCun, Cortes and Burges,
http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path

import numpy as np

from limbeck.data.dataset import Dataset
from limbeck.data.part import Part
from limbeck.errors import LimbeckError, UsageError

IMAGES, LABELS = 3, 1  # dimensions, the last byte of the magic number
_GZIP_MAGIC = b"\x1f\x8b"
_FILE_NAME = re.compile(
    r"(?P<prefix>|.+-)(?P<rows>train|t10k|test)-(?P<what>images|labels)[-.]idx[13]-ubyte(?P<gz>\.gz)?"
)
_LOOKED_FOR = "[PREFIX-]{rows}-images-idx3-ubyte and [PREFIX-]{rows}-labels-idx1-ubyte, plain or .gz"


def load_idx_folder(folder: Path, name: str) -> Dataset:
    """A data set in MNIST's file format: MNIST itself, Fashion-MNIST, KMNIST, EMNIST.

    Files are `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, and for the test set the same
    with `t10k` or `test`; plain or gzipped (`.gz`), also in the style `train-images.idx3-ubyte`, all
    with the same prefix (`emnist-letters-train-…`) or none. A test set is optional.

    Classes are the label values found in the training labels, as strings in the values' order, and
    labels are numbered 0, 1, … in that order: EMNIST's letters, labelled 1 to 26, become 0 to 25.
    Images stay as they lie in the file (EMNIST's are transposed).

    Raises:
        UsageError: no such folder, or not (exactly) one set of files in it.
        LimbeckError: a file that is damaged or does not fit the others.
    """
    files = _files_of_one_set(folder)
    images, values = _read_pair(files, "train")
    found, labels = np.unique(values, return_inverse=True)
    classes = tuple(str(v) for v in found)
    train = Part("train", images, labels.reshape(-1).astype(np.int64), np.arange(len(images)), classes)
    test_rows = next((rows for rows, _ in files if rows != "train"), None)
    if test_rows is None:
        return Dataset(name, train, None, classes)

    images, values = _read_pair(files, test_rows)
    unknown = ~np.isin(values, found)
    if unknown.any():
        row = int(np.argmax(unknown))
        raise LimbeckError(
            f"labels out of range: row {row} of {files[test_rows, 'labels']} has label {values[row]}, "
            f"expected one of the {len(classes)} classes of the training labels, {classes[0]} to "
            f"{classes[-1]}: use the test file that belongs to this training file"
        )
    if images.shape[1:] != train.inputs.shape[1:]:
        raise LimbeckError(
            f"{files[test_rows, 'images']} holds images of {_size(images)} pixels, expected "
            f"{_size(train.inputs)} as in the training images: use the test file that belongs "
            "to this training file"
        )
    labels = np.searchsorted(found, values).astype(np.int64)
    return Dataset(name, train, Part("test", images, labels, np.arange(len(images)), classes), classes)


def has_idx_images(folder: Path) -> bool:
    """Whether a folder holds images in this format, by its files' names."""
    matches = (_FILE_NAME.fullmatch(path.name) for path in folder.iterdir())
    return any(match["what"] == "images" for match in matches if match)


def read_idx_images(path: Path) -> np.ndarray:
    """The images of one file, or the training images of a folder, whether it has labels or not.

    Args:
        path: a file, plain or gzipped (`.gz`), of any name; or a folder as `load_idx_folder` has it.

    Returns:
        uint8, shape (rows, height, width).

    Raises:
        UsageError: a folder that has not (exactly) one set of training images.
        LimbeckError: a file that is damaged.
    """
    if path.is_dir():
        path = _files_of_one_set(path, needed=("images",))["train", "images"]
    return _read_idx(path, IMAGES)


def parse_idx(content: bytes, where: str, *, dimensions: int, complete: bool = True) -> np.ndarray:
    """The values in an IDX file's content.

    Args:
        content: the whole file, unpacked.
        where: the file, for error messages.
        dimensions: 3 for images, 1 for labels.
        complete: False if the content is known to have been cut short.

    Returns:
        uint8, shape (rows, height, width) or (rows,); not empty.
    """
    magic = bytes([0, 0, 8, dimensions])
    header = 4 + 4 * dimensions
    if content[: min(4, len(content))] != magic[: len(content)]:
        gzipped = content.startswith(_GZIP_MAGIC)
        mend = "it is gzipped, so let its name end in .gz" if gzipped else "get the file anew from its source"
        raise LimbeckError(
            f"{where} starts with the bytes {content[:4].hex(' ')}, expected the magic number "
            f"{magic.hex(' ')} ({dimensions}-dimensional unsigned bytes): {mend}"
        )
    if len(content) < header:
        raise _cut_short(where, len(content), f"at least {header}")
    shape = tuple(int(d) for d in np.frombuffer(content, dtype=">u4", count=dimensions, offset=4))
    expected = header + math.prod(shape)
    if len(content) < expected or not complete:
        raise _cut_short(where, len(content), str(expected))
    if len(content) > expected:
        raise LimbeckError(
            f"{where} holds {len(content)} bytes, expected {expected} by its header (shape {shape}): "
            "get the file anew from its source"
        )
    if not math.prod(shape):
        raise LimbeckError(f"{where} is an empty set (shape {shape}), expected at least one row: use another file")
    # A copy, because frombuffer's arrays are read-only, which torch warns about.
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape).copy()


def unpack(content: bytes, where: str) -> tuple[bytes, bool]:
    """A gzip file's content as far as it goes, and whether it goes to the end."""
    if not content.startswith(_GZIP_MAGIC):
        raise LimbeckError(
            f"{where} is not gzipped (it starts with {content[:2].hex(' ') or 'nothing'}), expected gzip "
            "because its name ends in .gz: take .gz off the name, or get the file anew from its source"
        )
    members = []
    try:
        while content:  # gzip files may be several set behind each other, and end in zeros
            stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            members.append(stream.decompress(content))
            if not stream.eof:
                return b"".join(members), False
            content = stream.unused_data.lstrip(b"\0")
    except zlib.error as error:
        raise LimbeckError(
            f"{where} is damaged ({error}), expected a whole gzip file: get the file anew from its source"
        ) from error
    return b"".join(members), True


def _files_of_one_set(folder: Path, needed: tuple[str, ...] = ("images", "labels")) -> dict[tuple[str, str], Path]:
    """The files by ("train", "t10k" or "test"; "images" or "labels"); pairs are complete, train is there."""
    if not folder.is_dir():
        found = "is not a folder" if folder.exists() else "does not exist"
        raise UsageError(f"folder {folder} {found}, expected one with files in MNIST's format: check the path")
    sets: dict[str, dict[tuple[str, str], Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _FILE_NAME.fullmatch(path.name)
        if match and path.is_file():
            # Plain names sort before .gz ones, so a file that lies there both ways is read plain.
            sets.setdefault(match["prefix"], {}).setdefault((match["rows"], match["what"]), path)
    if not sets:
        raise UsageError(
            f"folder {folder} has no files in MNIST's format, looked for {_LOOKED_FOR.format(rows='train')} "
            "(and t10k or test for train): put them there, or name another folder"
        )
    if len(sets) > 1:
        names = ", ".join(prefix + "…" for prefix in sets)
        raise UsageError(f"folder {folder} has several data sets ({names}), expected one: put each into its own folder")
    (files,) = sets.values()
    for rows in ["train", *(r for r, _ in files)]:
        missing = [what for what in needed if (rows, what) not in files]
        if missing:
            raise UsageError(
                f"folder {folder} has no {rows} {' and '.join(missing)}, looked for "
                f"{_LOOKED_FOR.format(rows=rows)}: put the file there"
            )
    if {("t10k", "images"), ("test", "images")} <= files.keys():
        raise UsageError(f"folder {folder} has two test sets (t10k-… and test-…), expected one: take one out")
    return files


def _read_pair(files: dict[tuple[str, str], Path], rows: str) -> tuple[np.ndarray, np.ndarray]:
    images = _read_idx(files[rows, "images"], IMAGES)
    labels = _read_idx(files[rows, "labels"], LABELS)
    if len(images) != len(labels):
        raise LimbeckError(
            f"{files[rows, 'images']} holds {len(images)} images, but {files[rows, 'labels']} {len(labels)} "
            "labels, expected as many: use two files that belong together"
        )
    return images, labels


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LimbeckError(f"cannot read {path} ({error.strerror}): check the file and its permissions") from error
    complete = True
    if path.suffix == ".gz":
        content, complete = unpack(content, str(path))
    return parse_idx(content, str(path), dimensions=dimensions, complete=complete)


def _cut_short(where: str, found: int, expected: str) -> LimbeckError:
    return LimbeckError(
        f"{where} is cut short: found {found} bytes of content, expected {expected}: get the file anew from its source"
    )


def _size(images: np.ndarray) -> str:
    return "×".join(str(s) for s in images.shape[1:])
