"""Encoders: an epoch from stored knowledge, with a live teacher, by length or not; half the layers beside all."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from limbeck.batches import StoredBatches
from limbeck.data import TextForm
from limbeck.data.texts import byte_lengths, packed
from limbeck.encoders import attention
from limbeck.encoders.layers import chosen_layers, student_network
from limbeck.encoders.tokens import TextTokens
from limbeck.knowledge import LiveTargets, StoredTargets, TargetSource
from limbeck.models.encoder import Encoder
from limbeck.objectives import Objective
from limbeck.precision import has_bfloat16
from limbeck.train_settings import TrainSettings
from limbeck.training import predict_log_probs, train
from measuring import Entry, in_turns, seconds_of

STORED_GOAL, FASTER_GOAL = 1.3, 1.8
BATCH = 32


@dataclass(frozen=True)
class Size:
    """An encoder's, and that of the texts it reads; by default MiniLM's, and film reviews'.

    Attributes:
        layers: of the teacher; a student has half of them.
        width: of hidden states.
        heads: of attention.
        pieces: of the vocabulary.
        texts: rows of the transfer set.
        words: in a text, on the average.
    """

    layers: int = 6
    width: int = 384
    heads: int = 12
    pieces: int = 30522
    texts: int = 256
    words: int = 25


def teacher_of(size: Size) -> Encoder:
    """A BERT whose weights mean nothing, which makes no difference to its speed."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=size.pieces,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.width,
        num_labels=2,
    )
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        network = BertForSequenceClassification._from_config(config, attn_implementation="sdpa")
        return Encoder(network.eval(), _tokens(Path(folder), size.pieces), 2, TextForm())


def _tokens(folder: Path, pieces: int) -> TextTokens:
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*marks, *(f"w{number}" for number in range(pieces - len(marks)))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    return TextTokens.read(folder, positions=512)


def texts_of(size: Size) -> np.ndarray:
    """Texts of words at random, as unequal in length as sentences are."""
    generator = np.random.default_rng(0)
    lengths = np.clip(generator.lognormal(np.log(size.words), 0.5, size.texts), 3, 3 * size.words).astype(int)
    numbers = [generator.integers(size.pieces - 5, size=length) for length in lengths]
    return packed([" ".join(f"w{number}" for number in row) for row in numbers])


def student_of(teacher: Encoder, dropout: float | None = None) -> Encoder:
    """A student of half the layers; without its own dropout it has the teacher's."""
    layers = chosen_layers(teacher.layers // 2, teacher.layers)
    network = student_network(teacher.network, layers, dropout=dropout)
    return Encoder(network, teacher.tokens, teacher.classes, teacher.form)


def epoch(
    student: Encoder,
    inputs: np.ndarray,
    targets: TargetSource,
    *,
    by_length: bool = True,
    precision: str = "float32",
) -> float:
    """Seconds of one epoch of a copy of the student."""
    lengths = byte_lengths(inputs)[np.newaxis] if by_length else None
    batches = StoredBatches(inputs[np.newaxis], BATCH, lengths=lengths)
    settings = TrainSettings(epochs=1, batch_size=BATCH, precision=precision)  # type: ignore[arg-type]
    model = copy.deepcopy(student)
    return seconds_of(partial(train, model, batches, targets, Objective(temperature=2), settings, seed=0))


def entries(size: Size | None = None, *, repeats: int = 5) -> list[Entry]:
    """An entry for each comparison.

    Args:
        size: of the encoder and its texts.
        repeats: of the measurement.
    """
    size = size or Size()
    teacher, inputs = teacher_of(size), texts_of(size)
    student = student_of(teacher)
    stored = StoredTargets(predict_log_probs(teacher, inputs)[np.newaxis])
    live = LiveTargets(teacher, inputs[np.newaxis])
    eager = copy.deepcopy(student)
    eager.network.set_attn_implementation("eager")
    actions: list[Any] = [
        lambda: epoch(student, inputs, stored),
        lambda: epoch(student, inputs, live),
        lambda: epoch(student, inputs, stored, by_length=False),
        lambda: epoch(eager, inputs, stored),
        lambda: seconds_of(lambda: predict_log_probs(teacher, inputs)),
        lambda: seconds_of(lambda: predict_log_probs(student, inputs)),
    ]
    if has_bfloat16():
        without = student_of(teacher, dropout=0)
        actions += [
            lambda: epoch(student, inputs, stored, precision="bfloat16"),
            lambda: epoch(without, inputs, stored, precision="bfloat16"),
            lambda: _by_the_library(lambda: epoch(without, inputs, stored, precision="bfloat16")),
            lambda: _by_the_library(lambda: epoch(student, inputs, stored, precision="bfloat16")),
        ]
    turns = in_turns(*actions, repeats=repeats)

    def line(name: str, above: int, below: int, goal: float | None, note: str = "") -> Entry:
        return Entry.of(name, turns.ratios(above, below), goal, "higher", note)

    half = f"{teacher.layers // 2} of {teacher.layers} layers"
    found = [
        line(f"an epoch of {half} with a live teacher / from stored knowledge", 1, 0, STORED_GOAL,
             f"{turns.median(0):.2f} s for {len(inputs)} texts from knowledge"),
        line(f"texts a second, {half} / all", 4, 5, FASTER_GOAL, f"{len(inputs) / turns.median(5):.0f} a second"),
        line("an epoch of plain batches / of batches by length", 2, 0, None, _padding(student, inputs)),
        line("an epoch with dropout, the library's attention written out / left to PyTorch", 3, 0, None),
    ]  # fmt: skip
    if has_bfloat16():
        found += [
            line("an epoch in float32 / in bfloat16", 0, 6, None),
            line("an epoch in bfloat16 without dropout, attention in bfloat16 / in float32", 8, 7, None),
            line("an epoch in bfloat16 with dropout, attention by the library / written out", 9, 6, None),
        ]
    return found


def _by_the_library(action: Callable[[], float]) -> float:
    """What an action returns while attention is the library's own in training, too."""
    with mock.patch.object(attention, "TRAINED", attention.FUSED), mock.patch.object(attention, "_register"):
        return action()


def _padding(student: Encoder, inputs: np.ndarray) -> str:
    """How much of a batch is padding, plainly and by length."""

    def share(lengths: np.ndarray | None) -> float:
        batches = StoredBatches(inputs[np.newaxis], BATCH, lengths=None if lengths is None else lengths[np.newaxis])
        masks = [student.tokens.encode(batch.inputs).mask for batch in batches.batches(0, 0)]
        return 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)

    return f"padding: {share(None):.0%} of a batch, by length {share(byte_lengths(inputs)):.0%}"
