"""Asking a teacher of a large vocabulary once, keeping of its answers what the sparse form keeps, shard by shard."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from limbeck.artifacts import TIMES, ArtifactStore, check_plan, kept_plan, recorded_seconds
from limbeck.devices import CPU
from limbeck.errors import LimbeckError
from limbeck.files import DamagedFileError, content_digest, write_json, write_tensors
from limbeck.knowledge.sparse_packing import packed
from limbeck.knowledge.sparse_store import OUTPUTS, SparseKnowledge, SparseRecording, read_sparse_shard
from limbeck.knowledge.sparse_targets import top_and_tails
from limbeck.knowledge.store import DESCRIPTION, recorded_digests, shard_name, shard_ranges
from limbeck.progress import Progress, Silent
from limbeck.threads import thread_count, using_threads

SHARD_BYTES = 64 * 2**20

Ask = Callable[[int, int], Tensor | npt.NDArray[Any]]
"""The teacher's logits for the outputs of records start to stop, shape (outputs, classes), in the records' order."""


def extract_sparse(
    ask: Ask,
    recording: SparseRecording,
    store: ArtifactStore,
    *,
    batch_size: int = 32,
    precision: str = "float32",
    device: str = CPU,
    progress: Progress | None = None,
) -> SparseKnowledge:
    """Record a teacher's answers in the sparse form, or complete what was begun.

    Shards that are whole are not asked for again. In memory are one batch's dense logits and one shard's sparse ones.

    Args:
        ask: gives the logits of a batch of records.
        recording: what is recorded.
        store: where artifacts lie.
        batch_size: records asked about at once; who continues keeps to that of who began.
        precision: in which the teacher computes; it must be that of who began.
        device: on which, likewise.
        progress: told by batch, in records.

    Raises:
        LimbeckError: if answers do not fit the classes or outputs, or are not finite; if it was begun in another
            precision, or on another device.
    """
    progress = progress or Silent()
    asking = {"batch_size": batch_size, "device": device, "precision": precision}
    with store.locked(recording.identity, progress.line):
        return _extracted(ask, recording, store, asking, progress)


def repair_sparse(
    ask: Ask,
    recording: SparseRecording,
    store: ArtifactStore,
    *,
    batch_size: int = 32,
    precision: str = "float32",
    device: str = CPU,
    progress: Progress | None = None,
) -> SparseKnowledge:
    """Make the damaged shards of complete knowledge again; each must give the digest that was recorded.

    A damaged description, plan or list of digests cannot vouch for the shards: then all is set aside and made again.
    Arguments are those of `extract_sparse`.

    Raises:
        LimbeckError: as `extract_sparse`, and if a shard comes out with other bytes than were recorded.
    """
    progress = progress or Silent()
    asking = {"batch_size": batch_size, "device": device, "precision": precision}
    identity = recording.identity
    folder = store.folder(identity)
    with store.locked(identity, progress.line):
        try:
            knowledge = SparseKnowledge.open(folder, identity)
        except DamagedFileError as damage:
            if store.is_complete(identity):
                aside = store.set_aside(identity)
                progress.line(f"{damage.path} is damaged: knowledge set aside as {aside.name} and made again")
            return _extracted(ask, recording, store, asking, progress)
        damaged = knowledge.damaged_shards()
        for _, found in damaged:
            progress.line(f"{found.path} is damaged: made again")
        missing = {number: recorded_digests(folder / shard_name(number), number) for number, _ in damaged}
        plan = _plan(folder, recording, asking, progress)
        _record(ask, recording, folder, plan, missing, progress)
        return SparseKnowledge.open(folder, identity)


def _extracted(
    ask: Ask, recording: SparseRecording, store: ArtifactStore, asking: dict[str, Any], progress: Progress
) -> SparseKnowledge:
    """As `extract_sparse`, of a recording that is held."""
    identity = recording.identity
    if store.is_complete(identity):
        return SparseKnowledge.open(store.folder(identity), identity)
    part = store.part(identity)
    part.mkdir(parents=True, exist_ok=True)
    plan = _plan(part, recording, asking, progress)
    write_json(part / DESCRIPTION, recording.describe())
    write_tensors(part / OUTPUTS, {"counts": recording.counts}, {"knowledge": identity.key})
    began = time.monotonic()
    ranges = shard_ranges(len(recording.counts), plan["shard_records"])
    missing: dict[int, set[str]] = {}
    for number, place in enumerate(ranges):
        try:
            read_sparse_shard(part, number, identity.key, *place, recording.offsets)
        except DamagedFileError:
            missing[number] = set()
    _record(ask, recording, part, plan, missing, progress)
    write_json(part / TIMES, {"seconds": round((recorded_seconds(part) or 0.0) + time.monotonic() - began, 3)})
    return SparseKnowledge.open(store.complete(identity), identity)


def _plan(folder: Path, recording: SparseRecording, asking: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """What decides bytes but is no setting: written first, obeyed by whoever continues."""
    records = _records_in_shard(recording, asking["batch_size"])
    own = {**asking, "threads": thread_count(), "shard_records": records}
    plan = kept_plan(folder, own, progress.line)
    check_plan(folder, plan, own)
    return plan


def _records_in_shard(recording: SparseRecording, batch_size: int) -> int:
    """How many records make about 64 MB, in whole batches, so that a batch never depends on a neighbour."""
    per_value = math.ceil(math.log2(recording.classes)) / 8 + {6: 0.2, 8: 0.3, 16: 0.8}[recording.bits]
    per_output = 10 + per_value * min(recording.k, recording.classes)
    outputs = max(1.0, recording.offsets[-1] / max(1, len(recording.counts)))
    return max(1, int(SHARD_BYTES // (per_output * outputs * batch_size))) * batch_size


def _record(
    ask: Ask,
    recording: SparseRecording,
    folder: Path,
    plan: Mapping[str, Any],
    missing: Mapping[int, set[str]],
    progress: Progress,
) -> None:
    """Write the missing shards; `missing` says which digests each may have, any where none is known."""
    ranges = shard_ranges(len(recording.counts), plan["shard_records"])
    done = sum(stop - start for number, (start, stop) in enumerate(ranges) if number not in missing)
    for number, digests in missing.items():
        start, stop = ranges[number]
        batches = []
        with using_threads(plan["threads"]):
            for first in range(start, stop, plan["batch_size"]):
                last = min(first + plan["batch_size"], stop)
                batches.append(_kept(ask, recording, first, last))
                done += last - first
                progress.at(done)
        values, indices, tails = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
        arrays = packed(values, indices, tails, recording.classes, recording.bits)
        header = {"knowledge": recording.identity.key, "shard": number, "start": start, "stop": stop}
        path = folder / shard_name(number)
        if digests and content_digest(arrays, header) not in digests:
            raise LimbeckError(
                f"{path} is damaged and comes out with other values than were recorded (made by another version "
                f"or machine, or its record is damaged, too): delete {folder} to make all of it anew"
            )
        write_tensors(path, arrays, header)


def _kept(ask: Ask, recording: SparseRecording, first: int, last: int) -> tuple[npt.NDArray[Any], ...]:
    """What is kept of the answers about records `first` to `last`."""
    with torch.no_grad():
        logits = torch.as_tensor(ask(first, last))
        shape = (int(recording.offsets[last] - recording.offsets[first]), recording.classes)
        if tuple(logits.shape) != shape:
            raise LimbeckError(
                f"the teacher's logits for records {first} to {last} have shape {tuple(logits.shape)}, but the "
                f"recording says {shape}: outputs of these records, and classes"
            )
        try:
            found = top_and_tails(logits, recording.k)
        except LimbeckError as error:
            raise LimbeckError(f"records {first} to {last}: {error}") from None
    # Indices in few bytes, as a shard's wait for its end in memory.
    indices = found.indices.to(torch.int32)
    return tuple(one.cpu().numpy() for one in (found.values, indices, found.tails))
