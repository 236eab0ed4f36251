"""Artifacts: folders named by what made them, written so that a crash loses nothing and damage is noticed.

An artifact's key is the SHA-256 of canonical JSON of its identity. While it is being made it is `KEY.part`;
it is complete when SHA256SUMS is written and the folder renamed. Files are written beside their place, synced
and renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.errors import LimbeckError

Array = npt.NDArray[Any]

METADATA_KEY = "limbeck"
SUMS = "SHA256SUMS"
TIMES = "times.json"
CHECKPOINTS = ("checkpoint.safetensors", "checkpoint-previous.safetensors")
_SUMS_OWN = "# sha256 of the lines above: "


class DamagedFileError(LimbeckError):
    """A file does not hold what was written into it."""

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        super().__init__(f"{path} is damaged: {what}; delete it or run the same `limbeck run` again to make it anew")


# ---------------------------------------------------------------- identity


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys, no spaces and no NaN, in UTF-8: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_hex(data: bytes) -> str:
    """SHA-256 of `data`, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Identity:
    """What decides an artifact's content: its key is the SHA-256 of these, in canonical JSON.

    Attributes:
        kind: `teacher`, `knowledge` or `student`; also the folder that it lies in.
        version: the version of the stage's code, raised when a mended bug changes what it makes.
        settings: those of this stage alone, as JSON values. Names of parts are not among them.
        inputs: the keys or hashes of what the stage reads.
        seed: where the stage draws random numbers, else None.
    """

    kind: str
    version: int
    settings: Mapping[str, Any]
    inputs: Mapping[str, Any]
    seed: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The identity as JSON values; `key` is the digest of exactly these."""
        return {
            "kind": self.kind,
            "version": self.version,
            "settings": dict(self.settings),
            "inputs": dict(self.inputs),
            "seed": self.seed,
        }

    @property
    def key(self) -> str:
        """The artifact's key: 64 hexadecimal digits."""
        return key_of(self.as_json())

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Identity:
        """The inverse of `as_json`."""
        return cls(value["kind"], value["version"], value["settings"], value["inputs"], value["seed"])


def key_of(value: object) -> str:
    """SHA-256 of canonical JSON."""
    return sha256_hex(canonical_json(value))


# ---------------------------------------------------------------- writing and reading


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
    _sync_folder(path.parent)


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


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# ---------------------------------------------------------------- checking


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS: every file but shards (digests of their own), times and checkpoints; then its own digest."""
    lines = [f"{sha256_hex((folder / name).read_bytes())}  {name}\n" for name in _summed(folder)]
    text = "".join(lines)
    write_bytes(folder / SUMS, f"{text}{_SUMS_OWN}{sha256_hex(text.encode())}\n".encode())


def read_sums(folder: Path) -> dict[str, str]:
    """The digests in SHA256SUMS by file name, checked against the digest at its end."""
    path = folder / SUMS
    try:
        text = path.read_bytes().decode()
        body, own = text.split(_SUMS_OWN)
        lines = [line.split("  ", 1) for line in body.splitlines()]
        entries = {name: digest for digest, name in lines}
    except FileNotFoundError:
        raise DamagedFileError(path, "it is missing") from None
    except ValueError:
        raise DamagedFileError(path, "it cannot be read") from None
    if own != sha256_hex(body.encode()) + "\n":
        raise DamagedFileError(path, "it does not give its own digest")
    return entries


def read_checked(folder: Path, name: str) -> bytes:
    """A file of a complete artifact, checked against SHA256SUMS as it is touched."""
    recorded = read_sums(folder).get(name)
    if recorded is None:
        raise DamagedFileError(folder / SUMS, f"it does not list {name}")
    try:
        data = (folder / name).read_bytes()
    except FileNotFoundError:
        raise DamagedFileError(folder / name, "it is missing") from None
    if sha256_hex(data) != recorded:
        raise DamagedFileError(folder / name, f"it does not give the digest in {SUMS}")
    return data


def damages(folder: Path) -> list[DamagedFileError]:
    """Everything that is wrong with a complete artifact's listed files, each file named; empty if whole."""
    try:
        names = read_sums(folder)
    except DamagedFileError as damage:
        return [damage]
    found = []
    for name in names:
        try:
            read_checked(folder, name)
        except DamagedFileError as damage:
            found.append(damage)
    return found


def is_shard(name: str) -> bool:
    """Whether a file's name is a shard's: five digits and `.safetensors`."""
    return len(name) == 17 and name[:5].isdigit() and name.endswith(".safetensors")


def _summed(folder: Path) -> list[str]:
    left_out = {SUMS, TIMES, "lock", *CHECKPOINTS}
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.name not in left_out and not is_shard(path.name) and not path.name.startswith(".")
    )


# ---------------------------------------------------------------- the store of artifacts


@dataclass(frozen=True)
class ArtifactStore:
    """The folder in which artifacts lie, `root/KIND/KEY`; runs that ask for the same thing share it."""

    root: Path

    def folder(self, identity: Identity) -> Path:
        """Where the artifact is, or will be, when complete."""
        return self.root / identity.kind / identity.key

    def part(self, identity: Identity) -> Path:
        """Where the artifact is while it is being made."""
        return self.root / identity.kind / f"{identity.key}.part"

    def is_complete(self, identity: Identity) -> bool:
        """Whether the artifact is there; its files are checked when they are touched."""
        return self.folder(identity).is_dir()

    def complete(self, identity: Identity) -> Path:
        """Make a `.part` folder the artifact: SHA256SUMS, then the rename; a lost race counts as done."""
        part, folder = self.part(identity), self.folder(identity)
        try:
            for left in (*part.glob(".*.tmp"), *(part / name for name in CHECKPOINTS), part / "lock"):
                left.unlink(missing_ok=True)
            write_sums(part)
            part.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            shutil.rmtree(part, ignore_errors=True)  # what was written after the winner's rename
        _sync_folder(folder.parent)
        return folder

    def set_aside(self, identity: Identity) -> Path:
        """Move a damaged artifact out of the way, so that it can be made again and nothing is lost."""
        return set_aside(self.folder(identity), "damaged")

    @contextlib.contextmanager
    def locked(self, identity: Identity) -> Iterator[Path]:
        """Hold a `.part` folder alone, for stages that only one process can work on.

        Yields:
            The `.part` folder.

        Raises:
            LimbeckError: if another process holds it.
        """
        part = self.part(identity)
        part.mkdir(parents=True, exist_ok=True)
        with hold(part / "lock", f"{identity.kind} {identity.key[:12]} is being made"):
            yield part


def set_aside(path: Path, why: str) -> Path:
    """Rename `NAME` to `NAME.WHY-N`, the first such name that is free."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{why}-{number}")).exists():
        number += 1
    path.rename(aside)
    return aside


@contextlib.contextmanager
def hold(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file; the operating system lets go of it when the process ends, however it ends.

    Raises:
        LimbeckError: if another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows: no lock, as on file systems that cannot
        yield
        return
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"{what} by another process (it holds {path}): wait for it to end, or stop it"
            raise LimbeckError(message) from None
        except OSError:
            pass
        yield
