"""Files of models of every kind, each made once."""

import pytest
from models_to_export import made, strange, table

from limbeck.exporting import export_onnx


@pytest.fixture(scope="session")
def exported(digits, tmp_path_factory):
    """A function: a model of a kind, taught on "digits" or "table", its file, and rows to ask it about."""
    folder, found = tmp_path_factory.mktemp("exported"), {}

    def export(name, data):
        if (name, data) not in found:
            part = digits if data == "digits" else table(400)
            rows = digits.inputs if data == "digits" else strange(300)
            model, path = made(name, part), folder / f"{name} {data}.onnx"
            export_onnx(model, path, part.classes, rows)
            found[name, data] = model, path, part.classes, rows
        return found[name, data]

    return export
