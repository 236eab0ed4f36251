"""The tables inside a recipe's parts, and everything's default: model, train, views, select, distill."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from limbeck.recipe_errors import found, misfit

LARGEST = 2**31 - 1
"""Whole numbers above this are slips, and would overflow further on."""

Count = Annotated[int, Field(ge=1, le=LARGEST)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


def _class(value: object) -> object:
    number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST
    if number or isinstance(value, str):
        return value
    raise ValueError(found(value, "a class by number or by name"))


class Table(BaseModel):
    """Strict: an unknown key, or a string where a number belongs, is an error and never a guess."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Mlp(Table):
    """A fully connected network: the widths of its hidden layers, and the dropout behind each."""

    kind: Literal["mlp"] = "mlp"
    widths: list[Count] = Field(min_length=1, description="the widths of the hidden layers, such as [128, 128]")
    dropout: Dropout = 0.0


class Convnet(Table):
    """A small convolutional network: channels of its three stages, width of its hidden layer, dropout."""

    kind: Literal["convnet"] = "convnet"
    widths: list[Count] = Field(default=[32, 64, 128], min_length=3, max_length=3)
    hidden: Count = 192
    dropout: Dropout = 0.25


Model = Annotated[Mlp | Convnet, Field(discriminator="kind")]


class Train(Table):
    """How a network is trained; a baseline takes its student's.

    `warmup` is a fraction of all steps. `momentum` is SGD's; AdamW does not use it. `keep`: the epoch
    best on the validation rows, or the last. `refit`: choose on the validation rows, then train
    anew on all training rows.
    """

    epochs: Count = Field(description="a count of epochs")
    batch_size: Count = 128
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    schedule: Literal["cosine", "constant"] = "cosine"
    keep: Literal["best", "last"] = "best"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    refit: bool = False


class ViewSpec(Table):
    """How far a random view of an image may stray: degrees, fractions, and pixels, to either side."""

    rotate: float = Field(default=0.0, ge=0, le=180)
    scale: float = Field(default=0.0, ge=0, lt=1)
    shear: float = Field(default=0.0, ge=0)
    shift: float = Field(default=0.0, ge=0)


class TransferViews(ViewSpec):
    """`count` random views of every row that the teacher labels, beside the row itself."""

    count: int = Field(default=0, ge=0, le=LARGEST)

    @model_validator(mode="after")
    def _views_differ(self) -> TransferViews:
        if self.count and not (self.rotate or self.scale or self.shear or self.shift):
            raise misfit(
                f"found {self.count} views with rotate, scale, shear and shift all 0, "
                "expected one of them above 0: the views would be copies"
            )
        return self


class Select(Table):
    """Rows of the transfer set by class, named or numbered: all `without` these, or these `only`."""

    without: list[Annotated[int | str, BeforeValidator(_class)]] = []
    only: list[Annotated[int | str, BeforeValidator(_class)]] = []

    @model_validator(mode="after")
    def _one_way(self) -> Select:
        if bool(self.without) == bool(self.only):
            state = "both" if self.only else "neither"
            raise misfit(f'found {state} of "without" and "only", expected one of them with a class')
        return self


class Distill(Table):
    """What a student learns from: `soft` times the loss on the teacher, plus `hard` times that on labels.

    `temperature` softens the targets of `soft_targets`; the default, 4, suits students small and
    middling (Hinton et al. 2015, sec. 3). `logit_matching` is its limit at high temperature, and has
    none. `label_smoothing` applies to labels, the baseline's too.
    """

    loss: Literal["soft_targets", "logit_matching"] = "soft_targets"
    temperature: float = Field(default=4.0, gt=0)
    soft: float = Field(default=1.0, ge=0)
    hard: float = Field(default=0.0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _learns_something(self) -> Distill:
        if not self.soft and not self.hard:
            raise misfit('found "soft" and "hard" both 0, expected one of them above 0')
        return self
