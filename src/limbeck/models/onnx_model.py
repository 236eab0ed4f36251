"""A model in an ONNX file, answered for by onnxruntime: whatever exports to ONNX can teach."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from limbeck.data.form import Form, ImageForm, TableForm, TextForm, form_from_json
from limbeck.errors import LimbeckError
from limbeck.files import METADATA_KEY
from limbeck.models import onnx_outputs
from limbeck.models.onnx_file import count_parameters, one_line, open_session
from limbeck.models.onnx_inputs import Declared, Feed
from limbeck.models.onnx_texts import TOGETHER, by_length
from limbeck.models.outputs import Outputs, logits_of

Array = npt.NDArray[Any]


class OnnxModel(nn.Module):
    """An ONNX file as a model like any other: raw inputs to log-probabilities or logits, on the CPU.

    Rows are cast to the type that the file declares, and flattened, given a channel axis or turned to channels first
    where its sizes ask for just one of these. A file with an input for each column of a table is given the columns by
    name: numbers as they are, categories as texts, "" where one is missing. A file that `limbeck export` made of an
    encoder takes texts, by the tokenizer that lies beside it.

    Of the outputs, the one that is a number for each class is asked. Whether it is probabilities or logits is found
    once, by the first rows that it is asked about, and stays so. An output that is a label alone is taken, too: `hard`.

    A file that `limbeck export` wrote says itself what its classes, its columns and its outputs are. Custom operators
    are never loaded.

    Args:
        path: the file; weights that it keeps in files beside it are found by onnxruntime.
        classes: the data's classes, in their order; None: those that the file names, or as many as its output is wide.
        form: what the data's raw inputs mean; None: what the file says.

    Attributes:
        path: the file.
        classes: how many.
        class_names: their names, where they are known.
        form: what raw inputs mean.
        input_shape: of one raw input, as the file's metadata or the form say, else as the file declares it; None where
            it leaves sizes other than the batch free. Rows may come in another shape that fits: `check_takes`.
        hard: whether it gives a label and no probabilities.
        gives: "probabilities" or "logits", once that is known.
        about: what a file of `limbeck export` says of itself; empty of any other.
        settings: none.
        multiply_adds: None: not known.

    Raises:
        LimbeckError: no such file, it is damaged or needs what onnxruntime has not, onnxruntime is missing, its inputs
            or outputs are none that rows and classes fit, or its classes or columns are not the data's.
    """

    kind: ClassVar[str] = "onnx"
    multiply_adds = None

    def __init__(self, path: Path | str, classes: Sequence[str] | None = None, form: Form | None = None) -> None:
        super().__init__()
        self.path = Path(path)
        self.settings: dict[str, Any] = {}
        self._session: Any = None
        session = self._opened()
        about = _about(self.path, session.get_modelmeta().custom_metadata_map.get(METADATA_KEY))
        self.about: Mapping[str, Any] = about
        self.class_names = _agreed_classes(self.path, about.get("classes"), classes)
        inputs, outputs = (list(map(Declared.of, nodes)) for nodes in (session.get_inputs(), session.get_outputs()))
        of_file = _form(self.path, about.get("form"))
        self.form: Form | None = form if form is not None else of_file
        _check_same_texts(self.path, of_file, form)
        self._feed = Feed(self.path, inputs, self.form, about)
        if self._feed.columns is None:
            _check_same_codes(self.path, of_file, form)
        self.input_shape = self._feed.input_shape
        if (shape := about.get("input_shape") or _raw_shape(self.form)) is not None:
            self.check_takes(shape)
            self.input_shape = tuple(map(int, shape))
        named = about.get("output")
        known = len(self.class_names) if self.class_names is not None else None
        self._answer = onnx_outputs.choose(self.path, outputs, known, named)
        self.classes = self._answer.classes
        self.hard = self._answer.form == "labels"
        self._said = named == self._answer.output
        self.gives: Literal["probabilities", "logits"] | None = "probabilities" if self.hard else None
        if self._said:  # `limbeck export` says in the output's name what it is
            self.gives = "logits" if self._answer.output.startswith("log") else "probabilities"

    @classmethod
    def open(cls, path: Path | str, classes: tuple[str, ...] | None = None, form: Form | None = None) -> OnnxModel:
        """The model in a file; see the class."""
        return cls(path, classes, form)

    def forward(self, inputs: Tensor) -> Outputs:
        """Raw inputs (batch, …) to log-probabilities or logits (batch, classes), float32.

        Raises:
            LimbeckError: the model does not take them, or answers with something else than before.
        """
        rows = inputs.detach().cpu().numpy()
        if not len(rows):
            return Outputs(torch.zeros(0, self.classes))
        if (tokens := self._feed.tokens) is not None and len(rows) > TOGETHER:
            return self._by_length(rows, list(by_length(tokens, rows, self._feed.pairs)))
        size = self._feed.batch or len(rows)
        answers = [self._asked(rows[start : start + size]) for start in range(0, len(rows), size)]
        if self.hard:
            labels = np.concatenate([np.asarray(answer[0]).reshape(-1) for answer in answers])
            log_probs = onnx_outputs.labels_alone(self.path, labels, self.class_names, self.classes)
            return Outputs(torch.from_numpy(log_probs))
        values = np.concatenate([self._matrix(answer[0]) for answer in answers])
        if self.gives is None:
            if self._answer.label is not None:
                labels = np.concatenate([np.asarray(answer[1]).reshape(-1) for answer in answers])
                onnx_outputs.check_order(self.path, values, labels, self.class_names)
            self.gives = onnx_outputs.what_it_gives(self.path, values)
        if self.gives == "logits":
            return Outputs(torch.from_numpy(values.astype(np.float32)))
        read = onnx_outputs.rounded if self._said else onnx_outputs.log_probs_of_probabilities
        return Outputs(torch.from_numpy(read(self.path, values)))

    def check_takes(self, shape: Sequence[int]) -> None:
        """Whether raw inputs of this shape, the batch left out, are taken.

        Raises:
            LimbeckError: if not; names both shapes.
        """
        self._feed.check(shape)

    @cached_property
    def parameter_count(self) -> int:
        """Numbers in the file's weights and in the nodes of its trees; 0 where the package onnx is missing."""
        return count_parameters(self.path)

    def _asked(self, rows: Array) -> list[Any]:
        """What the session gives for at most as many rows as it takes at once: the outputs that are looked at."""
        count, size = len(rows), self._feed.batch or len(rows)
        if count < size:  # a batch of fixed size: the last row again and again
            rows = np.concatenate([rows, np.repeat(rows[-1:], size - count, axis=0)])
        feeds = self._feed(rows)
        names = [self._answer.output]
        if self.gives is None and self._answer.label is not None:
            names.append(self._answer.label)
        session = self._opened()
        try:
            found = session.run(names, feeds)
        except Exception as error:  # onnxruntime has an exception for each kind of failure
            kind = f"{rows.dtype} inputs of shape ({', '.join(map(str, ('batch', *rows.shape[1:])))})"
            raise LimbeckError(f"{self.path} does not take {kind}: {one_line(error)}") from None
        return [answer[:count] for answer in found]

    def _by_length(self, rows: Array, batches: Sequence[Array]) -> Outputs:
        """Texts in batches of about one length, so that little of a batch is padding."""
        answers = torch.cat([logits_of(self(torch.from_numpy(rows[places]))) for places in batches])
        return Outputs(answers[torch.from_numpy(np.argsort(np.concatenate(batches), kind="stable"))])

    def _matrix(self, answer: Any) -> Array:
        if self._answer.form == "maps":
            return onnx_outputs.matrix_of_maps(self.path, answer, self.class_names, self.classes)
        values = np.asarray(answer)
        if values.ndim != 2 or values.shape[1] != self.classes:
            shape = f"({', '.join(map(str, ('batch', *values.shape[1:])))})"
            raise onnx_outputs.unfit(self.path, f'"{self._answer.output}" of shape {shape}', self.classes)
        return values

    def _opened(self) -> Any:
        """The session, opened where this copy of the model has none yet."""
        if self._session is None:
            self._session = open_session(self.path)
        return self._session

    def __getstate__(self) -> dict[str, Any]:
        """Without the session, which cannot be copied: a copy opens its own."""
        return {**self.__dict__, "_session": None}


def _about(path: Path, text: str | None) -> dict[str, Any]:
    """What a file of `limbeck export` says of itself; nothing of any other."""
    if text is None:
        return {}
    try:
        found = json.loads(text)
        classes, shape = found.get("classes"), found.get("input_shape")
        form, output = found.get("form"), found.get("output")
        right = (
            (classes is None or (isinstance(classes, list) and all(isinstance(name, str) for name in classes)))
            and (shape is None or (isinstance(shape, list) and all(isinstance(size, int) for size in shape)))
            and (form is None or isinstance(form, Mapping))
            and (output is None or isinstance(output, str))
        )
        if not right:
            raise ValueError("classes, input_shape, form or output")
    except (ValueError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise LimbeckError(f'{path}: its metadata "{METADATA_KEY}" cannot be read ({reason}): export it anew') from None
    return dict(found)


def _form(path: Path, found: Mapping[str, Any] | None) -> Form | None:
    try:
        return form_from_json(found)
    except LimbeckError as error:
        raise LimbeckError(f"{path}: {error}: export it anew") from None


def _raw_shape(form: Form | None) -> tuple[int, ...] | None:
    """Of one raw input that has this form."""
    if isinstance(form, TableForm):
        return (len(form.columns),)
    if not isinstance(form, ImageForm):
        return None
    return (form.height, form.width, 3) if form.mode == "colour" else (form.height, form.width)


def _agreed_classes(path: Path, of_file: list[str] | None, given: Sequence[str] | None) -> tuple[str, ...] | None:
    if of_file is not None and given is not None and list(of_file) != list(given):
        shown = [", ".join(f'"{name}"' for name in names[:12]) for names in (of_file, given)]
        raise LimbeckError(
            f"{path} has the classes {shown[0]}, but the data have {shown[1]}: a teacher whose classes or order differ "
            "from the data's"
        )
    names = of_file if of_file is not None else given
    return None if names is None else tuple(names)


def _check_same_texts(path: Path, of_file: Form | None, given: Form | None) -> None:
    """Whether a file of single texts is asked about single texts, and one of pairs about pairs."""
    if not (isinstance(of_file, TextForm) and isinstance(given, TextForm)):
        return
    if len(of_file.columns) != len(given.columns):
        takes, has = (f"{len(form.columns)} ({', '.join(form.columns)})" for form in (of_file, given))
        raise LimbeckError(f"{path} was made for {takes} columns of text, but the data have {has}: give it such data")


def _check_same_codes(path: Path, of_file: Form | None, given: Form | None) -> None:
    """Whether a file that takes a table as one tensor, categories as their codes, means the same by them."""
    if not (isinstance(of_file, TableForm) and isinstance(given, TableForm)):
        return
    columns = [[(column.name, column.categories) for column in form.columns] for form in (of_file, given)]
    if columns[0] != columns[1]:
        other = next((b[0] for a, b in zip(*columns, strict=False) if a != b), "")
        raise LimbeckError(
            f"{path} was made for the columns {', '.join(of_file.names[:12])}, but the data have "
            f"{', '.join(given.names[:12])}"
            + (f', and "{other}" is the first that differs' if other else "")
            + ": give it data with the same columns and categories"
        )
