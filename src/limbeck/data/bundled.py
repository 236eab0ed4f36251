"""The data sets that need no download: MNIST, which comes with this package, and scikit-learn's digits."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import numpy as np

from limbeck.data.dataset import Dataset
from limbeck.data.form import Column, TableForm
from limbeck.data.idx import IMAGES, LABELS, parse_idx, unpack
from limbeck.data.part import Part
from limbeck.errors import LimbeckError

DIGITS = tuple("0123456789")

MNIST_MD5 = {  # of the unpacked files
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def load_mnist() -> Dataset:
    """MNIST: 60,000 training and 10,000 test images of handwritten digits, uint8, shape (n, 28, 28).

    The files' checksums are verified.

    Raises:
        LimbeckError: a file that is missing or damaged; names it.
    """
    return Dataset("mnist", _mnist_part("train", "train"), _mnist_part("test", "t10k"), DIGITS)


def load_digits() -> Dataset:
    """scikit-learn's handwritten digits: 1797 images, uint8 from 0 to 16, shape (n, 8, 8); no test set.

    The test set of Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI (1998).
    """
    from sklearn.datasets import load_digits as bundled  # takes half a second to import

    digits = bundled()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.int64)
    return Dataset("digits", Part("train", images, labels, np.arange(len(images)), DIGITS), None, DIGITS)


def load_synthetic() -> Dataset:
    """A table that scikit-learn's `make_classification` generates: 60,000 rows of 20 numbers, 8 classes; no test set.

    Twelve of the columns say something, four are sums of these, four are noise. A class has three clusters, and one
    label in fifty is drawn anew (Guyon 2003, Design of experiments for the NIPS 2003 variable selection benchmark).
    """
    from sklearn.datasets import make_classification

    inputs, labels = make_classification(
        n_samples=60_000, n_features=20, n_informative=12, n_redundant=4, n_classes=8, n_clusters_per_class=3,
        class_sep=1.5, flip_y=0.02, random_state=0,
    )  # fmt: skip
    form = TableForm(tuple(Column(f"x{number}") for number in range(inputs.shape[1])))
    classes = tuple("abcdefgh")
    part = Part("train", inputs.astype(np.float32), labels.astype(np.int64), np.arange(len(inputs)), classes, form)
    return Dataset("synthetic", part, None, classes)


def _mnist_part(name: str, file_prefix: str) -> Part:
    images = _mnist_file(f"{file_prefix}-images-idx3-ubyte", IMAGES)
    labels = _mnist_file(f"{file_prefix}-labels-idx1-ubyte", LABELS).astype(np.int64)
    return Part(name, images, labels, np.arange(len(images)), DIGITS)


def _mnist_file(name: str, dimensions: int) -> np.ndarray:
    file = files("limbeck.data").joinpath("mnist", f"{name}.gz")
    try:
        packed = file.read_bytes()
    except OSError as error:
        raise LimbeckError(f"cannot read the bundled {file} ({error.strerror}): install limbeck again") from error
    content, _ = unpack(packed, str(file))
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 != MNIST_MD5[name]:
        raise LimbeckError(
            f"the bundled {file} is damaged: the MD5 of its content is {md5}, expected {MNIST_MD5[name]}: "
            "install limbeck again"
        )
    return parse_idx(content, str(file), dimensions=dimensions)
