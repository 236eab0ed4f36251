"""From a saved encoder to an ordinary Hugging Face folder, read again by transformers alone, with a model card."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from limbeck.data.texts import BETWEEN, unpacked
from limbeck.encoders.library import need_transformers
from limbeck.errors import LimbeckError, UsageError
from limbeck.exporting.card import MARK, Source, page
from limbeck.exporting.exported import cut_short, read_given
from limbeck.exporting.markdown import quoted
from limbeck.exporting.origin import Rows, checking_rows, key_of_artifact, origin_of
from limbeck.exporting.placing import place
from limbeck.exporting.text_card import transformers_code
from limbeck.models.encoder import Encoder
from limbeck.models.encoder_folder import FILES, write_network
from limbeck.models.opening import open_model
from limbeck.models.saving import DESCRIPTION, read_description
from limbeck.quiet import quiet
from limbeck.report.wording import scaled, whole
from limbeck.threads import use_available_cores
from limbeck.training import predict_log_probs

CARD = "README.md"
"""The card, which the hub shows."""

_CHECKED = 256  # rows
_TOGETHER = 32
_TOLERANCE = 1e-4  # of a probability: padding is another in another batch


@dataclass(frozen=True)
class ExportedFolder:
    """What was written, and what was found on the way.

    Attributes:
        path: of the folder.
        card: in it.
        model_type: as transformers calls it.
        bytes: of its files without the card.
        checks: what was found in reading it again, and which texts are cut: a sentence each.
    """

    path: Path
    card: Path
    model_type: str
    bytes: int
    checks: tuple[str, ...]

    def lines(self) -> list[str]:
        """What the command prints."""
        about = f"{self.path}: {scaled(self.bytes, 'B')}, a Hugging Face folder with a model of type {self.model_type}"
        return [about, *self.checks, f"card: {self.card}"]


def export_huggingface(
    model: Path | str,
    out: Path | str | None = None,
    *,
    rows: str | Path | None = None,
    label: str | None = None,
) -> ExportedFolder:
    """Write a saved encoder as a folder that `AutoModelForSequenceClassification.from_pretrained` reads.

    It holds config.json, model.safetensors, tokenizer.json, tokenizer_config.json and the card, README.md. Where there
    are rows to ask about, transformers reads the folder and answers as the model does before it is put in place.

    Args:
        model: a folder with a saved encoder: an artifact, a run's models/ROLE/ROW, or a Hugging Face folder.
        out: the folder to write; by default one of the same name, here. It is new, empty, or an earlier export.
        rows: what to check on, as `limbeck predict` takes it; by default the test rows of the run that the model lies
            in, if it lies in one.
        label: of rows in a table, the column of labels.

    Raises:
        UsageError: there is a label without rows.
        LimbeckError: the model is no encoder, its run or the rows cannot be read, the folder is somebody's own, or
            transformers does not answer as the model does; nothing is written then.
    """
    need_transformers("export to a Hugging Face folder")
    folder = Path(model)
    path = Path(folder.resolve().name if folder.name in ("", "..") else folder.name) if out is None else Path(out)
    if label is not None and rows is None:
        raise UsageError(f'label = "{label}": the rows of a run have their labels; give --rows FILE with it')
    loaded, classes = open_model(folder)
    if not isinstance(loaded, Encoder):
        raise LimbeckError(
            f'{folder} is a model of kind "{loaded.kind}", and a Hugging Face folder holds encoders of texts: expected '
            f'one of kind "{Encoder.kind}", or --to onnx'
        )
    _check_place(path)
    use_available_cores()
    origin = origin_of(folder)
    given = None if rows is None else read_given(str(rows), label, loaded, classes, folder)
    checked_on = None if given is None and origin is None else checking_rows(origin, given, folder)
    description = read_description(folder) if (folder / DESCRIPTION).is_file() else {}
    with tempfile.TemporaryDirectory() as beside:
        write_network(Path(beside), loaded.network, loaded.tokens)
        checks = [] if checked_on is None else [_read_again(Path(beside), loaded, classes, checked_on)]
        files = {path / name: (Path(beside) / name).read_bytes() for name in FILES}
    if checked_on is not None:
        checks += cut_short(loaded, checked_on)
    running = transformers_code(path.resolve().name, loaded.form)
    source = Source(origin, description, key_of_artifact(description))
    size = sum(map(len, files.values()))
    if checked_on is None:
        checks = ["not read again and compared: no rows are at hand; give some by --rows FILE"]
    found = [f"{scaled(size, 'B')}, weights in float32", *checks]
    heading = "The folder" if checked_on is None else "The folder, checked"
    text = _front_matter(source) + page(path.resolve().name, loaded, classes, None, running, found, source, heading)
    place(files, path / CARD, text.encode())
    return ExportedFolder(path, path / CARD, str(loaded.network.config.model_type), size, tuple(checks))


def _check_place(path: Path) -> None:
    """Whether a folder may be written: one that is not there, an empty one, or an earlier export."""
    if path.is_file():
        raise LimbeckError(f"{path} is a file: give --out the name of a folder")
    if not path.is_dir() or not any(path.iterdir()):
        return
    card = path / CARD
    if not card.is_file() or MARK.encode() not in card.read_bytes():
        raise LimbeckError(
            f"{path} is there and is no folder of an earlier export: give --out another name, or move it away"
        )


def _front_matter(source: Source) -> str:
    """What the hub reads of a card: no licence and no language, which nobody told us."""
    tags = ["text-classification", "limbeck", *(["knowledge-distillation"] if _is_taught(source) else [])]
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-classification",
        "tags:",
        *(f"- {quoted(tag)}" for tag in tags),
        *(["metrics:", "- accuracy"] if source.origin is not None and source.origin.row is not None else []),
        "---",
    ]
    return "\n".join(lines) + "\n"


def _is_taught(source: Source) -> bool:
    return source.origin is not None and source.origin.name.startswith("student/")


def _read_again(folder: Path, model: Encoder, classes: tuple[str, ...], rows: Rows) -> str:
    """Hold what transformers makes of a folder, with its own tokenizer, against the model: what was found, in words."""
    some = rows.inputs[:_CHECKED]
    expected = predict_log_probs(model, some)
    names, found = _answers(folder, unpacked(some), len(model.form.columns) > 1)
    if names != classes:
        raise LimbeckError(f"transformers reads the classes {', '.join(names)}, expected {', '.join(classes)}")
    difference = float(np.abs(np.exp(expected) - found).max(initial=0.0))
    top = np.sort(expected, axis=1)[:, -2:]
    decided = top[:, -1] - top[:, 0] > _TOLERANCE if len(classes) > 1 else np.ones(len(some), dtype=bool)
    changed = int((found.argmax(axis=1) != expected.argmax(axis=1))[decided].sum())
    if changed or difference > _TOLERANCE:
        raise LimbeckError(
            f"transformers does not answer as the model does: probabilities differ by up to {difference:.2g} (at most "
            f"{_TOLERANCE:g} is right), and {changed} of {len(some)} texts have another class; nothing was written"
        )
    return (
        f"read again by transformers, and held against the model on {whole(len(some))} {rows.what}: probabilities "
        f"differ by at most {difference:.1e}, no text has another class"
    )


def _answers(folder: Path, texts: list[str], pairs: bool) -> tuple[tuple[str, ...], npt.NDArray[Any]]:
    """The names of a folder's classes, and its probabilities (n, classes) by transformers alone."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        with quiet(), torch.inference_mode():
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            network: Any = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)
            found = []
            for start in range(0, len(texts), _TOGETHER):
                some = [text.partition(BETWEEN) for text in texts[start : start + _TOGETHER]]
                halves = [[one for one, _, _ in some], *([[two for _, _, two in some]] if pairs else [])]
                batch = tokenizer(*halves, padding=True, truncation=True, return_tensors="pt")
                found.append(network(**batch).logits.softmax(dim=-1).numpy())
    except Exception as error:  # of many kinds
        reason = " ".join(str(error).split())[:200]
        raise LimbeckError(f"transformers does not read the folder ({reason}); nothing was written") from None
    labels = network.config.id2label
    return tuple(labels[number] for number in sorted(labels)), np.concatenate(found)
