"""Files that a crash leaves whole or absent, and that say when they are damaged: JSON, and tensors with a digest.

A file is written beside its place, synced and renamed. No file holds the time at which it was written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.errors import LimbeckError

Array = npt.NDArray[Any]

METADATA_KEY = "limbeck"


class DamagedFileError(LimbeckError):
    """A file does not hold what was written into it."""

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        super().__init__(f"{path} is damaged: {what}; delete it or run the same `limbeck run` again to make it anew")


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys, no spaces and no NaN, in UTF-8: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_hex(data: bytes) -> str:
    """SHA-256 of `data`, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def key_of(value: object) -> str:
    """SHA-256 of canonical JSON."""
    return sha256_hex(canonical_json(value))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: beside its place, synced, renamed, the folder synced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: object) -> None:
    """Write JSON for people to read (indented, sorted keys), atomically."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file; a file that is not JSON is damaged."""
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise DamagedFileError(path, f"not JSON ({error})") from None


def write_tensors(path: Path, tensors: Mapping[str, Array], header: Mapping[str, Any]) -> None:
    """Write arrays as safetensors, atomically and with the same bytes for the same content.

    All metadata goes into one key as canonical JSON, because safetensors writes several keys in an order that
    differs from process to process. The header gains `digest`, the SHA-256 of header and tensors.
    """
    from safetensors.numpy import save

    # asarray and not ascontiguousarray, which gives a scalar a dimension.
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    digest = content_digest(arrays, header)
    metadata = {METADATA_KEY: canonical_json({**header, "digest": digest}).decode()}
    write_bytes(path, save(arrays, metadata=metadata))


def read_tensors(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read what `write_tensors` wrote, and check it against its digest.

    Returns:
        The arrays by name, and the header (with `digest`).

    Raises:
        DamagedFileError: if the file is not whole or its content does not give its digest.
        FileNotFoundError: if there is none.
    """
    from safetensors.numpy import load

    data = path.read_bytes()
    try:
        header = _header(data)
        arrays = load(data)
    except Exception as error:  # safetensors, JSON and numpy each have their own exceptions for a bad file
        raise DamagedFileError(path, f"not a safetensors file of limbeck ({' '.join(str(error).split())})") from None
    if content_digest(arrays, {key: value for key, value in header.items() if key != "digest"}) != header.get("digest"):
        raise DamagedFileError(path, "its content does not give the digest in its header")
    return arrays, header


def read_header(path: Path) -> dict[str, Any]:
    """The header of a file that `write_tensors` wrote, without reading or checking the tensors."""
    with path.open("rb") as file:
        start = file.read(8)
        # A damaged length may claim more bytes than there is memory for.
        length = min(int.from_bytes(start, "little"), path.stat().st_size)
        data = start + file.read(length)
    try:
        return _header(data)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFileError(path, f"its header cannot be read ({error})") from None


def _header(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 + length:
        raise ValueError("cut short")
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][METADATA_KEY])
    if not isinstance(header, dict):
        raise TypeError("the header is no object")
    return header


def content_digest(arrays: Mapping[str, Array], header: Mapping[str, Any]) -> str:
    """The digest that `write_tensors` puts into a header: SHA-256 of the header and the arrays."""
    shapes = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
    digest = hashlib.sha256(canonical_json([header, shapes]))
    for name in sorted(arrays):
        digest.update(arrays[name].reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last through a loss of power, where the file system can."""
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
