"""Models as ONNX files that were checked, in 8 bits where asked for, with a model card; encoders as folders, too.

`export` writes and checks all of it; `export_onnx` makes the file alone. `export_huggingface` writes an encoder as a
folder that the library transformers reads.
"""

from limbeck.exporting.checking import Check
from limbeck.exporting.columns import feeds
from limbeck.exporting.exported import export, export_module
from limbeck.exporting.graph import export_onnx
from limbeck.exporting.hugging_face import ExportedFolder, export_huggingface
from limbeck.exporting.results import Exported, Int8

__all__ = [
    "Check",
    "Exported",
    "ExportedFolder",
    "Int8",
    "export",
    "export_huggingface",
    "export_module",
    "export_onnx",
    "feeds",
]
