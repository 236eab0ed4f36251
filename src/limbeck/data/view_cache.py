"""Views kept on disk: making one costs more than an epoch of a small student on it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from limbeck.data.part import Part
from limbeck.data.views import VIEWS_VERSION, ViewSettings, view_pixels
from limbeck.errors import LimbeckError

_TENSOR = "pixels"


class ViewCache:
    """A folder of view pixels, each file named by what decides its content; safe to delete at any time."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

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
        from limbeck.files import key_of, write_tensors

        about = {
            "kind": "view",
            "version": VIEWS_VERSION,
            "inputs": part.inputs_hash,
            "view": view,
            "seed": seed,
            "settings": asdict(settings),
        }
        path = self.folder / f"{key_of(about)}.safetensors"
        kept = _read(path, about, part.inputs)
        if kept is not None:
            return kept
        pixels = view_pixels(part.inputs, part.ids, view=view, seed=seed, settings=settings)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_tensors(path, {_TENSOR: pixels}, about)
        except (OSError, LimbeckError):
            pass  # a cache that cannot be kept (read-only, a full disk) costs time, not the run
        return pixels


def _read(path: Path, about: dict[str, object], inputs: np.ndarray) -> np.ndarray | None:
    from limbeck.files import read_tensors

    try:
        tensors, header = read_tensors(path)
    except (OSError, LimbeckError):
        return None
    pixels = tensors.get(_TENSOR)
    if pixels is None or {**header, **about} != header:
        return None
    if pixels.shape != inputs.shape or pixels.dtype != inputs.dtype:
        return None
    return pixels
