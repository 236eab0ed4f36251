"""The files of an export put in place together: all written first, and the card, which speaks of them, last."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from limbeck.files import METADATA_KEY, sync_folder


def place(files: Mapping[Path, bytes], card: Path, text: bytes, stale: Path | None = None) -> None:
    """Put files in place, and their card once they are.

    All are written beside their places, synced, and only then renamed. The old card goes before: whatever happens in
    between, no card is left that speaks of other files.

    Args:
        files: their content by path, in one folder, which is made if need be.
        card: the card's path, in that folder.
        text: of the card.
        stale: an older file that is removed on the way.

    Raises:
        OSError: a file cannot be written, or its place is a folder's.
    """
    card.parent.mkdir(parents=True, exist_ok=True)
    written: dict[Path, Path] = {}
    try:
        for path, data in {**files, card: text}.items():
            written[path] = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
            with written[path].open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        card.unlink(missing_ok=True)
        sync_folder(card.parent)
        if stale is not None:
            stale.unlink(missing_ok=True)
        for path, beside in written.items():  # the card's the last
            beside.replace(path)
    finally:
        for beside in written.values():
            beside.unlink(missing_ok=True)
    sync_folder(card.parent)


def is_own_int8(path: Path) -> bool:
    """Whether a file is one of 8 bits that an export wrote; any other is somebody's own."""
    import onnx

    if not path.is_file():
        return False
    try:
        proto = onnx.load_model_from_string(path.read_bytes())
        about = {one.key: one.value for one in proto.metadata_props}.get(METADATA_KEY)
        found = None if about is None else json.loads(about)
    except Exception:  # protobuf's own, or no JSON: not a file of ours
        return False
    return isinstance(found, dict) and "int8" in found
