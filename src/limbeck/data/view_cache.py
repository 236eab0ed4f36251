"""What is costly about views, kept on disk: pixels, and which rows of a table are neighbours."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from limbeck.data.neighbours import nearest_rows
from limbeck.data.part import Part
from limbeck.data.synthetic import SYNTHETIC_VERSION, SyntheticSettings, synthetic_rows
from limbeck.data.views import VIEWS_VERSION, ViewSettings, view_pixels
from limbeck.errors import LimbeckError

_PIXELS, _NEIGHBOURS = "pixels", "neighbours"


class ViewCache:
    """A folder of view pixels and of neighbours, each file named by what decides its content.

    Safe to delete at any time: making a view costs more than an epoch of a small student on it, and no more than that.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._neighbours: dict[str, np.ndarray] = {}

    def rows(self, part: Part, view: int, seed: int, settings: SyntheticSettings) -> np.ndarray:
        """As `synthetic_rows` of the whole part; the neighbours of its rows are kept, and each view is computed.

        Raises:
            UsageError: as `synthetic_rows`.
        """
        neighbours = self._nearest(part) if view and settings.method == "munge" else None
        return synthetic_rows(part, view=view, seed=seed, settings=settings, neighbours=neighbours)

    def _nearest(self, part: Part) -> np.ndarray:
        if part.inputs_hash not in self._neighbours:
            about = {"kind": "neighbours", "version": SYNTHETIC_VERSION, "inputs": part.inputs_hash}
            found = self._read(_NEIGHBOURS, about, part.ids)
            if found is None or not ((found >= 0) & (found < len(part))).all():
                found = nearest_rows(part)
                self._write(_NEIGHBOURS, about, found)
            self._neighbours[part.inputs_hash] = found
        return self._neighbours[part.inputs_hash]

    def pixels(self, part: Part, view: int, seed: int, settings: ViewSettings) -> np.ndarray:
        """As `view_pixels` of the part's rows, from the folder where they are there already.

        uint8 inputs alone are kept; float32 ones are computed every time. A file that is damaged or
        missing is made again, and a folder that cannot be written to is done without.

        Raises:
            UsageError: as `view_pixels`.
        """
        made = part.inputs.dtype == np.uint8 and view != 0 and not settings.is_plain
        if not made:
            return view_pixels(part.inputs, part.ids, view=view, seed=seed, settings=settings)
        about: dict[str, object] = {
            "kind": "view",
            "version": VIEWS_VERSION,
            "inputs": part.inputs_hash,
            "view": view,
            "seed": seed,
            "settings": asdict(settings),
        }
        kept = self._read(_PIXELS, about, part.inputs)
        if kept is not None:
            return kept
        pixels = view_pixels(part.inputs, part.ids, view=view, seed=seed, settings=settings)
        self._write(_PIXELS, about, pixels)
        return pixels

    def _path(self, about: dict[str, object]) -> Path:
        from limbeck.files import key_of

        return self.folder / f"{key_of(about)}.safetensors"

    def _read(self, name: str, about: dict[str, object], like: np.ndarray) -> np.ndarray | None:
        """The array that is kept about this, if it is there, whole, and of the shape and dtype of `like`."""
        from limbeck.files import read_tensors

        try:
            tensors, header = read_tensors(self._path(about))
        except (OSError, LimbeckError):
            return None
        kept = tensors.get(name)
        if kept is None or {**header, **about} != header:
            return None
        return kept if kept.shape == like.shape and kept.dtype == like.dtype else None

    def _write(self, name: str, about: dict[str, object], kept: np.ndarray) -> None:
        from limbeck.files import write_tensors

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_tensors(self._path(about), {name: kept}, about)
        except (OSError, LimbeckError):
            pass  # a cache that cannot be kept (read-only, a full disk) costs time, not the run
