"""What a file or folder of rows is, as far as its name and first bytes say."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from limbeck.data.idx import has_idx_images
from limbeck.data.images import EXTENSIONS
from limbeck.data.table_file import is_table
from limbeck.data.text_file import is_texts
from limbeck.errors import LimbeckError

FileKind = Literal["table", "texts", "arrays", "idx", "image", "folder"]

_ARRAYS = (".npy", ".npz")
_IDX_BEGINS = (b"\x00\x00", b"\x1f\x8b")  # the second: packed


def kind_of(path: Path) -> FileKind | None:
    """What is there.

    Args:
        path: a file or folder that exists.

    Returns:
        "table", "texts" (JSON lines, plain text), "arrays" (numpy's), "idx" (one file, or a folder of such), "image",
        or "folder" for any other folder; None for a file that is none of these.

    Raises:
        LimbeckError: it cannot be read.
    """
    try:
        return _kind_of(path)
    except OSError as error:
        raise LimbeckError(f"cannot read {path} ({error.strerror}): check it and its permissions") from error


def _kind_of(path: Path) -> FileKind | None:
    if path.is_dir():
        return "idx" if has_idx_images(path) else "folder"
    if is_table(path.name):
        return "table"
    if is_texts(path.name):
        return "texts"
    if path.suffix.lower() in _ARRAYS:
        return "arrays"
    with path.open("rb") as file:
        begins = file.read(2)
    if begins in _IDX_BEGINS:
        return "idx"
    return "image" if path.suffix.lower() in EXTENSIONS else None
