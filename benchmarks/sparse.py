"""The sparse form of knowledge: its bytes a token, what it leaves out of the loss and its gradient, and its speed.

The teacher is made up: a hidden state times embeddings, as a masked-LM head has them, and a bias that falls with the
class's number as words do with their rank (Zipf), for a vocabulary is numbered by frequency. Scaled so that the entropy
is that of a masked-LM's, two to three nats. Students' hidden states are the teacher's, blurred.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from limbeck.knowledge.sparse_extraction import SHARD_BYTES
from limbeck.knowledge.sparse_packing import Bits, PackedRows, packed
from limbeck.knowledge.sparse_targets import TEMPERATURES, SparseTargets, top_and_tails
from limbeck.objectives import soft_target_loss
from limbeck.sparse_objectives import TailName, sparse_soft_target_loss
from measuring import Entry, in_turns, seconds_of

CLASSES, TOKENS, COMPARED = 30522, 4000, 250
KS: tuple[int, ...] = (8, 32, 50, 128)
# What well-known toolkits store a token at these k.
USUAL = {50: 114.0, 128: 300.0}
WIDTH, SCALE, ZIPF = 64, 5.0, 20.0
# How far from the teacher's the student's hidden states are: early in its training, and late.
BLURS = {"a far student": 0.5, "a near student": 0.15}
BATCH = 125
SPEED_K, SPEED_TOKENS = 32, 100_000


@dataclass(frozen=True)
class Vocabulary:
    """A made-up masked-LM teacher and student.

    Attributes:
        classes: how many.
        tokens: how many outputs.
    """

    classes: int = CLASSES
    tokens: int = TOKENS

    @cached_property
    def _made(self) -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(0)
        hidden = torch.randn(self.tokens, WIDTH, generator=generator)
        embeddings = torch.randn(self.classes, WIDTH, generator=generator) / WIDTH**0.5
        noise = torch.randn(self.classes, generator=generator)
        return hidden, embeddings, noise - (torch.arange(self.classes) + ZIPF).log()

    def teacher(self, some: slice) -> Tensor:
        """Logits of some outputs, shape (outputs, classes)."""
        hidden, embeddings, bias = self._made
        return SCALE * hidden[some] @ embeddings.T + bias

    def student(self, some: slice, blur: float) -> Tensor:
        """A student's logits of them."""
        hidden, embeddings, bias = self._made
        noise = torch.randn(hidden[some].shape, generator=torch.Generator().manual_seed(1))
        return SCALE * (hidden[some] + blur * noise) @ embeddings.T + bias

    def targets(self, k: int) -> SparseTargets:
        """What is kept of all outputs."""
        pieces = [top_and_tails(self.teacher(some), k) for some in _batches(self.tokens)]
        values, indices, tails = (
            torch.cat([getattr(piece, name) for piece in pieces]) for name in ("values", "indices", "tails")
        )
        return SparseTargets(values, indices, tails, torch.tensor([0, self.tokens]), self.classes)


def entries(
    vocabulary: Vocabulary | None = None,
    *,
    ks: tuple[int, ...] = KS,
    compared: int = COMPARED,
    speed_tokens: int = SPEED_TOKENS,
    repeats: int = 5,
) -> list[Entry]:
    """Lines for bytes, the loss and speed.

    Args:
        vocabulary: the teacher and student.
        ks: how many classes are kept.
        compared: outputs whose loss is compared.
        speed_tokens: outputs that are packed and unpacked.
        repeats: of the measurement of speed.
    """
    vocabulary = vocabulary or Vocabulary()
    widest = vocabulary.targets(max(ks))
    kept = {k: fewer(widest, k) for k in ks}
    shuffled = torch.randperm(vocabulary.classes, generator=torch.Generator().manual_seed(2))
    found = []
    for k in ks:
        for bits in (6, 8, 16):
            found.append(_bytes(f"k = {k} in {bits} bits", kept[k], bits, USUAL.get(k) if bits < 16 else None))
        if k in USUAL:
            anyhow = SparseTargets(**{**vars(kept[k]), "indices": shuffled[kept[k].indices]})
            found.append(_bytes(f"k = {k} in 6 bits, classes numbered at random", anyhow, 6, USUAL[k]))
    for who, blur in BLURS.items():
        for temperature in TEMPERATURES[:2]:
            dense = _Compared.of(vocabulary, compared, temperature, blur)
            found += [dense.entry(kept[k], k, who) for k in ks]
    return found + _speed(fewer(widest, min(SPEED_K, max(ks))), speed_tokens, repeats)


def fewer(targets: SparseTargets, k: int) -> SparseTargets:
    """The targets with fewer classes kept; what is left out goes to the tails."""
    out = torch.stack([(targets.values[:, k:] / one).logsumexp(dim=1) for one in TEMPERATURES], dim=1)
    tails = torch.logaddexp(targets.tails, out) if k < targets.values.shape[1] else targets.tails
    return SparseTargets(
        targets.values[:, :k].contiguous(),
        targets.indices[:, :k].contiguous(),
        tails,
        targets.offsets,
        targets.classes,
    )


def _arrays(targets: SparseTargets, bits: Bits) -> dict[str, np.ndarray]:
    return packed(targets.values.numpy(), targets.indices.numpy(), targets.tails.numpy(), targets.classes, bits)


def _stored(targets: SparseTargets, bits: Bits, some: slice) -> SparseTargets:
    """Some of the targets as they are read back."""
    rows = np.arange(len(targets.values))[some]
    values, indices, tails = map(torch.from_numpy, PackedRows(_arrays(targets, bits), bits).rows(rows))
    return SparseTargets(values, indices, tails, torch.tensor([0, len(rows)]), targets.classes)


def _bytes(name: str, targets: SparseTargets, bits: Bits, goal: float | None) -> Entry:
    arrays = _arrays(targets, bits)
    rows = (arrays["bits"].nbytes + arrays["lengths"].nbytes) / len(targets.values)
    tables = sum(array.nbytes for array in arrays.values()) - rows * len(targets.values)
    each = rows + tables / (SHARD_BYTES / rows)
    note = f"in a full shard; in one of these {len(targets.values):,} alone {rows + tables / len(targets.values):.1f}"
    return Entry.of(f"bytes a token, {name} / one byte", [each], goal, "lower", note)


@dataclass(frozen=True)
class _Compared:
    """The dense loss of some outputs at one temperature, and its gradient."""

    some: slice
    student: Tensor
    temperature: float
    loss: float
    gradient: Tensor

    @classmethod
    def of(cls, vocabulary: Vocabulary, count: int, temperature: float, blur: float) -> _Compared:
        some = slice(0, count)
        student = vocabulary.student(some, blur).requires_grad_()
        loss = soft_target_loss(student, vocabulary.teacher(some), temperature)
        (gradient,) = torch.autograd.grad(loss, student)
        return cls(some, student, temperature, loss.item(), gradient)

    def entry(self, targets: SparseTargets, k: int, who: str) -> Entry:
        """What the sparse loss is of the dense one, with the tail as one cell."""
        stored = _stored(targets, 8, self.some)
        unpacked = SparseTargets(
            targets.values[self.some],
            targets.indices[self.some],
            targets.tails[self.some],
            stored.offsets,
            stored.classes,
        )
        loss, cosine, off = self._against(stored, "one_cell")
        even, even_cosine, even_off = self._against(stored, "even")
        rounding = abs(loss / self._against(unpacked, "one_cell")[0] - 1)
        tail = (stored.tail(self.temperature) - (stored.values / self.temperature).logsumexp(dim=1)).sigmoid().mean()
        note = (
            f"{tail:.0%} outside; gradient off by {off:.1%}, cosine {cosine:.4f}; rounding to 8 bits moves "
            f"the loss by {rounding:.1e}; an even tail: {even / self.loss:.3f}, {even_off:.1%}, {even_cosine:.4f}"
        )
        name = f"{who}'s loss at T = {self.temperature:g} from k = {k} / the dense loss"
        return Entry.of(name, [loss / self.loss], None, "higher", note)

    def _against(self, targets: SparseTargets, tail: TailName) -> tuple[float, float, float]:
        """The loss, and its gradient's cosine with the dense one and distance from it, as a part of it."""
        loss = sparse_soft_target_loss(self.student, targets, self.temperature, tail=tail)
        (gradient,) = torch.autograd.grad(loss, self.student)
        cosine = torch.cosine_similarity(gradient.flatten(), self.gradient.flatten(), dim=0)
        return loss.item(), cosine.item(), ((gradient - self.gradient).norm() / self.gradient.norm()).item()


def _speed(targets: SparseTargets, tokens: int, repeats: int) -> list[Entry]:
    """Seconds to pack and to unpack, with one thread, as numpy does it."""
    rows = np.resize(np.arange(len(targets.values)), tokens)
    repeated = SparseTargets(
        targets.values[rows], targets.indices[rows], targets.tails[rows], targets.offsets, targets.classes
    )
    reader = PackedRows(_arrays(repeated, 8), 8)
    order = np.random.default_rng(0).permutation(tokens)
    turns = in_turns(
        lambda: seconds_of(lambda: _arrays(repeated, 8)),
        lambda: seconds_of(lambda: reader.rows(order)),
        repeats=repeats,
    )
    k = targets.values.shape[1]
    return [
        Entry.of(
            f"{what} {tokens:,} tokens, k = {k} in 8 bits / one second",
            turns.seconds[action],
            goal,
            "lower",
            f"{tokens / turns.median(action):,.0f} a second",
        )
        for action, (what, goal) in enumerate((("packing", None), ("unpacking", 1.0)))
    ]


def _batches(tokens: int) -> list[slice]:
    return [slice(start, min(start + BATCH, tokens)) for start in range(0, tokens, BATCH)]
