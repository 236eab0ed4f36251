"""Sparse knowledge on disk: of each output of each record, what `sparse_targets` keeps, in shards of whole batches.

A folder as that of dense knowledge: shards that vouch for themselves, knowledge.json, plan.json, times.json and
SHA256SUMS; and outputs.safetensors, which says how many outputs each record has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from limbeck.artifacts import PLAN, Identity, read_checked
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import DamagedFileError, content_digest, read_tensors
from limbeck.knowledge.sparse_packing import MOST_CLASSES, Bits, PackedRows, narrow
from limbeck.knowledge.sparse_targets import TEMPERATURES, SparseTargets
from limbeck.knowledge.store import SPARSE, read_knowledge, shard_name, shard_ranges

VERSION = 2

OUTPUTS = "outputs.safetensors"


@dataclass(frozen=True, eq=False)
class SparseRecording:
    """What one sparse artifact records: one teacher's answers about the outputs of some records, seen in one view.

    Attributes:
        teacher_key: the teacher's artifact key.
        part: the hash of the records' inputs.
        outputs: integers, shape (records,), how many outputs (tokens, or masked positions) each record has.
        classes: how many classes each output has: the vocabulary's size.
        k: how many of them are kept.
        bits: of a value, 6, 8 or 16.
        view: how the records are seen (`number`, and whatever decides it, such as a mask's settings); None as they are.
        seed: of the view; without meaning where there is none.

    Raises:
        UsageError: a number is out of range.
    """

    teacher_key: str
    part: str
    outputs: npt.NDArray[Any]
    classes: int
    k: int = 32
    bits: Bits = 8
    view: Mapping[str, Any] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"k is {self.k}, but at least one class of each output must be kept")
        if self.bits not in get_args(Bits):
            raise UsageError(f"bits is {self.bits!r}, but values are kept in 6, 8 or 16 bits")
        if not 0 < self.classes <= MOST_CLASSES:
            raise UsageError(f"there are {self.classes} classes, but must be 1 to {MOST_CLASSES}")
        if self.outputs.ndim != 1 or self.outputs.dtype.kind not in "iu" or (self.outputs < 0).any():
            raise UsageError("outputs must say of each record how many outputs it has: integers of at least 0")

    @cached_property
    def counts(self) -> npt.NDArray[Any]:
        """The number of each record's outputs, as it is stored."""
        return narrow(self.outputs)

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Shape (records + 1,): record i's outputs are offsets[i] to offsets[i + 1]."""
        return _offsets(self.counts)

    @cached_property
    def identity(self) -> Identity:
        """What decides the knowledge; its key names the folder."""
        settings = {
            "form": SPARSE,
            "k": self.k,
            "bits": self.bits,
            "temperatures": list(TEMPERATURES),
            "view": None if self.view is None else dict(self.view),
        }
        inputs = {
            "teacher": self.teacher_key,
            "part": self.part,
            "classes": self.classes,
            "outputs": content_digest({"counts": self.counts}, {}),
        }
        return Identity("knowledge", VERSION, settings, inputs, None if self.view is None else self.seed)

    def describe(self) -> dict[str, Any]:
        """What knowledge.json says."""
        settings = self.identity.settings
        return {
            "identity": self.identity.as_json(),
            "form": SPARSE,
            "outputs": int(self.offsets[-1]),
            "rows": len(self.counts),
            "classes": self.classes,
            "part": self.part,
            "teacher": self.teacher_key,
            **{name: settings[name] for name in ("k", "bits", "temperatures", "view")},
        }


class SparseKnowledge:
    """A complete sparse artifact; shards are read and checked when their records are asked for, and stay packed.

    Attributes:
        folder: where it lies.
        description: what knowledge.json says.
        records: how many there are.
        classes: how many each output has.
        offsets: int64, shape (records + 1,): record i's outputs are offsets[i] to offsets[i + 1].
        held: how many shards stay in memory, about 64 MB each; records in an order that comes back to shards that
            have gone are slow.
    """

    def __init__(
        self, folder: Path, description: Mapping[str, Any], counts: npt.NDArray[Any], shard_records: int, held: int
    ) -> None:
        self.folder, self.description, self.held = folder, dict(description), held
        self.records, self.classes = len(counts), int(description["classes"])
        self.offsets = _offsets(counts)
        self._shard_records = shard_records
        self._shards: dict[int, PackedRows] = {}

    @classmethod
    def open(cls, folder: Path | str, identity: Identity | None = None, held: int = 64) -> SparseKnowledge:
        """Open a complete artifact.

        Args:
            folder: where it lies.
            identity: what it should be, where that is known.
            held: how many shards stay in memory.

        Raises:
            LimbeckError: if there is none, it is unfinished or of another version, or its description is damaged or
                another's.
        """
        folder = Path(folder)
        description = read_knowledge(folder, identity, "record the same again")
        if not is_sparse(description):
            raise LimbeckError(f"{folder} holds dense knowledge, not sparse: open it as limbeck.knowledge.Knowledge")
        if (version := description["identity"]["version"]) != VERSION:
            raise LimbeckError(
                f"{folder} holds sparse knowledge of version {version}, and only version {VERSION} is read: record it "
                "again"
            )
        read_checked(folder, OUTPUTS)
        counts = read_tensors(folder / OUTPUTS)[0]["counts"]
        plan = json.loads(read_checked(folder, PLAN))
        return cls(folder, description, counts, plan["shard_records"], held)

    @cached_property
    def identity(self) -> Identity:
        """What the knowledge says it is."""
        return Identity.from_json(self.description["identity"])

    def ranges(self) -> list[tuple[int, int]]:
        """The records of each shard, by the plan it was written to."""
        return shard_ranges(self.records, self._shard_records)

    def batch(self, records: Tensor | npt.NDArray[Any]) -> SparseTargets:
        """The targets of all outputs of these records (batch,), in their order.

        Raises:
            UsageError: a record that is not there.
            DamagedFileError: a shard that is not whole.
        """
        asked = np.asarray(records, np.int64)
        if asked.size and not 0 <= asked.min() <= asked.max() < self.records:
            wrong = asked.min() if asked.min() < 0 else asked.max()
            raise UsageError(f"record {wrong} was asked for, but {self.folder} has 0 to {self.records - 1}")
        counts = self.offsets[asked + 1] - self.offsets[asked]
        offsets = _offsets(counts)
        rows = np.repeat(self.offsets[asked] - offsets[:-1], counts) + np.arange(offsets[-1])
        k = min(self.description["k"], self.classes)
        values, tails = np.empty((len(rows), k), np.float32), np.empty((len(rows), len(TEMPERATURES)), np.float32)
        indices = np.empty((len(rows), k), np.int64)
        numbers = np.repeat(asked // self._shard_records, counts)
        for number in np.unique(numbers).tolist():
            here = numbers == number
            shard = self._shard(number)
            values[here], indices[here], tails[here] = shard.rows(
                rows[here] - self.offsets[number * self._shard_records]
            )
        return SparseTargets(
            torch.from_numpy(values),
            torch.from_numpy(indices),
            torch.from_numpy(tails),
            torch.from_numpy(offsets),
            self.classes,
        )

    def damaged_shards(self) -> list[tuple[int, DamagedFileError]]:
        """Number and damage of every shard that is not whole."""
        found = []
        for number, (start, stop) in enumerate(self.ranges()):
            try:
                read_sparse_shard(self.folder, number, self.identity.key, start, stop, self.offsets)
            except DamagedFileError as damage:
                found.append((number, damage))
        return found

    def _shard(self, number: int) -> PackedRows:
        if number not in self._shards:
            while len(self._shards) >= max(1, self.held):
                del self._shards[next(iter(self._shards))]
            place = self.ranges()[number]
            arrays = read_sparse_shard(self.folder, number, self.identity.key, *place, self.offsets)
            self._shards[number] = PackedRows(arrays, self.description["bits"])
        return self._shards[number]


def is_sparse(description: Mapping[str, Any]) -> bool:
    """Whether knowledge.json describes knowledge of the sparse form."""
    return description.get("form") == SPARSE


def read_sparse_shard(
    folder: Path, number: int, key: str, start: int, stop: int, offsets: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[Any]]:
    """One shard's arrays, checked against its digest and its place.

    Raises:
        DamagedFileError: if it is missing, damaged, or another shard's.
    """
    path = folder / shard_name(number)
    try:
        arrays, header = read_tensors(path)
    except FileNotFoundError:
        raise DamagedFileError(path, "it is missing") from None
    place = {"knowledge": key, "shard": number, "start": start, "stop": stop}
    if {name: header.get(name) for name in place} != place or len(arrays["lengths"]) != offsets[stop] - offsets[start]:
        raise DamagedFileError(path, f"it is not shard {number} (records {start} to {stop}) of {key[:12]}")
    return arrays


def _offsets(counts: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
