"""A recipe's `[[general]]` parts as stages: encoders distilled on plain text, and heads that their teachers lack."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.artifacts import Identity
from limbeck.batches import held_out_order
from limbeck.data import Part, TextForm
from limbeck.errors import LimbeckError, UsageError
from limbeck.models.encoder import positions_of
from limbeck.models.saving import MASKED
from limbeck.objectives import Objective
from limbeck.plan.model_stage import ModelStage, Rows, Start
from limbeck.plan.starting import check_start, folder_start, resolved
from limbeck.recipe import Recipe
from limbeck.recipe.general import General

GENERAL_VERSION = 7
ROLE = "general"
MAX_LENGTH = 128
"""Tokens in a row, where the recipe does not say."""


@dataclass(frozen=True)
class GeneralTraining:
    """How an encoder is distilled without a task, or a head is trained on one.

    Attributes:
        folder: of the encoder that it begins from: its teacher.
        part: of the recipe.
        held_out: texts to say how well it came out on; none of them is trained on.
        max_length: tokens in a row.
        head: the stage that gives the teacher its masked-LM head; None where it has one, or none is needed.
        of_head: whether it is that stage.
    """

    folder: Path
    part: General
    held_out: Part
    max_length: int
    head: ModelStage | None = None
    of_head: bool = False

    @property
    def needs(self) -> tuple[ModelStage, ...]:
        """What has to be there first."""
        return () if self.head is None else (self.head,)


@dataclass
class GeneralPlanner:
    """Turns a recipe's general parts into stages, which are the same for all tasks.

    Args:
        recipe: checked.
        texts: to distil on.
        held_out: texts to measure on; may be none.
        seed: of everything but the split.
        beside: the recipe's folder, where an encoder's is looked for first.
        say: told, in a line, what is being fetched.
    """

    recipe: Recipe
    texts: Part
    held_out: Part
    seed: int
    beside: Path | None = None
    say: Callable[[str], None] | None = None
    _stages: dict[str, ModelStage] = field(default_factory=dict)

    def stages(self) -> list[ModelStage]:
        """All of them, in the recipe's order."""
        return [self.stage(part.name) for part in self.recipe.general or ()]

    def stage(self, name: str) -> ModelStage:
        """One by name.

        Raises:
            LimbeckError: there is no such encoder, or it cannot be cut as is asked for.
            UsageError: the data are no texts, or rows would be longer than the encoder has positions for.
        """
        if name not in self._stages:
            (part,) = (part for part in self.recipe.general or () if part.name == name)
            self._stages[name] = self._planned(part)
        return self._stages[name]

    def start(self, name: str) -> Start:
        """What an encoder begins with that is `from` it."""
        stage = self.stage(name)
        assert stage.model is not None
        return Start(stage.identity.key, len(stage.model["layers"]), stage=stage)

    def _planned(self, part: General) -> ModelStage:
        where = f"{ROLE}.{part.name}.model"
        if not isinstance(self.texts.form, TextForm):
            raise UsageError(
                f"{ROLE}.{part.name}: it is distilled on texts, and the data are none: name their column with "
                "data.text, or give a file of texts as data.source"
            )
        assert part.model.from_ is not None
        texts = self._some(part)
        try:
            start = folder_start(part.model.from_, self.beside, self.say)
        except LimbeckError as error:
            raise type(error)(f"{where}.from: {error}") from None
        assert start.folder is not None
        max_length = _max_length(part, start.folder, where)
        training = GeneralTraining(start.folder, part, self.held_out, max_length)
        objective = Objective(**part.distill.model_dump())
        # A student that predicts masked words begins with a head, too, whether or not its teacher is asked about them.
        begins = objective.uses_labels and part.model.initial == "layers"
        if (objective.uses_teacher or begins) and _is_headless(start.folder):
            training = replace(training, head=self._head(part, texts, start, training))
        settings = resolved(part.model, start, where, smaller=True)
        model = {key: settings[key] for key in ("layers", "architecture", "initial", "dropout")}
        stage = self._stage(part, texts, start, training, model, objective)
        check_start(stage)
        return stage

    def _some(self, part: General) -> Part:
        """The texts that a part is distilled on."""
        if part.rows is None:
            return self.texts
        there = len(self.texts)
        count = math.ceil(part.rows * there) if isinstance(part.rows, float) else part.rows
        if count > there:
            raise UsageError(f"{ROLE}.{part.name}.rows: found {count}, but there are {there} texts: ask for fewer")
        return self.texts.take(np.sort(held_out_order(self.recipe.data.split_seed, there)[:count]))

    def _head(self, part: General, texts: Part, start: Start, training: GeneralTraining) -> ModelStage:
        model = {"layers": list(range(start.layers))}
        training = replace(training, of_head=True)
        return self._stage(part, texts, start, training, model, Objective(loss="hard_labels"))

    def _stage(
        self,
        part: General,
        texts: Part,
        start: Start,
        training: GeneralTraining,
        model: dict[str, Any],
        objective: Objective,
    ) -> ModelStage:
        rows = Rows(texts, texts.take(np.arange(0)))
        model = {"kind": MASKED, **model, "max_length": training.max_length}
        stage = ModelStage(
            ROLE, part.name, Identity("", 0, {}, {}), rows, model, part.head if training.of_head else part.train,
            objective, seed=self.seed, variant={"masked-LM": "head"} if training.of_head else {}, start=start,
            general=training,
        )  # fmt: skip
        settings: dict[str, Any] = {
            "model": model, "train": stage.settings.in_effect(), "objective": objective.in_effect(),
            "mask": part.mask.model_dump(), "packed": part.packed,
        }  # fmt: skip
        inputs = {"start": start.key, "texts": texts.inputs_hash}
        if not training.of_head:
            settings["everywhere"] = part.everywhere
        if training.head is not None:
            inputs["head"] = training.head.identity.key
        # What is measured on other texts is another artifact, for it says so.
        inputs["held_out"] = training.held_out.inputs_hash
        return replace(stage, identity=Identity(ROLE, GENERAL_VERSION, settings, inputs, self.seed))


def _max_length(part: General, folder: Path, where: str) -> int:
    from limbeck.encoders.finding import read_config

    positions, given = positions_of(read_config(folder)), part.model.max_length
    if given is None:
        return MAX_LENGTH if positions is None else min(MAX_LENGTH, positions)
    if positions is not None and given > positions:
        raise UsageError(f"{where}.max_length: found {given}, expected at most the {positions} positions of the model")
    return given


def _is_headless(folder: Path) -> bool:
    from limbeck.encoders.finding import load_masked

    return load_masked(folder, 0)[1]
