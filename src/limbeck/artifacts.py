"""Artifacts: folders named by what made them, written so that a crash loses nothing and damage is noticed.

An artifact's key is the SHA-256 of canonical JSON of its identity. While it is being made it is `KEY.part`;
it is complete when SHA256SUMS is written and the folder renamed.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.files import DamagedFileError, key_of, read_json, sha256_hex, sync_folder, write_bytes, write_json

KINDS = ("teacher", "knowledge", "student", "regression", "general")
SUMS = "SHA256SUMS"
TIMES = "times.json"
PLAN = "plan.json"
CHECKPOINTS = ("checkpoint.safetensors", "checkpoint-previous.safetensors")
_SUMS_OWN = "# sha256 of the lines above: "


@dataclass(frozen=True)
class Identity:
    """What decides an artifact's content: its key is the SHA-256 of these, in canonical JSON.

    Attributes:
        kind: `teacher`, `knowledge`, `student`, `regression` or `general`; also the folder that it lies in.
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


# ---------------------------------------------------------------- checking


def wrong_key(folder: Path, description: Mapping[str, Any]) -> list[DamagedFileError]:
    """What is wrong with an artifact that lies in another's place, by the identity that it describes itself with."""
    name, identity = folder.resolve().name, description.get("identity")
    if identity is None or len(name) != 64:
        return []
    key = Identity.from_json(identity).key
    return [] if name == key else [DamagedFileError(folder, f"its content is that of {key}")]


def write_sums(folder: Path, names: Sequence[str] | None = None) -> None:
    """Write SHA256SUMS: the digest of each file, and at the end of these lines.

    Args:
        folder: in which the files lie.
        names: of the files; by default all but shards (which have their own digest), times and checkpoints.
    """
    lines = [f"{sha256_hex((folder / name).read_bytes())}  {name}\n" for name in names or _summed(folder)]
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
    except (ValueError, IsADirectoryError, NotADirectoryError):
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
    except (IsADirectoryError, NotADirectoryError):
        raise DamagedFileError(folder / name, "it is no file") from None
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


def recorded_seconds(folder: Path) -> float | None:
    """What times.json says an artifact took to make; None where it does not say, or is no folder but a file."""
    try:
        return float(read_json(folder / TIMES)["seconds"])
    except (FileNotFoundError, NotADirectoryError, DamagedFileError, KeyError, TypeError, ValueError):
        return None


def is_shard(name: str) -> bool:
    """Whether a file's name is a shard's: five digits and `.safetensors`."""
    return len(name) == 17 and name[:5].isdigit() and name.endswith(".safetensors")


def _summed(folder: Path) -> list[str]:
    left_out = {SUMS, TIMES, *CHECKPOINTS}
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.is_file() and path.name not in left_out and not is_shard(path.name) and not path.name.startswith(".")
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
        """Whether something lies in the artifact's place; its files are checked when they are touched."""
        return self.folder(identity).exists()

    def complete(self, identity: Identity) -> Path:
        """Make a `.part` folder the artifact: SHA256SUMS, then the rename; a lost race counts as done.

        Until SHA256SUMS is there the checkpoints stay, so that nothing is computed again after a crash.
        """
        part, folder = self.part(identity), self.folder(identity)
        try:
            write_sums(part)
            for left in (*part.glob(".*.tmp"), *(part / name for name in CHECKPOINTS)):
                left.unlink(missing_ok=True)
            part.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            shutil.rmtree(part, ignore_errors=True)  # what was written after the winner's rename
        sync_folder(folder.parent)
        return folder

    def is_all_there(self, identity: Identity) -> bool:
        """Whether an artifact lacks the rename alone: its SHA256SUMS was written, and fits."""
        part = self.part(identity)
        return (part / SUMS).exists() and not damages(part)

    def set_aside(self, identity: Identity) -> Path:
        """Move a damaged artifact out of the way, so that it can be made again and nothing is lost."""
        return set_aside(self.folder(identity), "damaged")

    def move_out(self, key: str, place: Path) -> None:
        """Move what has this key, finished or not, to `place/KIND/`.

        Raises:
            LimbeckError: if a process works on it.
        """
        with hold(self._lock(key), f"{key[:12]} is being made"):
            for kind in KINDS:
                for name in (key, f"{key}.part"):
                    found, there = self.root / kind / name, place / kind / name
                    if found.exists():
                        there.parent.mkdir(parents=True, exist_ok=True)
                        found.rename(free_name(there, "old") if there.exists() else there)

    def _lock(self, key: str) -> Path:
        # Locks lie outside of what is renamed, and stay: a lock that is deleted can be held twice.
        path = self.root / ".locks" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextlib.contextmanager
    def locked(self, identity: Identity, waiting: Callable[[str], None] | None = None) -> Iterator[Path]:
        """Hold an artifact alone, for stages that only one process can work on.

        Args:
            identity: of the artifact.
            waiting: told once that another process holds it, which may well complete it; then waits for it.

        Yields:
            The `.part` folder, made if neither it nor the artifact is there.

        Raises:
            LimbeckError: if another process holds it, and `waiting` is not given.
        """
        with hold(self._lock(identity.key), f"{identity.kind} {identity.key[:12]} is being made", waiting):
            part = self.part(identity)
            if part.exists() and not part.is_dir():
                set_aside(part, "damaged")
            if not self.is_complete(identity):
                part.mkdir(parents=True, exist_ok=True)
            yield part


def kept_plan(part: Path, own: dict[str, Any], say: Callable[[str], None]) -> dict[str, Any]:
    """What decides bytes but is no setting: written before anything else, obeyed by whoever continues.

    Args:
        part: the `.part` folder. Without a plan that can be read, what is in it is worth nothing and set aside.
        own: what this process would do.
        say: told when that happens.

    Returns:
        The plan that the folder was begun with, else `own`.
    """
    path = part / PLAN
    if path.exists() or any(not found.name.startswith(".") for found in part.iterdir()):
        try:
            plan = read_json(path)
            if isinstance(plan, dict) and "device" in own:
                plan = {"device": "cpu", **plan}  # before there was a choice
            if isinstance(plan, dict) and {k: type(v) for k, v in plan.items()} == {k: type(v) for k, v in own.items()}:
                return plan
        except (DamagedFileError, OSError):
            pass
        say(f"{path} is damaged: what was begun is set aside as {set_aside(part, 'damaged').name}, and begun anew")
        part.mkdir()
    write_json(path, own)
    return own


def check_plan(folder: Path, plan: dict[str, Any], own: dict[str, Any], what: str = "the teacher answers") -> None:
    """Refuse to go on elsewhere, or in another precision, than where and in which something was begun.

    Args:
        folder: what was begun, or is mended.
        plan: that it was begun with.
        own: what this process would do.
        what: is done, for the message.

    Raises:
        LimbeckError: device or precision differ.
    """
    if plan["device"] != own["device"]:
        raise LimbeckError(
            f"{folder} was begun on {plan['device']}, but here {what} on {own['device']}: continue with --device "
            f"{plan['device']} where there is one, or delete {folder} to begin anew"
        )
    if plan["precision"] != own["precision"]:
        raise LimbeckError(
            f"{folder} was begun in {plan['precision']}, but here {what} in {own['precision']}: continue where it was "
            f"begun, or delete {folder} to begin anew"
        )


def set_aside(path: Path, why: str) -> Path:
    """Rename `NAME` to `NAME.WHY-N`, the first such name that is free."""
    aside = free_name(path, why)
    path.rename(aside)
    return aside


def free_name(path: Path, why: str) -> Path:
    """`NAME.WHY-N` with the first number that is free."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{why}-{number}")).exists():
        number += 1
    return aside


@contextlib.contextmanager
def hold(path: Path, what: str, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a lock file; the operating system lets go of it when the process ends, however it ends.

    Args:
        path: of the lock file, made if it is not there.
        what: what the message says of it.
        waiting: told once that another process holds it; then waits. Without it, that is an error.

    Raises:
        LimbeckError: if another process holds it, and `waiting` is not given.
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
            if waiting is None:
                message = f"{what} by another process (it holds {path}): wait for it to end, or stop it"
                raise LimbeckError(message) from None
            waiting(f"{what} by another process: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass
        yield
