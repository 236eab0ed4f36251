"""A first recipe for a user's own texts: an encoder, and students of half of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limbeck.data.dataset import Dataset
from limbeck.data.reading import Reading
from limbeck.data.text_file import DEFAULT_COLUMN
from limbeck.data.texts import byte_lengths
from limbeck.initial.sizes import Sizes
from limbeck.initial.text import GivenTeacher, class_lines, given_lines, in_comment, on_one_line, source_of, wrapped
from limbeck.recipe.toml import toml_value

_MINILM = "minilm"
_MORE = (
    " Texts without labels help where they are like those that the student will meet: parts = "
    '["train", "file:more.txt"]'
)
_BATCH = 32
_STEPS = 400  # that fine-tuning takes at least, of a batch each
_BYTES_IN_A_PIECE = 4.5  # of English
_MOST_PIECES = 512  # that most encoders have positions for
_LARGE = 512  # hidden states so wide want smaller steps


@dataclass(frozen=True)
class Shape:
    """How large an encoder is: by default MiniLM.

    Attributes:
        layers: how many.
        width: of its hidden states.
        reused: whether students can begin with its layers; otherwise they begin with MiniLM's.
        is_nameless: whether its classes have no names, so that they are taken in the data's order.
    """

    layers: int = 6
    width: int = 384
    reused: bool = True
    is_nameless: bool = False

    @property
    def cost(self) -> float:
        """Of a piece of text, by MiniLM's."""
        return self.layers * self.width**2 / (6 * 384**2)


@dataclass(frozen=True)
class TextSizes:
    """How long to train on texts.

    Attributes:
        sizes: what goes by the number of rows and classes.
        pieces: of the mean text, about.
        teacher: how large it is.
        trained: whether it is to be fine-tuned.
    """

    sizes: Sizes
    pieces: float
    teacher: Shape
    trained: bool

    @property
    def student(self) -> Shape:
        """The student's size."""
        shape = self.teacher if self.teacher.reused else Shape()
        return Shape(max(1, shape.layers // 2), shape.width)

    @property
    def epochs(self) -> int:
        """Of the teacher: few, for it knows English already; of few rows more."""
        return int(max(2, min(10, round(_STEPS * _BATCH / self.sizes.training))))

    @property
    def minutes(self) -> float:
        """About, on two cores without bfloat16: a student and its baseline, twice, and every row read by all."""
        pieces = self.sizes.training * self.pieces
        steps = self.epochs * self.trained * self.teacher.cost + 4 * (self.epochs + 1) * self.student.cost
        read = (self.teacher.cost + 4 * self.student.cost) * self.sizes.rows * self.pieces
        found = (1.2e-3 * pieces * steps + 4e-4 * read) / 60
        return max(1.0, float(round(found)))


def encoder_shape(teacher: GivenTeacher, dataset: Dataset, sizes: Sizes, beside: Path) -> Shape:
    """Open the teacher as the run will, for the rows that the run will train on, and say how large it is.

    Raises:
        LimbeckError: it cannot be read, or does not fit the texts and their classes.
    """
    from limbeck.encoders.finding import read_config  # what follows loads torch
    from limbeck.encoders.kinds import KINDS
    from limbeck.encoders.labels import labels_of
    from limbeck.plan.given_teacher import given_teacher
    from limbeck.plan.model_stage import Rows
    from limbeck.plan.starting import stage_start
    from limbeck.recipe import Teacher

    split = dataset.split(validation=sizes.validation, test=sizes.test, seed=0)
    stage = given_teacher(
        Teacher.model_validate({"name": "given", "from": str(teacher.path)}),
        Rows(split.train, split.validation),
        beside,
    )
    if stage_start(stage) is None or stage.path is None:
        return Shape(reused=False)
    config = read_config(stage.path, any_type=True)
    layers, width = int(config.num_hidden_layers), int(config.hidden_size)
    return Shape(layers, width, str(config.model_type) in KINDS, is_nameless=labels_of(config) is None)


def teacher_notes(teacher: GivenTeacher, shape: Shape, classes: Sequence[str]) -> list[str]:
    """What to know of a teacher that exists before it teaches, a line each."""
    notes = []
    if not shape.reused:
        notes.append(f"{teacher.path}: students cannot begin with its layers, and begin with MiniLM's")
    if shape.is_nameless:
        taken = ", ".join(f'LABEL_{number} for "{name}"' for number, name in enumerate(classes))
        notes.append(
            f"{teacher.path}: its classes have no names, and are taken in the data's order, {taken}: where that is "
            "wrong, mend id2label and label2id in its config.json"
        )
    return notes


def encoder_recipe_text(
    path: Path,
    target: Path,
    dataset: Dataset,
    reading: Reading,
    counts: dict[str, int],
    sizes: TextSizes,
    teacher: GivenTeacher | None,
) -> str:
    """The recipe, with a comment on every key that a person may want to change.

    Args:
        path: of the texts.
        target: where the recipe will lie.
        dataset: the texts.
        reading: how they were read.
        counts: each class and its rows.
        sizes: how long to train.
        teacher: one that exists, or None to fine-tune one.
    """
    can_ask = teacher is None or teacher.can_be_asked
    title = f"{on_one_line(path.name)}: {on_one_line(reading.label or '')}, by half of an encoder"
    lengths = byte_lengths(dataset.train.inputs)
    lines = [
        *wrapped(
            f"A recipe for {in_comment(path.name)}: it runs as it is, and is yours to change. docs/recipes.md has "
            "every key, docs/transformers.md the way from here."
        ),
        f"title = {toml_value(title)}",
        f"minutes = {sizes.minutes:g}  # about, on two cores; for people",
        "",
        f"# {len(lengths):,} texts of {lengths.min():,} to {lengths.max():,} bytes, half of them of "
        f"{int(np.median(lengths)):,} or fewer.",
        *class_lines(counts),
        "[data]",
        *_data(source_of(path, target), reading, sizes.sizes),
        "",
        *(_trained(sizes) if teacher is None else given_lines(teacher, target)),
        "",
        *wrapped("What the teacher is asked about, and students learn from." + (_MORE if can_ask else "")),
        "[[transfer]]",
        'name = "texts"',
        "",
        "# Students, each beside the same layers trained on the labels alone (its baseline).",
        *_student("half", sizes),
        "",
        "# The same with those pieces of text alone that occur in the transfer set: smaller, and as fast.",
        *_student("half-trimmed", sizes, ', vocabulary = "transfer"'),
    ]
    return "\n".join(lines) + "\n"


def pieces_of(dataset: Dataset) -> float:
    """About how many pieces of text an encoder reads in the mean one."""
    pieces = byte_lengths(dataset.train.inputs) / _BYTES_IN_A_PIECE + 2
    return float(np.minimum(pieces, _MOST_PIECES).mean())


def _data(source: str, reading: Reading, sizes: Sizes) -> list[str]:
    text = list(reading.text or (DEFAULT_COLUMN,))
    pair = len(text) > 1
    return [
        f"source = {toml_value(source)}  # looked for beside this file first",
        f"text = {toml_value(text if pair else text[0])}  # the {'columns of pairs' if pair else 'column'} of texts",
        f"label = {toml_value(reading.label)}  # the column of classes",
        '# id = "…"  # a column of whole numbers, each once; without it rows are numbered from 0',
        *sizes.cut_lines(),
    ]


def _trained(sizes: TextSizes) -> list[str]:
    return [
        *wrapped(
            f'The teacher, fine-tuned on the labels. "{_MINILM}" reads English, has six layers and is fetched; the '
            "folder of another BERT, RoBERTa or DistilBERT, or its name on the Hugging Face hub, will do as well."
        ),
        "[[teacher]]",
        'name = "encoder"',
        f'model = {{ kind = "encoder", from = "{_MINILM}" }}',
        f"train = {{ epochs = {sizes.epochs}, batch_size = {_BATCH}, learning_rate = 7e-5, warmup = 0.1 }}",
    ]


def _student(name: str, sizes: TextSizes, more: str = "") -> list[str]:
    shape, teacher = sizes.student, sizes.teacher
    begins = "" if teacher.reused else f'from = "{_MINILM}", '
    whole = 2 * shape.layers
    # Every other one, as long as none is left over.
    layers = list(range(0, whole, 2)) if whole == (teacher.layers if teacher.reused else 6) else shape.layers
    meaning = "numbered from 0" if isinstance(layers, list) else "how many"
    rate = "5e-5" if shape.width > _LARGE else "2e-4"
    return [
        "[[student]]",
        f'name = "{name}"',
        f'model = {{ kind = "encoder", {begins}layers = {toml_value(layers)}{more} }}  # {meaning}',
        "distill = { temperature = 2 }  # higher is softer",
        f"train = {{ epochs = {sizes.epochs + 1}, batch_size = {_BATCH}, learning_rate = {rate}, warmup = 0.1 }}",
    ]
