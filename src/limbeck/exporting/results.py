"""What exporting gave, in numbers and in the sentences that the command prints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from limbeck.exporting.checking import Check
from limbeck.exporting.quantising import How
from limbeck.report.wording import percent, scaled, significant, whole

_HALF_A_POINT = 0.005
_WORTH_IT = 1.5  # times smaller


@dataclass(frozen=True)
class Int8:
    """The file of 8 bits.

    Attributes:
        path: where it lies.
        how: "dynamic" or "static".
        bytes: of the file.
        changed: rows whose class is another than the float32 file's.
        accuracy: on the rows whose labels are known; None where none are.
        milliseconds: median for one row by onnxruntime.
    """

    path: Path
    how: How
    bytes: int
    changed: int
    accuracy: float | None
    milliseconds: float


@dataclass(frozen=True)
class Exported:
    """What was written, and what was measured on the way.

    Attributes:
        path: of the ONNX file.
        card: of the model card.
        kind: of the model.
        bytes: of the ONNX file.
        check: the file held against the model.
        what: the rows that it was checked on, in words.
        accuracy: of the file on these rows; None where their labels are not known.
        int8: the file of 8 bits, where one was asked for and there is something to quantise.
        not_int8: why there is none although it was asked for.
        removed: the file of 8 bits of an earlier export, which would have been left beside another model's.
        tokenizer: of a model of texts, the tokenizer's file.
        tokens: of a model of texts, those of the text whose time was taken.
    """

    path: Path
    card: Path
    kind: str
    bytes: int
    check: Check
    what: str
    accuracy: float | None
    int8: Int8 | None = None
    not_int8: str | None = None
    removed: Path | None = None
    tokenizer: Path | None = None
    tokens: int | None = None

    def lines(self) -> list[str]:
        """What the command prints."""
        return [
            f"{self.path}: {scaled(self.bytes, 'B')}, a model of kind {self.kind}",
            *self.measured(),
            *([] if self.not_int8 is None else [self.not_int8]),
            *([] if self.removed is None else [f"{self.removed}: removed, it was an earlier export's"]),
            *([] if self.tokenizer is None else [f"tokenizer: {self.tokenizer}"]),
            f"card: {self.card}",
        ]

    def measured(self) -> list[str]:
        """The numbers, a sentence each."""
        found = self.check
        one = "one row" if self.tokens is None else f"one text of {self.tokens} tokens"
        batches = f"{', '.join(map(str, found.batches[:-1]))} and {found.batches[-1]}"
        changed = f"{whole(found.changed)} rows have another class"
        if found.changed:
            changed += ", each of them one between whose answers the model itself cannot tell but by rounding"
        lines = [
            f"held against the model on {whole(found.rows)} {self.what}, in batches of {batches}: probabilities differ "
            f"by at most {found.difference:.1e}, {changed}",
            f"{one} takes {significant(found.file_ms)} ms by onnxruntime, {significant(found.model_ms)} ms by the "
            f"model ({_threads(found.threads)}, median)",
        ]
        if (int8 := self.int8) is not None:
            known, lost = "", False
            if int8.accuracy is not None and self.accuracy is not None:
                lost = self.accuracy - int8.accuracy > _HALF_A_POINT
                much = ", more than half a point lost" if lost else ""
                known = f"accuracy {percent(int8.accuracy, 2)}%, in float32 {percent(self.accuracy, 2)}%{much}; "
            ratio = self.bytes / int8.bytes
            lines.append(
                f"{int8.path.name}: {scaled(int8.bytes, 'B')}, {_size(ratio)} ({int8.how} quantisation); {known}"
                f"{whole(int8.changed)} of {whole(found.rows)} rows have another class than in float32; {one} takes "
                f"{significant(int8.milliseconds)} ms{_advice(ratio, lost)}"
            )
        return lines


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _size(ratio: float) -> str:
    if 0.95 < ratio < 1.05:
        return "as large"
    return f"{significant(max(ratio, 1 / ratio), 2)} times {'smaller' if ratio > 1 else 'larger'}"


def _advice(ratio: float, lost: bool) -> str:
    """What to do where 8 bits gain little, or lose much; empty where they do what they are for."""
    if ratio < _WORTH_IT:
        size = "not smaller" if ratio < 1.05 else "hardly smaller"
        return f"; {size}{' and less accurate' if lost else ''}: use the float32 file"
    return "; less accurate: use the float32 file, unless size counts more" if lost else ""
