"""What is known of something public that is fetched: where it comes from, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Public:
    """A public table, texts, or a model's weights.

    Attributes:
        kind: "table", "texts" (JSON lines), "plain" (plain text, without labels) or "weights".
        files: what is kept: each file's path in the cache, and its SHA-256. Of weights, all in one folder.
        origin: where it comes from, for people.
        by_hand: what to get where the client fails, the end of "or get …".
        download: puts what is published into a folder, and says where it lies.
        unpacked: the files to keep, by their paths in the cache, of that.
        label: of a table, the column to learn.
        moves: whether other content than what is pinned may come, since only the newest version is to be had; it is
            kept then, with a word about it.
    """

    kind: Literal["table", "texts", "plain", "weights"]
    files: Mapping[str, str]
    origin: str
    by_hand: str
    download: Callable[[Path], Path]
    unpacked: Callable[[Path], dict[str, bytes]]
    label: str | None = None
    moves: bool = False

    @property
    def kept(self) -> str:
        """The path in the cache: of the file, or of the folder of weights."""
        first = next(iter(self.files))
        return first.partition("/")[0] if self.kind == "weights" else first
