"""The typed form of `[[general]]`: an encoder that is distilled on plain text, without a task."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from limbeck.recipe.errors import found, misfit, shown
from limbeck.recipe.settings import Encoder, Name, Table, Train, rows_or_none

GENERAL = "general."
"""What the name of such a part begins with where an encoder is `from` it."""

_Weight = Annotated[float, Field(ge=0)]
_Share = Annotated[float, Field(ge=0, le=1)]


class GeneralDistill(Table):
    """What it learns from: weights as those of DistilBERT (Sanh et al. 2019), 5 : 2 : 1.

    `soft`: of the teacher's predictions of masked tokens, softened by `temperature`; `hard`: of the tokens that were
    masked; `hidden`: of the cosine between the last hidden states; `relations`: of the last layers' attention relations
    (Wang et al. 2020). The paper's ablations leave one of them out.
    """

    temperature: float = Field(default=2.0, gt=0)
    soft: _Weight = 5.0
    hard: _Weight = 2.0
    hidden: _Weight = 1.0
    relations: _Weight = 0.0

    @model_validator(mode="after")
    def _learns_something(self) -> GeneralDistill:
        if not (self.soft or self.hard or self.hidden or self.relations):
            raise misfit('found "soft", "hard", "hidden" and "relations" all 0, expected one of them above 0')
        return self


class Mask(Table):
    """Which tokens are to be predicted: this share of each row's, drawn anew in every epoch.

    Of these, `masked` are shown as the mask, `replaced` as a random token, and the others as they are. `smoothing`
    prefers rare tokens: one is drawn with a weight of its count to this power, with a minus.
    """

    share: Annotated[float, Field(gt=0, le=1)] = 0.15
    masked: _Share = 0.8
    replaced: _Share = 0.1
    smoothing: Annotated[float, Field(ge=0, le=2)] = 0.7

    @model_validator(mode="after")
    def _at_most_all(self) -> Mask:
        if self.replaced > 1 - self.masked:
            raise misfit(found(self.replaced, f"at most 1 − masked, here {1 - self.masked:.2g}"), "replaced")
        return self


class General(Table):
    """An encoder distilled on the texts of `[data]`, without a task: students and others begin `from` general.NAME.

    `model`: whose layers it takes, and how many. `rows` (a count, or a fraction): of the texts only so many, drawn at
    random; `data.split_seed` decides which, and a larger number has those of a smaller one among them. Texts longer
    than its `max_length` (128) are cut into pieces; with `packed` short ones are joined up to it. `everywhere`: soft
    targets for all tokens, and not for the masked ones alone. `head`: how a masked-LM head is trained on the teacher,
    which stays as it is, where it has none and words are masked: students begin with it, and soft targets ask it.
    """

    name: Name
    model: Encoder = Field(description='a table with kind = "encoder"')
    distill: GeneralDistill = GeneralDistill()
    mask: Mask = Mask()
    rows: Annotated[int | float | None, BeforeValidator(rows_or_none)] = None
    packed: bool = False
    everywhere: bool = False
    head: Train = Train(epochs=1, batch_size=64)
    train: Train = Field(description="a table")

    @model_validator(mode="after")
    def _can_be_made(self) -> General:
        if self.model.from_ is None:
            raise misfit('missing, expected a folder, a name on the hub, or "minilm"', "model", "from")
        if self.model.from_.startswith(GENERAL):
            raise misfit(found(self.model.from_, "an encoder that is there before the run"), "model", "from")
        if self.model.vocabulary != "all":
            raise misfit(
                f"found {shown(self.model.vocabulary)}, expected {shown('all')}: its pieces are the teacher's; trim "
                "what begins from it",
                "model",
                "vocabulary",
            )
        if self.everywhere and not self.distill.soft:
            raise misfit("it is about soft targets, which have no weight: leave it out", "everywhere")
        for key in ("head", "train"):
            train: Train = getattr(self, key)
            for setting in ("refit", "snapshot_every"):
                if getattr(train, setting):
                    raise misfit("no row is held out to choose on: leave it out", key, setting)
        return self
