"""Knowledge on disk: a teacher's log-probabilities over one part seen in one view, in shards.

The shards that are on disk and whole are all the state there is: to resume is to compute the others.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load

from limbeck.artifacts import PLAN, SUMS, Identity, read_checked
from limbeck.data import Part, SyntheticSettings, ViewCache, ViewSettings, synthetic_rows, view_pixels
from limbeck.data.synthetic import SYNTHETIC_VERSION
from limbeck.data.views import VIEWS_VERSION
from limbeck.errors import LimbeckError
from limbeck.files import DamagedFileError, content_digest, read_header, read_tensors
from limbeck.teachers import FLOOR

VERSION = 2
DESCRIPTION = "knowledge.json"
SPARSE = "sparse"
"""The form, as knowledge.json has it, of what `limbeck.knowledge.sparse_store` keeps."""

SHARD_BYTES = 64 * 2**20

StoredDtype = Literal["float16", "float32"]


@dataclass(frozen=True)
class Recording:
    """What one knowledge artifact records: one teacher's answers for one part seen in one view.

    Attributes:
        teacher_key: the teacher's artifact key.
        part: the rows asked about.
        view: number of the view; 0 is the rows themselves.
        view_settings: how views are drawn, or synthetic rows made; without meaning for view 0.
        seed: of the views; without meaning for view 0.
        dtype: in which log-probabilities are stored.
        by_content: whether rows that the teacher was fitted to are known by what is in them, and not by their ids: of
            a part from elsewhere, whose ids are its own.
    """

    teacher_key: str
    part: Part
    view: int = 0
    view_settings: ViewSettings | SyntheticSettings = field(default_factory=ViewSettings)
    seed: int = 0
    dtype: StoredDtype = "float16"
    by_content: bool = False

    @cached_property
    def identity(self) -> Identity:
        """What decides the knowledge; its key names the folder."""
        view = None
        if self.view:
            view = {"number": self.view, **_in_keys(self.view_settings)}
        settings: dict[str, Any] = {"dtype": self.dtype, "floor": FLOOR, "view": view}
        if self.by_content:
            settings["own_rows"] = "content"
        return Identity(
            kind="knowledge",
            version=VERSION,
            settings=settings,
            inputs={
                "teacher": self.teacher_key,
                "part": self.part.inputs_hash,
                "classes": list(self.part.classes),
            },
            seed=self.seed if self.view else None,
        )

    def pixels(self, cache: ViewCache | None) -> npt.NDArray[Any]:
        """The raw inputs in this view, shape (rows, …)."""
        if self.view == 0:
            return self.part.inputs
        if isinstance(self.view_settings, SyntheticSettings):
            if cache is not None:
                return cache.rows(self.part, self.view, self.seed, self.view_settings)
            return synthetic_rows(self.part, view=self.view, seed=self.seed, settings=self.view_settings)
        if cache is not None:
            return cache.pixels(self.part, self.view, self.seed, self.view_settings)
        return view_pixels(self.part.inputs, self.part.ids, view=self.view, seed=self.seed, settings=self.view_settings)

    def pixels_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The raw inputs of a few rows, by their place in the part, in this view; the others are not made."""
        some, ids = self.part.inputs[rows], self.part.ids[rows]
        if self.view == 0:
            return some
        if isinstance(self.view_settings, SyntheticSettings):
            return synthetic_rows(self.part, view=self.view, seed=self.seed, settings=self.view_settings, rows=rows)
        return view_pixels(some, ids, view=self.view, seed=self.seed, settings=self.view_settings)

    @cached_property
    def labelled(self) -> Part:
        """The part with the labels that its rows have in this view: synthetic ones have none."""
        if self.view == 0 or isinstance(self.view_settings, ViewSettings):
            return self.part
        return replace(self.part, labels=np.full(len(self.part), -1))

    def describe(self) -> dict[str, Any]:
        """What knowledge.json says."""
        return {
            "identity": self.identity.as_json(),
            "outputs": "categorical",
            "classes": list(self.part.classes),
            "rows": len(self.part),
            "part": self.part.inputs_hash,
            "teacher": self.teacher_key,
            "view": self.identity.settings["view"],
            "dtype": self.dtype,
            "floor": FLOOR,
        }


def _in_keys(settings: ViewSettings | SyntheticSettings) -> dict[str, Any]:
    if isinstance(settings, SyntheticSettings):
        return {"version": SYNTHETIC_VERSION, **settings.in_effect()}
    return {"version": VIEWS_VERSION, **asdict(settings)}


def shard_name(number: int) -> str:
    """The file of shard `number`: 00000.safetensors and so on."""
    return f"{number:05d}.safetensors"


def rows_in_shard(classes: int, dtype: str, batch_size: int) -> int:
    """How many rows make about 64 MB, in whole batches, so that a batch never depends on a neighbour."""
    per_batch = classes * np.dtype(dtype).itemsize * batch_size
    return max(1, SHARD_BYTES // per_batch) * batch_size


def shard_ranges(rows: int, shard_rows: int) -> list[tuple[int, int]]:
    """The row range of each shard."""
    return [(start, min(start + shard_rows, rows)) for start in range(0, rows, shard_rows)]


def read_shard(folder: Path, number: int, key: str, start: int, stop: int) -> npt.NDArray[Any]:
    """One shard's log-probabilities, shape (stop − start, classes), checked against its digest and its place.

    Raises:
        DamagedFileError: if it is missing, damaged, or another shard's.
    """
    path = folder / shard_name(number)
    try:
        tensors, header = read_tensors(path)
    except FileNotFoundError:
        raise DamagedFileError(path, "it is missing") from None
    place = {"knowledge": key, "shard": number, "start": start, "stop": stop}
    if {name: header.get(name) for name in place} != place or len(tensors["log_probs"]) != stop - start:
        raise DamagedFileError(path, f"it is not shard {number} (rows {start} to {stop}) of {key[:12]}")
    return tensors["log_probs"]


def read_knowledge(
    folder: Path, identity: Identity | None = None, again: str = "run the same `limbeck extract` again"
) -> dict[str, Any]:
    """What the knowledge.json of a complete knowledge artifact says, of either form.

    Args:
        folder: where it lies.
        identity: what it should be, where that is known.
        again: what completes an unfinished one, for the message.

    Raises:
        LimbeckError: if there is none, it is unfinished, its description is damaged or another's.
    """
    if folder.suffix == ".part":
        raise LimbeckError(f"{folder} is unfinished: {again} to complete it")
    if not (folder / DESCRIPTION).is_file():
        if identity is not None or (folder / SUMS).exists():
            raise DamagedFileError(folder / DESCRIPTION, "it is missing")
        raise LimbeckError(f"{folder} holds no knowledge: expected {DESCRIPTION} in it")
    description: dict[str, Any] = json.loads(read_checked(folder, DESCRIPTION))
    if identity is not None and (key := Identity.from_json(description["identity"]).key) != identity.key:
        raise DamagedFileError(folder, f"its content is that of {key}")
    return description


class Knowledge:
    """A teacher's log-probabilities at temperature 1, by row: from a folder, or in memory.

    Attributes:
        classes: the classes' names in the order of the columns.
        rows: number of rows.
        folder: where it lies; None in memory.
        description: what knowledge.json says; in memory, at most the hash of the part's inputs, as `part`.
    """

    def __init__(
        self,
        description: Mapping[str, Any],
        classes: Sequence[str],
        rows: int,
        folder: Path | None,
        values: npt.NDArray[Any] | None,
    ) -> None:
        self.description = dict(description)
        self.classes = tuple(classes)
        self.rows = rows
        self.folder = folder
        self._values = values

    @classmethod
    def in_memory(
        cls, log_probs: npt.NDArray[Any], classes: Sequence[str], inputs_hash: str | None = None
    ) -> Knowledge:
        """Knowledge that was never on disk.

        Args:
            log_probs: shape (rows, classes).
            classes: the classes' names.
            inputs_hash: of the part that was asked about, where it is to be checked later.
        """
        return cls({"part": inputs_hash} if inputs_hash else {}, classes, len(log_probs), None, log_probs)

    @classmethod
    def open(cls, folder: Path | str, identity: Identity | None = None) -> Knowledge:
        """Open a complete knowledge artifact; shards are read and checked when their rows are asked for.

        Args:
            folder: where it lies.
            identity: what it should be, where that is known.

        Raises:
            LimbeckError: if there is none, it is unfinished, its description is damaged or another's.
        """
        folder = Path(folder)
        description = read_knowledge(folder, identity)
        if description.get("form") == SPARSE:
            raise LimbeckError(f"{folder} holds the sparse form of knowledge: open it with SparseKnowledge")
        return cls(description, description["classes"], description["rows"], folder, None)

    @cached_property
    def identity(self) -> Identity:
        """What the knowledge says it is."""
        return Identity.from_json(self.description["identity"])

    def log_probs(self) -> npt.NDArray[Any]:
        """All rows' log-probabilities in the stored dtype, shape (rows, classes); every shard is checked.

        Raises:
            DamagedFileError: naming the first shard that is not whole.
        """
        if self._values is None:
            assert self.folder is not None
            shards = [read_shard(self.folder, n, self.identity.key, *place) for n, place in enumerate(self.ranges())]
            self._values = np.concatenate(shards)
        return self._values

    def ranges(self) -> list[tuple[int, int]]:
        """The row range of each shard, by the plan it was written to."""
        assert self.folder is not None
        plan = json.loads(read_checked(self.folder, PLAN))
        return shard_ranges(self.rows, plan["shard_rows"])

    def damaged_shards(self) -> list[tuple[int, DamagedFileError]]:
        """Number and damage of every shard that is not whole."""
        assert self.folder is not None
        found = []
        for number, (start, stop) in enumerate(self.ranges()):
            try:
                read_shard(self.folder, number, self.identity.key, start, stop)
            except DamagedFileError as damage:
                found.append((number, damage))
        return found


def recorded_digests(path: Path, number: int) -> set[str]:
    """What is known of the digest that shard `number` should have, as far as the file can still be read.

    The digest in its header and the one that its content gives: damage to one leaves the other.
    """
    try:
        header = read_header(path)
    except (OSError, DamagedFileError):
        return set()
    if header.get("shard") != number:
        return set()  # a shard swapped with its neighbour says nothing about this place
    found = {str(header.pop("digest", ""))}
    with contextlib.suppress(Exception):  # whatever safetensors makes of a damaged file
        found.add(content_digest(load(path.read_bytes()), header))
    return found
