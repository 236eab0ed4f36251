"""What raw inputs mean: columns of a table, how images were read, or texts. It goes with a part and a saved model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from limbeck.errors import LimbeckError

UNKNOWN = -1
"""The code of a category that the column does not have."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: as in the file.
        categories: the texts that it holds, in the order of their codes; None for a column of numbers.
        missing: whether values are missing in it.
    """

    name: str
    categories: tuple[str, ...] | None = None
    missing: bool = False

    def text(self, value: float) -> str | None:
        """A raw value as a file has it: a number, a category's text; None where it is missing or not known."""
        if np.isnan(value):
            return None
        if self.categories is None:
            return f"{value:.9g}"
        return self.categories[int(value)] if 0 <= value < len(self.categories) else None


@dataclass(frozen=True)
class TableForm:
    """Rows of a table as float32 of shape (n, columns).

    A number stands for itself, a category for its place in the column's `categories` (`UNKNOWN` for one that is not
    among them), and NaN for a value that is missing.
    """

    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.name for column in self.columns)

    @property
    def categorical(self) -> npt.NDArray[np.bool_]:
        """Which columns hold categories, shape (columns,)."""
        return np.array([column.categories is not None for column in self.columns], dtype=bool)

    def as_json(self) -> dict[str, Any]:
        """For model.json."""
        return {"columns": [asdict(column) for column in self.columns]}


@dataclass(frozen=True)
class ImageForm:
    """Images as uint8 of shape (n, height, width) where they are grey, (n, height, width, 3) where in colour.

    Attributes:
        mode: "grey" or "colour".
        height: pixels.
        width: pixels.
        resized: whether images of other sizes are brought to this one.
    """

    mode: Literal["grey", "colour"]
    height: int
    width: int
    resized: bool = False

    def as_json(self) -> dict[str, Any]:
        """For model.json."""
        return {"image": asdict(self)}


@dataclass(frozen=True)
class TextForm:
    """Texts as uint8 of shape (n, width): UTF-8, each filled up with zero bytes, as `limbeck.data.texts` packs them.

    The width is that of the longest text, and means nothing: rows of other widths are of the same form.

    Attributes:
        columns: what the texts are called in a file with columns: one, or two for pairs of texts.
    """

    columns: tuple[str, ...] = ("text",)

    def as_json(self) -> dict[str, Any]:
        """For model.json."""
        return {"text": list(self.columns)}


Form = TableForm | ImageForm | TextForm


def form_from_json(found: Mapping[str, Any] | None) -> Form | None:
    """What `as_json` gave, checked.

    Raises:
        LimbeckError: it is no form.
    """
    if found is None:
        return None
    try:
        if "image" in found:
            form = ImageForm(**found["image"])
            if form.mode not in ("grey", "colour") or min(form.height, form.width) < 1:
                raise ValueError(f"an image of mode {form.mode!r}, {form.height}×{form.width}")
            return form
        if "text" in found:
            if not 1 <= len(found["text"]) <= 2:
                raise ValueError(f"{len(found['text'])} columns of text")
            return TextForm(tuple(map(str, found["text"])))
        columns = []
        for column in found["columns"]:
            categories = column["categories"]
            columns.append(
                Column(
                    str(column["name"]),
                    None if categories is None else tuple(map(str, categories)),
                    bool(column["missing"]),
                )
            )
        return TableForm(tuple(columns))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise LimbeckError(f"the form of the inputs cannot be read ({' '.join(str(error).split())[:120]})") from None
