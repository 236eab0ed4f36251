"""How a user's own files are to be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Reading:
    """What is asked for in a recipe's `[data]` beside the source; None and empty: as the files themselves suggest.

    Attributes:
        label: of a table or of texts, the column of class names; None: rows without labels.
        id: of a table or of texts, the column of row ids: whole numbers, each once.
        text: the column of texts, or the two columns of pairs of texts; of JSON lines "text" where none is named. A
            table is read as texts where it names some.
        ignore: of a table, columns to leave out.
        numeric: of a table, columns to read as numbers.
        categorical: of a table, columns to read as categories.
        size: of images, (height, width) in pixels that all are brought to.
        mode: of images, to read them as grey or in colour.
        skip_damaged: of images, whether damaged ones are left out, and named, in place of an error.
    """

    label: str | None = None
    id: str | None = None
    text: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    mode: Literal["grey", "colour"] | None = None
    skip_damaged: bool = False
