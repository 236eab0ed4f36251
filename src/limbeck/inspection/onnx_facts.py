"""What an ONNX file takes and gives, as `limbeck inspect` shows it."""

from __future__ import annotations

from pathlib import Path

from limbeck.data.form import ImageForm, TableForm, TextForm
from limbeck.models.onnx_model import OnnxModel
from limbeck.models.opening import ONNX

_SHOWN = 20  # columns and classes


def is_onnx(path: Path) -> bool:
    """Whether a path leads to a file that is an ONNX model by its name."""
    return path.is_file() and path.resolve().suffix == ONNX


def onnx_facts(path: Path) -> dict[str, str]:
    """Facts by name, in the order in which to show them.

    Args:
        path: of the file; whether `limbeck export` wrote it or another.

    Raises:
        LimbeckError: it cannot be read as an ONNX model.
    """
    model = OnnxModel.open(path)
    facts = {name: str(model.about[name]) for name in ("key", "kind", "int8") if model.about.get(name) is not None}
    if isinstance(model.form, TableForm):
        facts["columns"] = f"{len(model.form.names)}: {', '.join(model.form.names[:_SHOWN])}"
    elif isinstance(model.form, TextForm):
        facts["inputs"] = f"texts ({' and '.join(model.form.columns)}), by {model.about['tokenizer']['file']}"
    else:
        mode = f" ({model.form.mode} images)" if isinstance(model.form, ImageForm) else ""
        facts["input shape"] = f"{model.input_shape if model.input_shape is not None else 'any'}{mode}"
    names = model.class_names
    facts["classes"] = f"{model.classes}: {', '.join(names[:_SHOWN])}" if names else f"{model.classes}, without names"
    facts["bytes"] = f"{path.stat().st_size:,}"
    return facts
