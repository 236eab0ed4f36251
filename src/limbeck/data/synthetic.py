"""Synthetic rows of a table, and synthetic texts: rows like those that are there, for a teacher to label.

As a view of an image is, a synthetic row is a function of (seed, view, row id) and of the part that it was made
from: the same whatever batch, order or process it is made in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from limbeck.data.form import TextForm
from limbeck.data.neighbours import categorical_columns, check_table, nearest_rows
from limbeck.data.part import Part
from limbeck.data.synthetic_texts import reworded
from limbeck.data.views import check_counters, uniform_draws
from limbeck.errors import UsageError

# What rows look like under given settings; raised when that changes, because it enters keys.
SYNTHETIC_VERSION = 1

Method = Literal["munge", "spunge", "words"]
Floats = npt.NDArray[np.float64]

SETTINGS: dict[Method, tuple[str, ...]] = {
    "munge": ("swap", "spread"),
    "spunge": ("swap", "noise"),
    "words": ("replace", "drop", "span"),
}
"""The settings that each method has, in the order in which they are shown."""

_CHUNK_VALUES = 1 << 21  # values of rows made together
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class SyntheticSettings:
    """How rows are made, and how far they stray.

    Attributes:
        method: "munge" mixes a row with its nearest neighbour, "spunge" its columns with those of any rows; "words"
            alters texts.
        swap: the probability with which each value is altered, above 0, up to 1.
        spread: of MUNGE, the paper's local variance parameter s, above 0: the larger, the closer numbers stay to the
            neighbour's.
        noise: of SPUNGE, the deviation of what is added to numbers, as a share of the column's, 0 or more.
        replace: of texts, the probability with which a word is replaced, from 0 to 1.
        drop: of texts, the probability with which a word is left out, from 0 to below 1.
        span: of texts, that with which only a run of words is kept, from 0 to 1.

    Raises:
        UsageError: a method that there is not, or a value out of its range.
    """

    method: Method
    swap: float = 0.5
    spread: float = 1.0
    noise: float = 0.1
    replace: float = 0.1
    drop: float = 0.1
    span: float = 0.5

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise UsageError(f'the method of synthetic rows is {self.method!r}, expected "munge", "spunge" or "words"')
        for name, least, most, expected in (
            ("swap", math.ulp(0), 1, "above 0, up to 1"),
            ("spread", math.ulp(0), _LARGEST, "above 0"),
            ("noise", 0, _LARGEST, "of 0 or more"),
            ("replace", 0, 1, "from 0 to 1"),
            ("drop", 0, math.nextafter(1, 0), "from 0 to below 1"),
            ("span", 0, 1, "from 0 to 1"),
        ):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not least <= value <= most:
                raise UsageError(f"{name} = {value!r} is not a number {expected}: change it")
            # 1 and 1.0 are the same setting, and must be the same in a key.
            object.__setattr__(self, name, float(value))

    def in_effect(self) -> dict[str, Any]:
        """The method and its own settings, as they enter keys."""
        return {"rows": self.method, **{name: getattr(self, name) for name in SETTINGS[self.method]}}


def synthetic_rows(
    part: Part,
    *,
    view: int,
    seed: int,
    settings: SyntheticSettings,
    rows: npt.NDArray[np.int64] | None = None,
    neighbours: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[Any]:
    """A synthetic row for each row of a table, or a synthetic text for each text.

    "munge" (Buciluă, Caruana and Niculescu-Mizil 2006, Model compression, algorithm 1): each value is altered with
    probability `swap`. A number is drawn from the normal distribution around the neighbour's with standard deviation
    |own − neighbour's| / spread; a category is taken over from the neighbour, and so is what is missing in either.
    The paper alters both rows of a pair, one pair after another in a copy of the data; here each row's own side is
    drawn by itself, from the rows as they are, so that no row depends on an order.

    "spunge", column-wise resampling with noise: each value is, with probability `swap`, that of a row drawn at random
    for this column alone; and a number gains, with probability `swap`, normal noise with a standard deviation of
    `noise` times the column's. Columns keep their distributions, but for the noise, and lose what binds them.

    "words" is for texts alone: `reworded`.

    Args:
        part: the rows, shape (n, columns). Without a form all columns are numbers.
        view: 0 is the row itself.
        seed: 0 to 2⁶⁴ − 1.
        settings: the method, and how far rows stray.
        rows: places of rows in the part, shape (m,); all by default.
        neighbours: what `nearest_rows` gave, where it is at hand.

    Returns:
        Shape (m, columns), of the inputs' dtype; uint8 is rounded to the nearest. The same row gives the same bytes
        in any batch.

    Raises:
        UsageError: inputs that are neither a table nor texts, or the other one of the two; a view or seed out of range.
    """
    _check_inputs(part, settings.method)
    check_counters(view, seed)
    chosen = np.arange(len(part)) if rows is None else rows
    if view == 0 or not len(chosen):
        return part.inputs[chosen]
    if settings.method == "words":
        chances = {"replace": settings.replace, "drop": settings.drop, "span": settings.span}
        return reworded(part, chosen, view=view, seed=seed, **chances)
    numeric = ~categorical_columns(part)
    if settings.method == "munge" and neighbours is None:
        neighbours = nearest_rows(part)
    deviations = _deviations(part.inputs) * settings.noise if settings.method == "spunge" else None
    made = np.empty((len(chosen), part.inputs.shape[1]), part.inputs.dtype)
    step = max(1, _CHUNK_VALUES // part.inputs.shape[1])
    for start in range(0, len(chosen), step):
        some = chosen[start : start + step]
        if deviations is None:
            assert neighbours is not None
            values = _munged(part, some, neighbours[some], numeric, view, seed, settings)
        else:
            values = _resampled(part, some, deviations, numeric, view, seed, settings)
        if made.dtype == np.uint8:
            values = np.rint(values).clip(0, 255)
        made[start : start + step] = values.clip(-_LARGEST, _LARGEST)
    return made


def _munged(
    part: Part,
    rows: npt.NDArray[np.int64],
    nearest: npt.NDArray[np.int64],
    numeric: npt.NDArray[np.bool_],
    view: int,
    seed: int,
    settings: SyntheticSettings,
) -> Floats:
    chance, place = _draws(part, rows, view, seed, 2)
    own, other = part.inputs[rows].astype(np.float64), part.inputs[nearest].astype(np.float64)
    drawn = other + _normal(place) * (np.abs(own - other) / settings.spread)
    drawn = np.where(numeric & ~np.isnan(drawn), drawn, other)
    return np.where(chance < settings.swap, drawn, own)


def _resampled(
    part: Part,
    rows: npt.NDArray[np.int64],
    deviations: Floats,
    numeric: npt.NDArray[np.bool_],
    view: int,
    seed: int,
    settings: SyntheticSettings,
) -> Floats:
    swapped, donor, noisy, place = _draws(part, rows, view, seed, 4)
    donors = np.minimum((donor * len(part)).astype(np.int64), len(part) - 1)
    values = np.where(swapped < settings.swap, np.take_along_axis(part.inputs, donors, axis=0), part.inputs[rows])
    noise = np.where(numeric & (noisy < settings.swap), _normal(place) * deviations, 0.0)
    return values.astype(np.float64) + noise


def _draws(part: Part, rows: npt.NDArray[np.int64], view: int, seed: int, each: int) -> Floats:
    """Uniform numbers in [0, 1) for each value of the rows, shape (each, rows, columns)."""
    columns = part.inputs.shape[1]
    drawn = (uniform_draws(part.ids[rows], view, seed, -(-each * columns // 4) * 4) + 1) / 2
    return drawn[:, : each * columns].reshape(len(rows), each, columns).transpose(1, 0, 2)


def _normal(uniform: Floats) -> Floats:
    """Standard normal numbers from uniform ones in [0, 1)."""
    from scipy.special import ndtri

    return np.asarray(ndtri(np.maximum(uniform, 2.0**-54)))


def _deviations(inputs: npt.NDArray[Any]) -> Floats:
    """Each column's standard deviation over what is not missing, shape (columns,)."""
    known = ~np.isnan(inputs)
    count = np.maximum(known.sum(axis=0), 1)
    values = np.where(known, inputs, 0).astype(np.float64)
    away = np.where(known, values - values.sum(axis=0) / count, 0)
    return np.asarray(np.sqrt((away**2).sum(axis=0) / count))


def _check_inputs(part: Part, method: Method) -> None:
    texts = isinstance(part.form, TextForm)
    if texts != (method == "words"):
        found, expected = ("texts", '"words"') if texts else ("no texts", '"munge" or "spunge"')
        raise UsageError(f'synthetic rows by "{method}" of part "{part.name}": found {found}, expected {expected}')
    if not texts:
        check_table(part)
