"""From a table's raw columns to numbers: what is missing filled in, categories as zeros and ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limbeck.data import Column, Form, TableForm
from limbeck.devices import CPU, device_of
from limbeck.models.preprocessing import Standardize

_CHUNK = 1 << 16  # rows encoded together, so that learning from many rows needs little memory


class TableEncoding(nn.Module):
    """Raw rows of a table, as `limbeck.data.TableForm` has them, to features without NaN.

    A number stays, its median over the training rows where it is missing; a category becomes a feature for each of
    the column's categories, 1 for the one that it is; and a column in which values are missing has a feature more,
    1 where that is so. A category that no training row has is 0 in all of them, as one is that the column does not
    know. Until `fit`, medians are 0 and all categories known.

    What is learnt is scikit-learn's `SimpleImputer(strategy="median")` and `OneHotEncoder(handle_unknown="ignore")`,
    as buffers.

    Args:
        columns: of the table.
    """

    source: Tensor
    code: Tensor
    fill: Tensor
    known: Tensor
    is_number: Tensor
    is_gap: Tensor

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self.columns = tuple(columns)
        source, code, names, number, gap = [], [], [], [], []
        for place, column in enumerate(self.columns):
            texts = [None] if column.categories is None else list(column.categories)
            for value, text in enumerate(texts):
                source.append(place)
                code.append(float(value))
                names.append(column.name if text is None else f"{column.name}={text}")
                number.append(column.categories is None)
                gap.append(False)
            if column.missing:
                source.append(place)
                code.append(0.0)
                names.append(f"{column.name} is missing")
                number.append(False)
                gap.append(True)
        self.features = tuple(names)
        # What follows from the columns is not saved; what is learnt from rows is.
        self.register_buffer("source", torch.tensor(source), persistent=False)
        self.register_buffer("code", torch.tensor(code), persistent=False)
        self.register_buffer("is_number", torch.tensor(number), persistent=False)
        self.register_buffer("is_gap", torch.tensor(gap), persistent=False)
        self.register_buffer("fill", torch.zeros(len(source)))
        self.register_buffer("known", torch.ones(len(source)))

    @property
    def width(self) -> int:
        """How many features there are."""
        return len(self.features)

    def fit(self, inputs: npt.NDArray[np.float32]) -> TableEncoding:
        """Learn medians and which categories there are from raw training rows of shape (n, columns)."""
        from sklearn.impute import SimpleImputer  # takes a moment to import

        fill, known = torch.zeros(self.width), torch.ones(self.width)
        for place, column in enumerate(self.columns):
            own = self.source == place
            values = np.asarray(inputs[:, place])
            if column.categories is None:
                imputer = SimpleImputer(strategy="median", keep_empty_features=True).fit(values[:, np.newaxis])
                fill[own & self.is_number] = float(imputer.statistics_[0])
            else:
                found = torch.from_numpy(np.unique(values[~np.isnan(values)]))
                known[own & ~self.is_gap] = torch.isin(self.code[own & ~self.is_gap], found).float()
        self.fill.copy_(fill)
        self.known.copy_(known)
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """Raw (batch, columns) to features (batch, features), float32."""
        values = inputs.float().index_select(1, self.source)
        gap = values.isnan()
        numbers = torch.where(gap, self.fill, values)
        categories = (values == self.code).float() * self.known
        return torch.where(self.is_number, numbers, torch.where(self.is_gap, gap.float(), categories))


def encoding_for(form: Form | None) -> nn.Module:
    """What comes before a model's standardisation: nothing where the inputs are no table."""
    return TableEncoding(form.columns) if isinstance(form, TableForm) else nn.Identity()


def encoded_shape(encoding: nn.Module, input_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of one input behind an encoding."""
    return (encoding.width,) if isinstance(encoding, TableEncoding) else tuple(input_shape)


def encoded(model: nn.Module, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Raw inputs (n, …) as a model sees them before it standardises: a table's features, anything else as it is."""
    encoding = getattr(model, "encoding", None)
    if not isinstance(encoding, TableEncoding):
        return inputs
    found = np.empty((len(inputs), encoding.width), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(inputs), _CHUNK):
            some = np.ascontiguousarray(inputs[start : start + _CHUNK])
            found[start : start + len(some)] = encoding(torch.from_numpy(some)).numpy()
    return found


def learn_preprocessing(model: nn.Module, inputs: npt.NDArray[Any]) -> None:
    """Let a model of a known kind learn its encoding and standardisation from raw training inputs (n, …).

    Features of zeros and ones stay as they are: of a rare category, dividing by the deviation would make a weight of
    its own.
    """
    encoding, preprocessing = getattr(model, "encoding", None), getattr(model, "preprocessing", None)
    there = device_of(model)
    if there.type == "cuda":  # what is learnt is learnt by scikit-learn and numpy
        model.to(CPU)
    if isinstance(encoding, TableEncoding):
        encoding.fit(inputs)
    if isinstance(preprocessing, Standardize):
        preprocessing.fit(encoded(model, inputs))
        if isinstance(encoding, TableEncoding):
            preprocessing.leave(~encoding.is_number)
    model.to(there)


def is_prepared(model: nn.Module) -> bool:
    """Whether a model has learnt its preprocessing, or has none to learn."""
    preprocessing = getattr(model, "preprocessing", None)
    return not isinstance(preprocessing, Standardize) or preprocessing.is_fitted


def feature_count(encoding: nn.Module, input_shape: Sequence[int]) -> int:
    """How many numbers an input is behind an encoding."""
    return math.prod(encoded_shape(encoding, input_shape))
