"""Whether a student's hidden states can be held against its teacher's, checked before anything is made."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from limbeck.errors import UsageError
from limbeck.models.encoder import Encoder, positions_of
from limbeck.plan.model_stage import ModelStage, Start
from limbeck.plan.starting import stage_start
from limbeck.recipe.errors import shown

if TYPE_CHECKING:
    from limbeck.encoders.tokens import TextTokens


class _Origin(NamedTuple):
    """What decides the shape of an encoder's states: config and tokenizer, and whether some pieces were cut away."""

    config: Any
    tokens: TextTokens
    trimmed: bool = False


def check_states(stage: ModelStage) -> None:
    """Refuse hidden states or relations that student and teacher do not have alike.

    Args:
        stage: a student whose objective uses its teacher's states.

    Raises:
        UsageError: the teacher is no encoder, or several, or theirs have other shapes.
    """
    teacher, start = stage.teacher, stage.start
    assert teacher is not None
    assert start is not None
    assert stage.model is not None
    key = "hidden" if stage.objective.hidden else "relations"
    where, name = f"{stage.role}.{stage.name}", shown(teacher.name)
    if teacher.members:
        raise UsageError(f"{where}.distill.{key}: teacher {name} is the mean of several, expected one encoder")
    begun = stage_start(teacher)
    if begun is None:
        raise UsageError(f"{where}.distill.{key}: teacher {name} is no encoder, expected one: only those have states")
    if start.texts is not None and stage.synthetic:
        raise UsageError(
            f"{where}.distill.{key}: synthetic texts may be cut into other pieces than those that the student's "
            'vocabulary keeps, expected the same: take vocabulary = "all", or a transfer set without rows = "words"'
        )
    ours, theirs = _origin(start), _origin(begun)
    length = stage.model["max_length"] or ours.tokens.max_length
    if length != theirs.tokens.max_length:
        raise UsageError(
            f"{where}.model.max_length: its texts are cut to {length} tokens and those of teacher {name} to "
            f"{theirs.tokens.max_length}, expected the same number with distill.{key}"
        )
    if start.key == begun.key:
        return
    if theirs.trimmed or ours.trimmed or theirs.tokens.to_json_text() != ours.tokens.to_json_text():
        raise UsageError(
            f"{where}.distill.{key}: the student cuts texts into other pieces than teacher {name}, expected the same: "
            "leave model.from out, and it begins with its teacher"
        )
    for key, used, setting in (
        ("hidden", stage.objective.hidden, "hidden_size"),
        ("relations", stage.objective.relations, "num_attention_heads"),
    ):
        own, asked = (int(getattr(one.config, setting)) for one in (ours, theirs))
        if used and own != asked:
            raise UsageError(
                f"{where}.distill.{key}: {setting} is {own} in the student and {asked} in teacher {name}, expected the "
                "same: leave model.from out, and it begins with its teacher"
            )


def _origin(start: Start) -> _Origin:
    if start.folder is not None:
        return _read(start.folder, start.key)
    assert start.stage is not None
    teacher = start.stage
    if isinstance(teacher.given, Encoder):
        return _Origin(teacher.given.network.config, teacher.given.tokens)
    if teacher.start is None:
        assert teacher.path is not None
        return _read(teacher.path, start.key)
    assert teacher.model is not None
    found = _origin(teacher.start)
    # What was distilled without a task is cut to as many tokens as its teacher is.
    if teacher.model["max_length"] is not None and teacher.general is None:
        found = found._replace(tokens=found.tokens.like(max_length=teacher.model["max_length"]))
    return found._replace(trimmed=found.trimmed or teacher.start.texts is not None)


@lru_cache(maxsize=8)
def _read(folder: Path, key: str) -> _Origin:
    """A Hugging Face folder's, read once for each content, which `key` stands for."""
    from limbeck.encoders.finding import read_config
    from limbeck.encoders.tokens import TextTokens

    config = read_config(folder)
    return _Origin(config, TextTokens.read(folder, None, positions_of(config)))
