"""General distillation: a smaller encoder from a larger one, on plain text and without a task (Sanh et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import get_args

from torch import nn

from limbeck.data import Part
from limbeck.devices import CPU, resolve_device
from limbeck.encoders.finding import load_masked
from limbeck.encoders.kinds import without_head
from limbeck.encoders.layers import Architecture, Initial, student_network
from limbeck.encoders.masked import LiveMaskedTargets, MaskedEncoder
from limbeck.encoders.masked_batches import Answers, MaskedLabels
from limbeck.encoders.masked_scores import masked_scores
from limbeck.encoders.masked_text import TextSettings, masked_batches, tokens_of
from limbeck.encoders.pooling import pooler_of, with_pooler
from limbeck.errors import LimbeckError, UsageError
from limbeck.knowledge.targets import TargetSource
from limbeck.models.encoder_folder import write_network
from limbeck.objectives import Objective
from limbeck.precision import Precision, resolve_precision
from limbeck.progress import Progress
from limbeck.train_settings import TrainSettings
from limbeck.training import History, train

TRIPLE = Objective(temperature=2.0, soft=5.0, hard=2.0, hidden=1.0)
"""The triple loss with the weights of DistilBERT: soft targets, masked-language modelling, cosine of hidden states."""


@dataclass(frozen=True)
class GeneralSettings:
    """What an encoder is distilled with, beside its layers and the training's settings.

    Attributes:
        objective: of the masked tokens: `hidden` and `relations` want a live teacher, `soft` one with a masked-LM head.
        text: how texts are cut and masked.
        everywhere: whether soft targets are those of all tokens and not of the masked ones alone. The paper speaks of
            masked-language modelling; its code takes all tokens unless told otherwise, at several times the price.
        architecture: "same" as the teacher, or "distilbert" from a BERT.
        initial: "layers" for the teacher's weights, "random" as the ablation.
        dropout: of the student; None for the teacher's.

    Raises:
        UsageError: a value is out of range.
    """

    objective: Objective = TRIPLE
    text: TextSettings = field(default_factory=TextSettings)
    everywhere: bool = False
    architecture: Architecture = "same"
    initial: Initial = "layers"
    dropout: float | None = None

    def __post_init__(self) -> None:
        for name, known in (("architecture", get_args(Architecture)), ("initial", get_args(Initial))):
            if getattr(self, name) not in known:
                raise UsageError(f"{name} = {getattr(self, name)!r}, expected {' or '.join(known)}: change {name}")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UsageError(f"dropout = {self.dropout!r}, expected at least 0 and below 1: change dropout")
        if self.everywhere and not self.objective.uses_teacher:
            raise UsageError(
                "everywhere = true is about soft targets, and the objective has none: leave it out, or raise soft"
            )

    @property
    def answers(self) -> Answers:
        """For which tokens student and teacher answer."""
        if self.everywhere:
            return "all"
        return "masked" if self.objective.uses_teacher or self.objective.uses_labels else "none"


def distilled_encoder(
    teacher_folder: Path,
    layers: Sequence[int],
    texts: Part,
    settings: GeneralSettings,
    train_settings: TrainSettings,
    seed: int,
    *,
    validation: Part | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    title: str = "general distillation",
) -> tuple[MaskedEncoder, History]:
    """A student of some of a teacher's layers, trained to answer as the teacher does about masked texts.

    Where neither soft targets nor states are in the objective, no teacher is asked: that is the baseline, trained on
    the masked tokens alone.

    Args:
        teacher_folder: of a checked encoder, with a masked-LM head where the objective has soft targets.
        layers: of the teacher that the student takes, from 0, in rising order.
        texts: the transfer set, a part whose form is `TextForm`; labels are not looked at.
        settings: what it is distilled with.
        train_settings: how it is trained; `accumulate` makes large batches of small ones.
        seed: of random weights, order, masks and dropout.
        validation: held-out texts, of which the history has `masked_scores` for each epoch; nothing is chosen by them.
        checkpoint: a folder for checkpoints, from which a training that was cut off goes on.
        progress: told by step.
        title: what progress calls it.

    Returns:
        The student in evaluation mode, with its masked-LM head and tokenizer, and what happened in the training.

    Raises:
        LimbeckError: the teacher cannot be read, lacks a head that is needed or such layers; the texts hold nothing to
            predict; or the loss is not finite.
        UsageError: a setting is out of range.
    """
    network, headless = load_masked(teacher_folder, seed)
    objective = settings.objective
    if headless and objective.uses_teacher:
        raise LimbeckError(
            f"{teacher_folder} has no masked-LM head, which soft targets need: train one on it first, or set soft = 0 "
            "and take hidden and relations"
        )
    tokens = tokens_of(teacher_folder, network.config, settings.text.max_length)
    student_of = student_network(network, layers, settings.architecture, settings.initial, seed, settings.dropout)
    types = student_of.config.model_type != "distilbert" and tokens.with_types
    student = MaskedEncoder(student_of, tokens.like(with_types=types), settings.answers)
    batches = masked_batches(
        texts, tokens, settings.text, train_settings.batch_size, seed, passes=train_settings.passes
    )
    device = resolve_device(student.kind)
    precision = resolve_precision(train_settings.precision, student.kind, device)
    targets: TargetSource = MaskedLabels(batches, settings.answers)
    if objective.uses_teacher or objective.uses_states:
        teacher = MaskedEncoder(network, tokens, settings.answers).requires_grad_(False).to(device)
        for one in (student, teacher):
            one.show_projections(objective.uses_states and objective.relations > 0)
        targets = LiveMaskedTargets(teacher, batches, with_logits=objective.uses_teacher, precision=precision)
    judge = None
    if validation is not None and len(validation):
        # In evaluation mode, as it is left after each epoch: it is the network that targets come from.
        judged_by = MaskedEncoder(network, tokens, "none").to(device).eval() if objective.uses_states else None
        judge = partial(
            _scores, texts=validation, teacher=judged_by, max_length=settings.text.max_length, precision=precision
        )
    history = train(
        student.to(device),
        batches,
        targets,
        objective,
        train_settings,
        seed=seed,
        precision=precision,
        checkpoint=checkpoint,
        judge=judge,
        progress=progress,
        title=title,
    )
    student.to(CPU).show_projections(False)
    if settings.initial == "layers":
        student.pooler = pooler_of(teacher_folder)
    if student.answers == "all":
        student.answers = "masked"
    return student, history


def _scores(
    model: nn.Module, texts: Part, teacher: MaskedEncoder | None, max_length: int, precision: Precision
) -> dict[str, float | None]:
    """What the history says of held-out texts."""
    assert isinstance(model, MaskedEncoder)
    found = masked_scores(model, texts, teacher, max_length=max_length, precision=precision)
    return {
        "masked_cross_entropy": found.cross_entropy, "masked_accuracy": found.accuracy, "hidden_cosine": found.cosine
    }  # fmt: skip


def save_masked(folder: Path, encoder: MaskedEncoder) -> None:
    """Write a masked language model and its tokenizer as a Hugging Face folder, with the same bytes each time.

    `AutoModel`, `AutoModelForMaskedLM` and, with a new head, `AutoModelForSequenceClassification` read it, and so does
    whatever in limbeck takes an encoder's folder: to be fine-tuned, or as a teacher. An encoder that answers for no
    token has a head that was never trained: it is written without one. Its teacher's pooler comes along.
    """
    network = encoder.network if encoder.answers != "none" else without_head(encoder.network)
    with with_pooler(network, encoder.pooler):
        write_network(folder, network, encoder.tokens)


def load_masked_encoder(folder: Path) -> MaskedEncoder:
    """A masked language model and its tokenizer from a folder that `save_masked` or transformers wrote.

    Where there is no masked-LM head, it answers for no token, and shows its states alone.

    Raises:
        LimbeckError: it cannot be read.
    """
    network, headless = load_masked(folder, 0)
    encoder = MaskedEncoder(network, tokens_of(folder, network.config), "none" if headless else "masked")
    encoder.pooler = pooler_of(folder)
    return encoder.eval()
