"""From a source's name to its data set."""

from __future__ import annotations

from pathlib import Path

from limbeck.data.bundled import load_digits, load_mnist
from limbeck.data.dataset import Dataset
from limbeck.data.idx import load_idx_folder
from limbeck.errors import UsageError, did_you_mean


def load_dataset(source: str) -> Dataset:
    """Load a data set, all of it or not at all. Needs no network.

    Args:
        source: "mnist" (bundled), "digits" (scikit-learn's 8×8 digits, for quick work), or
            "idx:FOLDER": a folder in MNIST's file format, such as Fashion-MNIST, KMNIST or EMNIST.

    Raises:
        UsageError: a source that is unknown or not there.
        LimbeckError: files that are damaged or do not fit each other.
    """
    form, colon, rest = source.partition(":")
    if form == "idx" and colon:
        if not rest:
            raise UsageError(f'data source "{source}" names no folder: write "idx:FOLDER"')
        return load_idx_folder(Path(rest).expanduser(), source)
    if source == "mnist":
        return load_mnist()
    if source == "digits":
        return load_digits()
    if source and Path(source).is_dir():
        hint = f': write "idx:{source}" to read this folder'
    else:
        hint = did_you_mean(f"{form}:FOLDER" if colon else form, ["mnist", "digits", "idx:FOLDER"])
    raise UsageError(f'unknown data source "{source}", expected "mnist", "digits" or "idx:FOLDER"{hint}')
