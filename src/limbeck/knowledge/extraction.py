"""Asking a teacher once and keeping its answers, shard by shard, so that a crash loses less than one shard."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.artifacts import TIMES, ArtifactStore, check_plan, kept_plan, recorded_seconds
from limbeck.devices import CPU
from limbeck.errors import LimbeckError, UsageError
from limbeck.files import DamagedFileError, content_digest, write_json, write_tensors
from limbeck.knowledge.checks import own_about, spot_check
from limbeck.knowledge.store import (
    DESCRIPTION,
    Knowledge,
    Recording,
    read_shard,
    recorded_digests,
    rows_in_shard,
    shard_name,
    shard_ranges,
)
from limbeck.progress import Progress, Silent
from limbeck.teachers import Teacher, answers_about
from limbeck.threads import thread_count, using_threads

Pixels = Callable[[], npt.NDArray[Any]]


def extract(
    teacher: Teacher,
    recording: Recording,
    store: ArtifactStore,
    *,
    pixels: Pixels | None = None,
    progress: Progress | None = None,
) -> Knowledge:
    """Record a teacher's answers, or complete what was begun; nothing that is whole is computed again.

    Args:
        teacher: in the form in which it answers.
        recording: teacher's key, part, view.
        store: where artifacts lie.
        pixels: gives the inputs in the recording's view (default: computed anew); only called if needed.
        progress: told by batch.

    Raises:
        UsageError: if the part names no classes.
        LimbeckError: if the teacher's outputs are not finite or do not fit the classes, if the plan that a
            half-done recording was begun with cannot be kept, or if what is there is another teacher's.
    """
    progress = progress or Silent()
    if not recording.part.classes:
        raise UsageError(
            f'part "{recording.part.name}" names no classes, and a teacher\'s answers are kept by class: give it the '
            'teacher\'s, for example dataclasses.replace(part, classes=("cat", "dog"))'
        )
    with store.locked(recording.identity, progress.line):
        return _extracted(teacher, recording, store, pixels, progress)


def _extracted(
    teacher: Teacher, recording: Recording, store: ArtifactStore, pixels: Pixels | None, progress: Progress
) -> Knowledge:
    """As `extract`, of a recording that is held."""
    identity = recording.identity
    if store.is_complete(identity):
        knowledge = Knowledge.open(store.folder(identity), identity)
        spot_check(teacher, knowledge, recording, None, f"knowledge {knowledge.folder}")
        return knowledge
    part = store.part(identity)
    part.mkdir(parents=True, exist_ok=True)
    plan = _plan(part, teacher, recording, progress)
    write_json(part / DESCRIPTION, recording.describe())
    began = time.monotonic()
    ranges = shard_ranges(len(recording.part), plan["shard_rows"])
    missing = [number for number, place in enumerate(ranges) if not _whole(part, number, identity.key, place)]
    with using_threads(plan["threads"]):
        _record(teacher, recording, part, ranges, {number: set() for number in missing}, pixels, progress)
    write_json(part / TIMES, {"seconds": round((recorded_seconds(part) or 0.0) + time.monotonic() - began, 3)})
    return Knowledge.open(store.complete(identity), identity)


def repair(
    teacher: Teacher,
    recording: Recording,
    store: ArtifactStore,
    *,
    pixels: Pixels | None = None,
    progress: Progress | None = None,
) -> Knowledge:
    """Make the damaged shards of complete knowledge again; each must give the digest that was recorded.

    A damaged description or list of digests cannot vouch for the shards: then all is set aside and made again.

    Raises:
        LimbeckError: if a shard comes out with other bytes than were recorded (another machine, thread count
            or version).
    """
    progress = progress or Silent()
    folder = store.folder(recording.identity)
    with store.locked(recording.identity, progress.line):
        try:
            knowledge = Knowledge.open(folder, recording.identity)
            damaged = knowledge.damaged_shards()
            ranges = knowledge.ranges()
        except DamagedFileError as damage:
            if store.is_complete(recording.identity):
                aside = store.set_aside(recording.identity)
                progress.line(f"{damage.path} is damaged: knowledge set aside as {aside.name} and made again")
            return _extracted(teacher, recording, store, pixels, progress)
        recorded = {number: recorded_digests(folder / shard_name(number), number) for number, _ in damaged}
        for _, found in damaged:
            progress.line(f"{found.path} is damaged: made again")
        with using_threads(_plan(folder, teacher, recording, progress)["threads"]):
            _record(teacher, recording, folder, ranges, recorded, pixels, progress)
        return Knowledge.open(folder)


def _plan(folder: Path, teacher: Teacher, recording: Recording, progress: Progress) -> dict[str, Any]:
    """What decides bytes but is no setting: written first, obeyed by whoever continues."""
    own = {
        "batch_size": teacher.batch_size,
        "device": str(getattr(teacher, "device", CPU)),
        "precision": teacher.precision,
        "threads": thread_count(),
        "shard_rows": rows_in_shard(len(recording.part.classes), recording.dtype, teacher.batch_size),
    }
    plan = kept_plan(folder, own, progress.line)
    teacher.batch_size = plan["batch_size"]
    check_plan(folder, plan, own)
    return plan


def _whole(folder: Path, number: int, key: str, place: tuple[int, int]) -> bool:
    try:
        read_shard(folder, number, key, *place)
    except DamagedFileError:
        return False
    return True


def _record(
    teacher: Teacher,
    recording: Recording,
    folder: Path,
    ranges: list[tuple[int, int]],
    missing: Mapping[int, set[str]],
    pixels: Pixels | None,
    progress: Progress,
) -> None:
    """Write the missing shards; `missing` says which digests each may have, any where none is known."""
    if not missing:
        return
    # Views of rows that are too many for memory are made as they are asked about: the same, whatever the batch.
    by_step = recording.view > 0 and isinstance(recording.part.inputs, np.memmap)
    inputs = None if by_step else pixels() if pixels else recording.pixels(None)
    own = own_about(teacher, recording, recording.part)
    done = sum(stop - start for number, (start, stop) in enumerate(ranges) if number not in missing)
    key, classes = recording.identity.key, len(recording.part.classes)
    # Several batches at a time, so that the bar moves; each batch is still asked by itself.
    step = teacher.batch_size * max(1, 2500 // teacher.batch_size)
    for number, digests in missing.items():
        start, stop = ranges[number]
        values = np.empty((stop - start, classes), dtype=recording.dtype)
        for first in range(start, stop, step):
            last = min(first + step, stop)
            known = None if own is None else (own[0][first:last], own[1][first:last])
            asked = recording.pixels_of(np.arange(first, last)) if inputs is None else inputs[first:last]
            answers = answers_about(teacher, asked, known, first)
            if answers.shape[1] != classes:
                raise LimbeckError(
                    f"the teacher answers with {answers.shape[1]} classes, but the data has {classes} "
                    f"({', '.join(recording.part.classes[:12])}): they must be the same, in the same order"
                )
            # float16 ends at −65504; a probability of e^−60000 is zero all the same.
            values[first - start : last - start] = np.maximum(answers, -60000)
            done += last - first
            progress.at(done)
        header = {"knowledge": key, "shard": number, "start": start, "stop": stop}
        path, tensors = folder / shard_name(number), {"log_probs": values}
        if digests and content_digest(tensors, header) not in digests:
            raise LimbeckError(
                f"{path} is damaged and comes out with other values than were recorded (made by another version "
                f"or machine, or its record is damaged, too): delete {folder} to make all of it anew"
            )
        write_tensors(path, tensors, header)
