"""The tables inside a recipe's parts, and everything's default: model, train, views, select, transfer, distill."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from limbeck.recipe.errors import NAME_PATTERN, found, misfit

LARGEST = 2**31 - 1
"""Whole numbers above this are slips, and would overflow further on."""

Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=100, description="a name")]
Count = Annotated[int, Field(ge=1, le=LARGEST)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


FILE = "file:"
"""What begins the name of rows that are read from a file of their own."""


def rows_or_fraction(value: object) -> object:
    """Rows by count or by fraction; for pydantic to call."""
    if _is_whole(value, 1) or (isinstance(value, float) and 0 < value < 1):
        return value
    raise ValueError(found(value, "rows (1 or more) or a fraction of them (between 0 and 1)"))


def rows_or_none(value: object) -> object:
    """The same, or all; for pydantic to call."""
    return None if value is None else rows_or_fraction(value)


def fraction_or_file(value: object) -> object:
    """A fraction of the rows, or a file of others; for pydantic to call."""
    if value is None or (isinstance(value, float) and 0 < value < 1):
        return value
    if isinstance(value, str) and value.startswith(FILE) and value != FILE:
        return value
    raise ValueError(found(value, 'a fraction (between 0 and 1), or a file of test rows ("file:PATH")'))


def layers_or_count(value: object) -> object:
    """Layers of an encoder by count or by number; for pydantic to call."""
    if value is None or _is_whole(value, 1):
        return value
    if isinstance(value, list) and value and all(_is_whole(one, 0) for one in value) and sorted({*value}) == value:
        return value
    raise ValueError(
        found(value, "how many layers (1 or more), or numbers of layers from 0 in rising order: [0, 2, 4]")
    )


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= LARGEST


class Table(BaseModel):
    """Strict: an unknown key, or a string where a number belongs, is an error and never a guess."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Mlp(Table):
    """A fully connected network.

    The widths of its hidden layers, the dropout behind each and on the inputs, and the largest norm of the weights
    that come into a hidden unit.
    """

    kind: Literal["mlp"] = "mlp"
    widths: list[Count] = Field(min_length=1, description="the widths of the hidden layers, such as [128, 128]")
    dropout: Dropout = 0.0
    input_dropout: Dropout = 0.0
    max_norm: float | None = Field(default=None, gt=0)


class Convnet(Table):
    """A small convolutional network: channels of its three stages, width of its hidden layer, dropout."""

    kind: Literal["convnet"] = "convnet"
    widths: list[Count] = Field(default=[32, 64, 128], min_length=3, max_length=3)
    hidden: Count = 192
    dropout: Dropout = 0.25


class SoftTree(Table):
    """A soft decision tree (Frosst and Hinton 2017): a student to be read, with 2^depth leaves.

    `predict`: it answers by the leaf of the most probable path, by the greedy path that takes the likelier turn at
    every question, or by the average of all leaves. `loss`: while it learns, each leaf has its own, weighted by the
    probability of reaching it (the paper's), or their mixture has one. `inverse_temperature` makes turns harder, fixed,
    learnt, or annealed to a final one. `sharpness`, fixed or annealed: the power to which path probabilities are raised
    while it learns. `penalty`: the paper's, which keeps both sides of a question in use.
    """

    kind: Literal["soft-tree"] = "soft-tree"
    depth: Annotated[int, Field(ge=1, le=24)] = 8
    predict: Literal["path", "greedy", "average"] = "path"
    loss: Literal["leaves", "mixture"] = "mixture"
    inverse_temperature: Positive = 1.0
    final_inverse_temperature: Positive | None = None
    learn_inverse_temperature: bool = False
    sharpness: Positive = 1.0
    final_sharpness: Positive | None = None
    penalty: float = Field(default=0.1, ge=0)

    @model_validator(mode="after")
    def _one_way_to_change(self) -> SoftTree:
        if self.learn_inverse_temperature and self.final_inverse_temperature is not None:
            raise misfit("not with a learnt inverse temperature, which is not annealed", "final_inverse_temperature")
        return self


class SklearnTree(Table):
    """One of scikit-learn's decision trees, fitted at once, for comparison with trees that learn.

    On labels it is a classifier, split by `criterion`; on soft targets a regression tree with an output for each
    class. It has at most so many levels and leaves, each leaf with at least so many rows.
    """

    kind: Literal["sklearn-tree"] = "sklearn-tree"
    max_depth: Count | None = None
    max_leaf_nodes: Annotated[int, Field(ge=2, le=LARGEST)] | None = None
    min_samples_leaf: Count = 1
    criterion: Literal["gini", "entropy"] = "gini"


class BoostedTrees(Table):
    """scikit-learn's histogram gradient boosting, fitted at once: a regressor for each class, so for few classes.

    On labels it is a classifier. So many `iterations`, each a tree for each class, of at most so many leaves and
    levels; `learning_rate` shrinks each tree, and `l2` is a penalty on the values of leaves.
    """

    kind: Literal["boosted-trees"] = "boosted-trees"
    iterations: Count = 100
    learning_rate: float = Field(default=0.1, gt=0, le=1)
    leaves: Annotated[int, Field(ge=2, le=LARGEST)] = 31
    min_samples_leaf: Count = 20
    max_depth: Count | None = None
    l2: float = Field(default=0.0, ge=0)


class Encoder(Table):
    """A transformer encoder that classifies texts; needs the extra `transformers`.

    `from`: the folder of a Hugging Face model, the name of one on the hub, or "minilm"; a student without it takes its
    teacher's. `layers`: how many of its layers, evenly spaced, or which, by number from 0; of a student by default
    every other one, else all. `initial`: their weights are taken, or drawn at `random`. `architecture`: the same, or
    `distilbert`, which has no token types and no pooler (Sanh et al. 2019). `vocabulary`: all pieces of text, or those
    that the texts of the `transfer` set use, beside the ones that spell everything else. Texts are cut to `max_length`
    tokens. `dropout`: of hidden states and attention.
    """

    kind: Literal["encoder"] = "encoder"
    from_: str | None = Field(default=None, alias="from", min_length=1)
    layers: Annotated[int | list[int] | None, BeforeValidator(layers_or_count)] = None
    initial: Literal["layers", "random"] = "layers"
    architecture: Literal["same", "distilbert"] = "same"
    vocabulary: Literal["all", "transfer"] = "all"
    max_length: Annotated[int, Field(ge=4, le=LARGEST)] | None = None
    dropout: Dropout | None = None


Model = Annotated[Mlp | Convnet | SoftTree | SklearnTree | BoostedTrees | Encoder, Field(discriminator="kind")]
FITTED_AT_ONCE = frozenset({"sklearn-tree", "boosted-trees"})
"""Kinds of model that are not trained by epochs."""


class Train(Table):
    """How a network is trained; a baseline takes its student's.

    `warmup` is a fraction of all steps. `momentum` is SGD's; AdamW does not use it. `keep`: the epoch
    best on the validation rows, or the last. `refit`: choose on the validation rows, then train
    anew on all training rows. `snapshot_every` so many epochs, and after the last, the weights are kept, so that the
    results can say how the test errors went over the epochs. With `passes`, an epoch goes so many times over the rows:
    for few rows, of which a single pass is hardly worth being judged on the validation rows. `accumulate`: so many
    batches make one step of the optimiser.
    """

    epochs: Count = Field(description="a count of epochs")
    passes: Count | None = None
    accumulate: Count | None = None
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
    snapshot_every: Count | None = None


def annealing_problem(model: Model, train: Train) -> str | None:
    """A phrase about an epoch that would be kept before a tree is what it was annealed to; None where all is well."""
    if not isinstance(model, SoftTree) or train.keep == "last":
        return None
    annealed = [name for name in ("final_inverse_temperature", "final_sharpness") if getattr(model, name) is not None]
    return f'found "best", expected "last" with {annealed[0]}: earlier epochs have other values' if annealed else None


class ViewSpec(Table):
    """How far a random view of an image may stray: degrees, fractions, and pixels, to either side.

    `jitter` is in whole pixels, `shift` in any.
    """

    rotate: float = Field(default=0.0, ge=0, le=180)
    scale: float = Field(default=0.0, ge=0, lt=1)
    shear: float = Field(default=0.0, ge=0)
    shift: float = Field(default=0.0, ge=0)
    jitter: int = Field(default=0, ge=0, le=LARGEST)


class Distill(Table):
    """What a student learns from: `soft` times the loss on the teacher, plus `hard` times that on labels.

    `temperature` softens the targets of `soft_targets`; the default, 4, suits students small and
    middling (Hinton et al. 2015, sec. 3). `logit_matching` is its limit at high temperature, and has
    none. `label_smoothing` applies to labels, the baseline's too.

    `targets` other than the teacher's own show what it is in them that teaches: `permuted` has the probabilities of
    all classes but the teacher's own shuffled within each row; `smoothed_labels` has the label at the teacher's mean
    confidence and all other classes alike. `members`: of a teacher that is several, only the first so many.

    Of encoders, `hidden` is the weight of the cosine between the last hidden states (Sanh et al. 2019), `relations`
    that of the last layers' attention relations (Wang et al. 2020): the teacher is then asked in every step.
    """

    loss: Literal["soft_targets", "logit_matching"] = "soft_targets"
    targets: Literal["teacher", "permuted", "smoothed_labels"] = "teacher"
    temperature: float = Field(default=4.0, gt=0)
    soft: float = Field(default=1.0, ge=0)
    hard: float = Field(default=0.0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    members: Count | None = None
    hidden: Positive | None = None
    relations: Positive | None = None

    @model_validator(mode="after")
    def _learns_something(self) -> Distill:
        if not self.soft and not self.hard and not self.hidden and not self.relations:
            raise misfit('found "soft" and "hard" both 0, expected one of them above 0')
        if self.targets == "smoothed_labels" and self.loss != "soft_targets":
            raise misfit(
                f'found "smoothed_labels" with the loss "{self.loss}", which has no temperature to smooth for: '
                'expected "soft_targets"',
                "targets",
            )
        return self
